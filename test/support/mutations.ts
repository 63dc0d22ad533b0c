/** Random numbers that a seed repeats: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const oddities: readonly string[] = [
  'null',
  'true',
  '0',
  '-1',
  '1e308',
  '""',
  '"x"',
  '" nginx:1"',
  '"\\u0000\\ud800"',
  `"${'a'.repeat(5_000)}"`,
  '[]',
  '[null]',
  '[[]]',
  '{}',
  '{"a":null}',
  '{"__proto__":{"allowed":false}}',
  '{"constructor":{"prototype":{"a":1}}}',
]

/** JSON text of a value after one to four changes anywhere in it; now and then the text itself is damaged too. */
export function mutateJson(value: unknown, random: () => number): string {
  const root = { value: structuredClone(value) }
  for (let changes = 1 + Math.floor(random() * 4); changes > 0; changes--) changeOne(root, random)
  const text = JSON.stringify(root.value) ?? ''
  return random() < 0.1 ? damage(text, random) : text
}

type Holder = Record<string, unknown>

function changeOne(root: Holder, random: () => number): void {
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)]
  let holder = root
  let key = 'value'
  // Down to some depth, so that what holds much is changed as often as what is held.
  for (let child = holder[key]; typeof child === 'object' && child !== null; child = holder[key]) {
    const keys = Object.keys(child)
    if (keys.length === 0 || random() < 0.1) break
    holder = child as Holder
    key = pick(keys) ?? ''
  }
  const kind = random()
  if (kind < 0.4) holder[key] = JSON.parse(pick(oddities) ?? '0')
  else if (kind < 0.6) {
    if (Array.isArray(holder)) holder.splice(Number(key), 1)
    else delete holder[key]
  } else if (kind < 0.8)
    holder[pick(['name', 'image', 'spec', 'x', '0']) ?? 'x'] = structuredClone(holder[key])
  else if (Array.isArray(holder)) holder.push(structuredClone(holder[Number(key)]))
  else {
    const text = holder[key]
    if (typeof text === 'string') holder[key] = damage(text, random)
  }
}

function damage(text: string, random: () => number): string {
  const at = Math.floor(random() * text.length)
  const kind = random()
  if (kind < 0.3) return text.slice(0, at)
  if (kind < 0.6) return text.slice(0, at) + text.slice(at + 1)
  return text.slice(0, at) + String.fromCharCode(random() * 256) + text.slice(at)
}
