import type { ObservedShard } from './daemon-set.ts'
import type { Draft } from './draft.ts'
import { newestFirst, sorted } from './order.ts'
import { isChangeable, isChangeableInNeed } from './placement.ts'
import type { Where } from './shard.ts'
import type { Wanted } from './wanted.ts'

/**
 * Images that fail: all of a place in one shard, and in its successor while it cannot be changed in place. What exceeds its
 * capacity stays in the fresh shards.
 */
export function setApart(draft: Draft, where: Where): void {
  const { scene } = draft
  // The newest counts; one before it only waits until all that it holds is held elsewhere.
  const shards = draft.ofKind('apart', where).toSorted(newestFirst)
  const [primary, ...older] = shards
  for (const shard of older) draft.deleteWhenEmpty(shard)
  const goal = sorted(draft.wantedAt(where, 'apart')).slice(0, draft.capacity('apart', where))
  const members = new Set(primary?.members.map(({ reference }) => reference))
  const missing = goal.filter(({ reference }) => !members.has(reference))
  if (primary === undefined) {
    if (goal.length > 0) makeApart(draft, where, goal)
    return
  }
  // With a predecessor still there, no third one: the change is made in place, at the cost of a moment.
  const forced = older.length > 0 && missing.length > 0 && scene.seen.isRolledOut(primary)
  if (forced || isChangeable(scene, primary)) {
    take(draft, primary, missing)
  } else if (older.length === 0 && (missing.length > 0 || draft.isDrifted(primary))) {
    if (draft.hasRoom('apart', where)) {
      draft.create('apart', where, goal)
      count(draft, missing)
    } else if (isChangeableInNeed(scene, primary)) take(draft, primary, missing)
  } else draft.deleteWhenEmpty(primary)
}

/** A shard for those that fail; where nodes may have no more pods, they stay with what is on its way. */
function makeApart(draft: Draft, where: Where, goal: readonly Wanted[]): void {
  if (draft.hasRoom('apart', where)) {
    draft.create('apart', where, goal)
    count(draft, goal)
    return
  }
  const beside = draft.ofKind('fresh', where)
  const there = new Set(beside.flatMap(({ members }) => members.map(({ reference }) => reference)))
  const missing = goal.filter(({ reference }) => !there.has(reference))
  const shard = beside.find((one) => isChangeableInNeed(draft.scene, one))
  if (shard !== undefined && missing.length > 0) take(draft, shard, missing)
}

function take(draft: Draft, shard: ObservedShard, missing: readonly Wanted[]): void {
  if (draft.change(shard, missing)) count(draft, missing)
}

/** The next one waits only for what really is on its way out. */
function count(draft: Draft, leaving: readonly Wanted[]): void {
  for (const { reference } of leaving) draft.countEjection(reference)
}
