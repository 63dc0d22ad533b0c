/** What a bound left of what several namespaces ask for. */
export interface FairShare<T> {
  readonly taken: readonly T[]
  /** The namespace that asks for most, where not all were taken. */
  readonly greediest?: string
}

/**
 * Takes no more than there may be, in turns: one of each namespace, then a second one of each, and so on, in the order in
 * which they are given. So that what one namespace asks for takes nothing from those that ask for little.
 */
export function fairShare<T extends { readonly namespace: string }>(
  items: Iterable<T>,
  most: number,
): FairShare<T> {
  const asked = new Map<string, number>()
  const turns = [...items].map((item) => {
    const turn = asked.get(item.namespace) ?? 0
    asked.set(item.namespace, turn + 1)
    return { item, turn }
  })
  if (turns.length <= most) return { taken: turns.map(({ item }) => item) }
  const taken = turns
    .sort((a, b) => a.turn - b.turn)
    .slice(0, most)
    .map(({ item }) => item)
  const [greediest = ''] = [...asked].reduce((a, b) => (b[1] > a[1] ? b : a))
  return { taken, greediest }
}
