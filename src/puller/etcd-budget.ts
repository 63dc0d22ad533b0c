import type { ShardKind, Where } from './shard.ts'
import { type StrategyName, strategyOf } from './strategies/strategies.ts'
import type { Wanted } from './wanted.ts'
import { byWorth } from './worth.ts'

/**
 * What the puller makes of etcd, in bytes. A cluster's etcd takes 2 GiB by default and then refuses all writes. An object
 * that changes is stored anew as a whole, and what it was stays until it is compacted away: the API server does that every
 * five minutes, for what is older than five. So what is at rest and what is written in ten minutes stand side by side,
 * and a quarter is left for everything else in the cluster.
 */
export const etcdBudget = Object.freeze({
  /** For all pods as they are. */
  restBytes: 800e6,
  /** For what changes of shards have written, in {@link etcdBudget.windowMs}. */
  writtenBytes: 800e6,
  windowMs: 600_000,
})

/** Of the latter, what shards may take that hold for good: the rest is for images that nodes do not have yet. */
export const residentShare = 0.75

/** A pod without its images. */
const podBytes = 5000

/**
 * How often a pod is written while its shard rolls, as kubelets of 1.35 do it: made, bound, and twice its status; of the one
 * before it the deletion, and what its kubelet says to that.
 */
const writesAPod = 8

/** When changes were written, and how much they made the API server store. */
export interface Written {
  readonly at: number
  readonly bytes: number
}

/**
 * Images that fail in a shard, at most: one that cannot be pulled has no container, so this bounds the size of a pod object
 * (about 1.2 KB each with its status), not memory.
 */
const mostApart = 200

/** Images that a shard may have: as the strategy says, and on many nodes as many as can be rolled out within the budget. */
export function capacityOf(kind: ShardKind, chosen: StrategyName, nodes: number): number {
  let capacity = kind === 'apart' ? mostApart : strategyOf(kind, chosen).capacity
  const most = residentShare * etcdBudget.writtenBytes
  while (capacity > 1 && rolledBytes(kind, chosen, capacity, nodes) > most) capacity -= 1
  return capacity
}

/** What a roll-out of so many images to so many nodes makes the API server store until it is compacted away. */
export function rolledBytes(
  kind: ShardKind,
  chosen: StrategyName,
  images: number,
  nodes: number,
): number {
  const { imageBytes, imageWrites } = strategyOf(kind, chosen)
  return nodes * (podBytes + images * imageBytes) * (writesAPod + images * imageWrites)
}

/**
 * References that are left out since etcd is not to be filled: of more images times nodes than the strategy may hold, those
 * worth least. Pure.
 *
 * @param held references that shards hold
 * @param nodesAt how many nodes a place means
 * @param besideBytes what is stored of images that are planned by themselves
 */
export function overEtcd(
  wanted: ReadonlyMap<string, Wanted>,
  held: ReadonlySet<string>,
  strategy: StrategyName,
  nodesAt: (where: Where) => number,
  besideBytes = 0,
): ReadonlySet<string> {
  const { imageBytes } = strategyOf('holding', strategy)
  let left = (etcdBudget.restBytes - besideBytes) / imageBytes
  const out = new Set<string>()
  if (wanted.size * nodesAt('') <= left) return out
  for (const { reference, where = '' } of byWorth(wanted, held)) {
    const nodes = nodesAt(where)
    if (nodes > left) out.add(reference)
    else left -= nodes
  }
  return out
}
