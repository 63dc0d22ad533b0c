import { allocate } from './allocation.ts'
import type { ObservedShard } from './daemon-set.ts'
import type { Draft } from './draft.ts'
import { isChangeable, isFor, isMissing, isStuck, isThroughout, type Scene } from './placement.ts'
import { isResident, type ResidentKind, type Where } from './shard.ts'
import type { Wanted } from './wanted.ts'

/**
 * What holds for good: one shard a round, when none is rolling.
 *
 * @param promoted images that may go there, in order
 */
export function changeResidents(draft: Draft, promoted: readonly Wanted[]): void {
  const { scene } = draft
  const shards = scene.shards.filter(({ kind }) => isResident(kind))
  let rolling = shards.filter((shard) => isRolling(scene, shard))
  const { into, openings } = allocate(draft, promoted)
  for (const shard of shards) {
    const ejecting = draft.departures.due(shard).some((reference) => {
      const item = scene.wanted.get(reference)
      if (item === undefined) return false
      return draft.isPlace(item, 'apart') || !isFor(scene, shard, item)
    })
    const free = rolling.every((other) => other === shard) && isChangeable(scene, shard)
    if (!free && !ejecting && !isMissing(shard)) draft.deleteWhenEmpty(shard)
    else if (draft.change(shard, free ? (into.get(shard.name) ?? []) : [])) rolling = [shard]
  }
  if (rolling.length > 0) return
  for (const { kind, where, items } of openings) {
    if (!draft.hasRoom(kind, where) && !freesPod(draft, kind, where, items)) {
      for (const item of items) if (!isThere(scene, item)) draft.waiting.add(item.reference)
      continue
    }
    draft.create(kind, where, items)
    return
  }
}

/**
 * Whether a shard that there is no room for may be made all the same, one pod too many for a while: where all that is on its
 * way is full, and one fresh shard fewer has room for what is left there. Else nothing would ever move again.
 */
function freesPod(
  draft: Draft,
  kind: ResidentKind,
  where: Where,
  items: readonly Wanted[],
): boolean {
  const shards = draft.ofKind('fresh', where)
  const last = shards.at(-1)
  if (last === undefined || !shards.every((shard) => draft.isFull(shard))) return false
  const left = new Set(shards.flatMap((shard) => draft.onTheirWay(shard)))
  for (const item of items) left.delete(item)
  const room = draft.capacity('fresh', where) * (shards.length - 1)
  return left.size <= room && draft.fits(kind, where, [last])
}

/** Whether some shard has an image for all nodes where it is to be. */
function isThere(scene: Scene, item: Wanted): boolean {
  const homes = scene.homes.get(item.reference) ?? []
  return homes.some((home) => isThroughout(scene.ground, home, item))
}

function isRolling(scene: Scene, shard: ObservedShard): boolean {
  if (isMissing(shard)) return false
  return !scene.seen.isRolledOut(shard) && !isStuck(scene, shard)
}
