import type { ObservedShard } from './daemon-set.ts'
import type { Draft } from './draft.ts'
import { newestFirst, sorted } from './order.ts'
import { isChangeable } from './placement.ts'
import type { Where } from './shard.ts'
import type { Wanted } from './wanted.ts'

/**
 * Images that fail, at most: one that cannot be pulled has no container, so this bounds the size of a pod object (about
 * 1.2 KB each with its status), not memory. What exceeds it stays in the fresh shards.
 */
const capacity = 200

/** Images that fail: all of a place in one shard, and in its successor while it cannot be changed in place. */
export function setApart(draft: Draft, where: Where): void {
  const { scene } = draft
  // The newest counts; one before it only waits until all that it holds is held elsewhere.
  const shards = draft.ofKind('apart', where).toSorted(newestFirst)
  const [primary, ...older] = shards
  for (const shard of older) draft.deleteWhenEmpty(shard)
  const goal = sorted(draft.wantedAt(where, 'apart')).slice(0, capacity)
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
  } else if (
    older.length === 0 &&
    (missing.length > 0 || draft.isDrifted(primary)) &&
    draft.hasRoom('apart', where)
  ) {
    draft.create('apart', where, goal)
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
  const shard = beside.find((one) => isChangeable(draft.scene, one))
  if (shard !== undefined && missing.length > 0) draft.change(shard, missing)
  makeWay(draft, where, beside)
}

/** Where all shards of what is new are full, nothing would ever get in: one of them makes way for that of those that fail. */
function makeWay(draft: Draft, where: Where, beside: readonly ObservedShard[]): void {
  const capacity = draft.capacity('fresh', where)
  const isFull = (one: ObservedShard): boolean => !one.deleting && one.members.length >= capacity
  if (beside.length < 2 || !beside.every(isFull)) return
  const spent = beside.find((one) => isSpent(draft, one))
  if (spent !== undefined && !draft.isChanged(spent)) draft.delete(spent)
}

/** Whether all that a shard has on its way failed on every node, or is where it is to stay. */
function isSpent(draft: Draft, shard: ObservedShard): boolean {
  const { wanted, seen } = draft.scene
  const gone = new Set(draft.departures.due(shard))
  return shard.members.every(({ reference }) => {
    const item = wanted.get(reference)
    const fails = item !== undefined && draft.isPlace(item, 'apart')
    return gone.has(reference) || (fails && seen.tally(reference).held === 0)
  })
}
