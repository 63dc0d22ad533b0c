import type { ObservedShard } from './daemon-set.ts'
import type { Written } from './etcd-budget.ts'
import { type Ground, isWithin, overlaps } from './ground.ts'
import type { Pace } from './pace.ts'
import { isResident } from './shard.ts'
import type { Survey } from './survey.ts'
import type { Wanted } from './wanted.ts'

/**
 * Since when things are as they are, in milliseconds of a clock that never jumps.
 *
 * All that is placed is read from the cluster; this is only patience. Who has none yet (after a start) waits anew.
 */
export interface Memory {
  /** Wanted images that no shard holds for good, or has on its way, to where they are to be. */
  readonly newSince: ReadonlyMap<string, number>
  /** Images that some node fails to pull or to start. */
  readonly troubleSince: ReadonlyMap<string, number>
  /** Images on their way that every node has started. */
  readonly provenSince: ReadonlyMap<string, number>
  /** Images that shards hold and nobody wants. */
  readonly unwantedSince: ReadonlyMap<string, number>
  /** Shards that could be put together with others, by their names. */
  readonly idleSince: ReadonlyMap<string, number>
  /** By shard: where it got, and when it got there. */
  readonly progress: ReadonlyMap<string, Progress>
  /** By shard: images that it lost for failing. */
  readonly ejections: ReadonlyMap<string, Ejections>
  /** Changes that etcd has not compacted away, the oldest first. */
  readonly written: readonly Written[]
}

export interface Progress {
  readonly mark: string
  readonly since: number
}

export interface Ejections {
  readonly count: number
  readonly at: number
}

/** What a puller remembers that has just begun. */
export const blank: Memory = Object.freeze({
  newSince: new Map(),
  troubleSince: new Map(),
  provenSince: new Map(),
  unwantedSince: new Map(),
  idleSince: new Map(),
  progress: new Map(),
  ejections: new Map(),
  written: [],
})

/** The memory after one more look at the cluster; proven images and idle shards are for the caller to add. */
export function remember(
  before: Memory,
  wanted: ReadonlyMap<string, Wanted>,
  shards: readonly ObservedShard[],
  seen: Survey,
  ground: Ground,
  now: number,
): Memory {
  const placed = new Set<string>()
  const reached = new Set<string>()
  for (const { kind, where = '', members } of shards) {
    for (const { reference } of members) {
      placed.add(reference)
      const goal = wanted.get(reference)?.where ?? ''
      const reaches = isResident(kind)
        ? overlaps(where, goal, ground)
        : isWithin(goal, where, ground)
      if (reaches) reached.add(reference)
    }
  }
  const fresh = [...wanted.keys()].filter((reference) => !reached.has(reference))
  const troubled = [...placed].filter((reference) => {
    const { failures, unstartable, stalled } = seen.tally(reference)
    return failures.length > 0 || unstartable > 0 || stalled > 0
  })
  const unwanted = [...placed].filter((reference) => !wanted.has(reference))
  const progress = new Map<string, Progress>()
  for (const shard of shards) {
    const mark = seen.progress(shard)
    const known = before.progress.get(shard.name)
    progress.set(shard.name, known?.mark === mark ? known : { mark, since: now })
  }
  return {
    ...before,
    newSince: since(before.newSince, fresh, now),
    troubleSince: since(before.troubleSince, troubled, now),
    unwantedSince: since(before.unwantedSince, unwanted, now),
    progress,
  }
}

/** The memory after a change was accepted. */
export function countWritten(before: Memory, bytes: number, now: number): Memory {
  return bytes === 0 ? before : { ...before, written: [...before.written, { at: now, bytes }] }
}

/** The times of those that are, as they were, and now for those that have come. */
export function since(
  before: ReadonlyMap<string, number>,
  present: Iterable<string>,
  now: number,
): ReadonlyMap<string, number> {
  const after = new Map<string, number>()
  for (const key of present) after.set(key, before.get(key) ?? now)
  return after
}

/** When the next image may leave a shard for failing. */
export function nextEjection(ejections: Ejections | undefined, pace: Pace): number {
  if (ejections === undefined) return Number.NEGATIVE_INFINITY
  return ejections.at + ejectionWait(ejections.count, pace)
}

/** One more image left; the count starts again when the last one is long ago. */
export function eject(ejections: Ejections | undefined, pace: Pace, now: number): Ejections {
  if (ejections === undefined) return { count: 1, at: now }
  const quiet = now - ejections.at > 2 * ejectionWait(ejections.count, pace)
  return { count: quiet ? 1 : ejections.count + 1, at: now }
}

function ejectionWait(count: number, pace: Pace): number {
  return Math.min(pace.ejectMs * 4 ** (count - 1), pace.ejectMaxMs)
}
