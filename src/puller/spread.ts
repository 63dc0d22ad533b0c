import { type Ground, includes, kindsOf } from './ground.ts'
import { residentKind } from './placement.ts'
import type { Where } from './shard.ts'
import type { Wanted } from './wanted.ts'

/**
 * Images from which on a shard is worth its pod: the pod costs about 7 MB on each node, and pulling so many beside others
 * saves some seconds on each.
 */
const worthAShard = 5

export interface SpreadInput {
  /** Shards that the images of one kind and place are to be spread over at most. */
  readonly shards: number
  readonly podsPerNode: number
  readonly wanted: Iterable<Wanted>
  readonly ground: Ground
}

/**
 * Over how many shards the images of one kind and place are spread, so that a node pulls several at once (one pod never does)
 * and a change touches a part only. Each kind and place has the same share of the pods of a node that may hold for good. Pure.
 */
export function spreadOf({ shards, podsPerNode, wanted, ground }: SpreadInput): number {
  const groups = new Map<string, Where>()
  for (const item of wanted) {
    groups.set(`${residentKind(item)}/${item.where ?? ''}`, item.where ?? '')
  }
  const most = Math.max(
    1,
    ...kindsOf(ground).map(
      (kind) => [...groups.values()].filter((where) => includes(where, kind)).length,
    ),
  )
  return Math.max(1, Math.min(shards, Math.floor((podsPerNode - 1) / most)))
}

/** Shards for so many images of one kind and place, what each can take at most not counted. */
export function shardsFor(images: number, spread: number): number {
  return Math.max(1, Math.min(spread, Math.floor(images / worthAShard)))
}
