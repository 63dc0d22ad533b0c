import type { Change } from './draft.ts'
import { etcdBudget, residentShare, rolledBytes, type Written } from './etcd-budget.ts'
import { isMissing, type Scene } from './placement.ts'
import { isResident, type Where } from './shard.ts'
import type { StrategyName } from './strategies/strategies.ts'

export interface PaceInput<C> {
  readonly written: readonly Written[]
  readonly strategy: StrategyName
  /** How many nodes a place means. */
  readonly nodesAt: (where: Where) => number
  readonly now: number
  /** Whether a change makes pods anew. */
  readonly rolls: (change: C) => boolean
  /** Whether nodes are without images for as long as a change waits. */
  readonly isUrgent: (change: C) => boolean
  readonly wake: (at: number) => void
}

export interface Paced<C> {
  /** Those that may be written now. */
  readonly changes: readonly C[]
  /** What was written before and counts still. */
  readonly written: readonly Written[]
  /** What each change makes the API server store, in bytes; for the caller to count once it is accepted. */
  readonly bytes: ReadonlyMap<C, number>
}

/**
 * The changes that may be written now: the others wait until what was written before them is compacted away. One that
 * exceeds the budget by itself is written when nothing else was. Pure.
 */
export function paced<C extends Pick<Change, 'shard'>>(
  changes: readonly C[],
  { written, strategy, nodesAt, now, rolls, isUrgent, wake }: PaceInput<C>,
): Paced<C> {
  const { writtenBytes, windowMs } = etcdBudget
  const counted = written.filter(({ at }) => now < at + windowMs)
  let before = counted.reduce((sum, { bytes }) => sum + bytes, 0)
  const allowed = new Map<C, number>()
  for (const change of changes) {
    const { kind, members, where = '' } = change.shard
    const bytes = rolls(change) ? rolledBytes(kind, strategy, members.length, nodesAt(where)) : 0
    const isForGood = isResident(kind) || kind === 'private'
    const most = isForGood ? residentShare * writtenBytes : writtenBytes
    if (bytes > 0 && before > 0 && before + bytes > most && !isUrgent(change)) {
      wake((counted[0]?.at ?? now) + windowMs)
      continue
    }
    before += bytes
    allowed.set(change, bytes)
  }
  return { changes: [...allowed.keys()], written: counted, bytes: allowed }
}

/**
 * Whether nodes are without images for as long as a change waits: what was deleted by hand held some, and what fails where it is
 * held for good keeps a new node from holding the rest. What fails on its way waits there, beside others.
 */
export function isUrgent(
  { name, shard, added }: Change,
  { shards, homes }: Pick<Scene, 'shards' | 'homes'>,
): boolean {
  if (shards.some((one) => one.name === name && isMissing(one))) return true
  const isHeld = (reference: string): boolean =>
    (homes.get(reference) ?? []).some(({ kind }) => isResident(kind))
  return shard.kind === 'apart' && added.some(isHeld)
}
