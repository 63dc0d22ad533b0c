import type { NodeView } from './node-view.ts'
import { isResident, type Shard } from './shard.ts'

/** Label that a cloud gives its nodes: those of one type take the same number of pods. */
export const typeLabel = 'node.kubernetes.io/instance-type'

/**
 * A node that takes fewer pods than this has few slots. Where each pod has an address of the cloud's network the smallest
 * machines take 4 to 17, the next ones 29 and more; everywhere else it is 110.
 */
const fewSlots = 20

/** Nodes that take few pods, and are to have one puller pod: by their type, since a selector knows no numbers. */
export interface Cramped {
  /** Values of {@link typeLabel}, in order. */
  readonly types: readonly string[]
  /** There are no other nodes, so that what is new has to prove itself there: beside the one pod. */
  readonly alone: boolean
}

/** Nodes that all take as many pods as kip asks for. */
export const notCramped: Cramped = Object.freeze({ types: [], alone: false })

/**
 * Which nodes take few pods. One without a type counts as any other. Pure.
 *
 * @param known types that shards leave out: they stay left out while no node of theirs takes more, so that nodes that come and
 *   go roll nothing
 */
export function crampedOf(nodes: readonly NodeView[], known: Iterable<string>): Cramped {
  const types = new Set(known)
  for (const { labels, slots } of nodes)
    if (slots >= fewSlots) types.delete(labels[typeLabel] ?? '')
  for (const { labels, slots } of nodes) {
    const type = labels[typeLabel]
    if (type !== undefined && slots > 0 && slots < fewSlots) types.add(type)
  }
  const alone = nodes.length > 0 && nodes.every((node) => isCramped(node, types))
  return { types: [...types].sort(), alone }
}

export function isCramped({ labels }: NodeView, types: ReadonlySet<string>): boolean {
  return types.has(labels[typeLabel] ?? '')
}

/** Whether a shard has pods on nodes that take few: the first that holds for good, and where there are no others what does not. */
export function isForCramped(
  { kind, index, where = '' }: Pick<Shard, 'kind' | 'index' | 'where'>,
  { alone }: Cramped,
): boolean {
  if (where !== '') return false
  if (isResident(kind)) return kind === 'holding' && index === 1
  return alone && kind !== 'private'
}
