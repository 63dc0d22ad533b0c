import type { ObservedShard } from './daemon-set.ts'
import type { Draft } from './draft.ts'
import { isChangeable, isFor, isMissing, isStuck, residentKind, type Scene } from './placement.ts'
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
  const additions = allocate(draft, promoted, shards)
  for (const shard of shards) {
    const ejecting = draft.departures.due(shard).some((reference) => {
      const item = scene.wanted.get(reference)
      if (item === undefined) return false
      return draft.isPlace(item, 'apart') || !isFor(scene, shard, item)
    })
    const free = rolling.every((other) => other === shard) && isChangeable(scene, shard)
    if (!free && !ejecting && !isMissing(shard)) draft.deleteWhenEmpty(shard)
    else if (draft.change(shard, free ? (additions.get(shard.name) ?? []) : [])) rolling = [shard]
  }
  if (rolling.length > 0) return
  for (const kind of ['holding', 'originals'] as const) {
    for (const where of draft.wheres) {
      const rest = additions.get(groupKey(kind, where)) ?? []
      if (rest.length === 0 || !draft.hasRoom(kind, where)) continue
      draft.create(kind, where, rest.slice(0, draft.capacity(kind)))
      return
    }
  }
}

/** Gives each promoted image a shard with room, in order; those without one go under their kind and place. */
function allocate(
  draft: Draft,
  promoted: readonly Wanted[],
  shards: readonly ObservedShard[],
): ReadonlyMap<string, readonly Wanted[]> {
  const additions = new Map<string, Wanted[]>()
  const room = new Map(
    shards.map((shard) => {
      const gone = draft.departures.along(shard)
      return [shard.name, draft.capacity(shard.kind) - shard.members.length + gone.size]
    }),
  )
  for (const item of promoted) {
    const kind = residentKind(item)
    const shard = shards.find(
      (one) => one.kind === kind && isFor(draft.scene, one, item) && (room.get(one.name) ?? 0) > 0,
    )
    const key = shard?.name ?? groupKey(kind, item.where ?? '')
    if (shard !== undefined) room.set(key, (room.get(key) ?? 0) - 1)
    additions.set(key, [...(additions.get(key) ?? []), item])
  }
  return additions
}

/** No name of a shard has a slash. */
function groupKey(kind: ResidentKind, where: Where): string {
  return `${kind}/${where}`
}

function isRolling(scene: Scene, shard: ObservedShard): boolean {
  if (isMissing(shard)) return false
  return !scene.seen.isRolledOut(shard) && !isStuck(scene, shard)
}
