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
  for (const { reference } of missing) draft.countEjection(reference)
  if (primary === undefined) {
    if (goal.length > 0) makeApart(draft, where, goal)
    return
  }
  // With a predecessor still there, no third one: the change is made in place, at the cost of a moment.
  const forced = older.length > 0 && missing.length > 0 && scene.seen.isRolledOut(primary)
  if (forced || isChangeable(scene, primary)) {
    draft.change(primary, missing)
  } else if (older.length === 0 && (missing.length > 0 || draft.isDrifted(primary))) {
    if (draft.hasRoom('apart', where)) draft.create('apart', where, goal)
    else if (isChangeableInNeed(scene, primary)) draft.change(primary, missing)
  } else draft.deleteWhenEmpty(primary)
}

/** A shard for those that fail; where nodes may have no more pods, they stay with what is on its way. */
function makeApart(draft: Draft, where: Where, goal: readonly Wanted[]): void {
  if (draft.hasRoom('apart', where)) {
    draft.create('apart', where, goal)
    return
  }
  const beside = draft.ofKind('fresh', where)
  const there = new Set(beside.flatMap(({ members }) => members.map(({ reference }) => reference)))
  const missing = goal.filter(({ reference }) => !there.has(reference))
  const shard = beside.find((one) => isChangeableInNeed(draft.scene, one))
  if (shard !== undefined && missing.length > 0) draft.change(shard, missing)
}
