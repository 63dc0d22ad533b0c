import type { ObservedShard } from './daemon-set.ts'
import { effectiveWhere } from './ground.ts'
import { type Place, residentKind, type Scene } from './placement.ts'
import { isResident } from './shard.ts'
import { shardsFor } from './spread.ts'
import type { Wanted } from './wanted.ts'

/** How full the shards that are left may be: what comes next must not open another one at once. */
const fillFactor = 0.9

/** A shard that the others of its kind and place have room for. */
export interface Compaction {
  readonly name: string
  /** What it holds: to go to the others, and to leave when they are ready with it. */
  readonly items: readonly Wanted[]
  /** Something that has no shard yet needs its pod. */
  readonly isInTheWay: boolean
}

/**
 * Shards that hold for good and need not be there: images have gone, each shard takes more than it once did, or what is to be
 * held besides needs their pods. Of each kind and place, the last. Unless it is in the way, none while anything is on its way:
 * this is for quiet times. Pure.
 */
export function compactions(
  scene: Scene,
  places: ReadonlyMap<string, Place>,
  podsPerNode: number,
): readonly Compaction[] {
  const { shards, seen, ground, wanted } = scene
  const residents = shards.filter(({ kind }) => isResident(kind))
  if (!residents.every((shard) => seen.isSettled(shard))) return []
  const isQuiet =
    shards.every(({ kind }) => isResident(kind) || kind === 'apart') &&
    [...places.values()].every((place) => place === 'resident' || place === 'apart')
  const groups = Map.groupBy(
    residents,
    ({ kind, where = '' }) => `${kind}/${effectiveWhere(where, ground)}`,
  )
  const isCrowded =
    residents.length >= podsPerNode - 1 &&
    [...wanted.values()].some(
      (item) => places.get(item.reference) === 'proven' && !groups.has(groupOf(item)),
    )
  if (!isQuiet && !isCrowded) return []
  return [...groups.values()].flatMap((group) => {
    const last = group.at(-1)
    // Shards made when there were other architectures come in no order of their own.
    if (last === undefined || group.some(({ where }) => where !== last.where)) return []
    const capacity = scene.capacity(last.kind, last.where ?? '')
    const members = group.reduce((sum, shard) => sum + shard.members.length, 0)
    if (group.length <= shardsFor(members, scene.spread)) return []
    if (members > fillFactor * capacity * (group.length - 1)) return []
    const items = last.members.flatMap((member) => movable(scene, last, member.reference))
    if (items.length < last.members.length) return []
    return [{ name: last.name, items, isInTheWay: isCrowded }]
  })
}

function groupOf(item: Wanted): string {
  return `${residentKind(item)}/${item.where ?? ''}`
}

/** An image that the shard alone holds for good, and rightly so; a fresh shard may hold it still until it is changed next. */
function movable(scene: Scene, shard: ObservedShard, reference: string): readonly Wanted[] {
  const item = scene.wanted.get(reference)
  const homes = scene.homes.get(reference) ?? []
  if (item === undefined || residentKind(item) !== shard.kind) return []
  return homes.every((home) => home === shard || home.kind === 'fresh') ? [item] : []
}
