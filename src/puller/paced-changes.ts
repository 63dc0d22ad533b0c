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

/**
 * The changes that may be written now: the others wait until what was written before them is compacted away. One that
 * exceeds the budget by itself is written when nothing else was. Pure.
 */
export function paced<C extends Pick<Change, 'shard'>>(
  changes: readonly C[],
  { written, strategy, nodesAt, now, rolls, isUrgent, wake }: PaceInput<C>,
): { readonly changes: readonly C[]; readonly written: readonly Written[] } {
  const { writtenBytes, windowMs } = etcdBudget
  const counted = written.filter(({ at }) => now < at + windowMs)
  const allowed: C[] = []
  for (const change of changes) {
    const { kind, members, where = '' } = change.shard
    const bytes = rolls(change) ? rolledBytes(kind, strategy, members.length, nodesAt(where)) : 0
    const before = counted.reduce((sum, one) => sum + one.bytes, 0)
    const isForGood = isResident(kind) || kind === 'private'
    const most = isForGood ? residentShare * writtenBytes : writtenBytes
    if (bytes > 0 && before > 0 && before + bytes > most && !isUrgent(change)) {
      wake((counted[0]?.at ?? now) + windowMs)
      continue
    }
    if (bytes > 0) counted.push({ at: now, bytes })
    allowed.push(change)
  }
  return { changes: allowed, written: counted }
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
