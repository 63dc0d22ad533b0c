import { effectiveWhere } from './architectures.ts'
import type { ObservedShard } from './daemon-set.ts'
import { type Place, residentKind, type Scene } from './placement.ts'
import { isResident } from './shard.ts'
import { type StrategyName, strategyOf } from './strategies/strategies.ts'
import type { Wanted } from './wanted.ts'

/** How full the shards that are left may be: what comes next must not open another one at once. */
const fillFactor = 0.9

/** A shard that the others of its kind and place have room for. */
export interface Compaction {
  readonly name: string
  /** What it holds: to go to the others, and to leave when they are ready with it. */
  readonly items: readonly Wanted[]
}

/**
 * Shards that hold for good and need not be there: images have gone, or each shard takes more than it once did. Of each
 * kind and place, the last. None while anything is on its way: this is for quiet times. Pure.
 */
export function compactions(
  scene: Scene,
  places: ReadonlyMap<string, Place>,
  strategy: StrategyName,
): readonly Compaction[] {
  const { shards, seen, architectures } = scene
  const isQuiet =
    shards.every((shard) =>
      isResident(shard.kind) ? seen.isSettled(shard) : shard.kind === 'apart',
    ) && [...places.values()].every((place) => place === 'resident' || place === 'apart')
  if (!isQuiet) return []
  const groups = Map.groupBy(
    shards.filter(({ kind }) => isResident(kind)),
    ({ kind, where = '' }) => `${kind}/${effectiveWhere(where, architectures)}`,
  )
  return [...groups.values()].flatMap((group) => {
    const last = group.at(-1)
    // Shards made when there were other architectures come in no order of their own.
    if (last === undefined || group.some(({ where }) => where !== last.where)) return []
    const { capacity } = strategyOf(last.kind, strategy)
    const members = group.reduce((sum, shard) => sum + shard.members.length, 0)
    if (members > fillFactor * capacity * (group.length - 1)) return []
    const items = last.members.flatMap((member) => movable(scene, last, member.reference))
    return items.length < last.members.length ? [] : [{ name: last.name, items }]
  })
}

/** An image that the shard alone holds for good, and rightly so. */
function movable(scene: Scene, shard: ObservedShard, reference: string): readonly Wanted[] {
  const item = scene.wanted.get(reference)
  const homes = scene.homes.get(reference) ?? []
  if (item === undefined || residentKind(item) !== shard.kind) return []
  return homes.every((home) => home === shard) ? [item] : []
}
