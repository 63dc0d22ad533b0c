import type { ObservedShard } from './daemon-set.ts'
import type { Draft } from './draft.ts'
import { residentKind } from './placement.ts'
import type { ResidentKind, Where } from './shard.ts'
import { shardsFor } from './spread.ts'
import type { Wanted } from './wanted.ts'

/** Where images are to be held for good. */
export interface Allocation {
  /** Those that shards take in, by the shards' names. */
  readonly into: ReadonlyMap<string, readonly Wanted[]>
  /** Shards that are to be made, of each kind and place one, and what they begin with. */
  readonly openings: readonly {
    readonly kind: ResidentKind
    readonly where: Where
    readonly items: readonly Wanted[]
  }[]
}

/**
 * Gives each promoted image a shard with room: of those that its kind and place are spread over, the one with the most, so that
 * what is placed stays. A shard is opened where no other has room, or where it is worth its pod.
 */
export function allocate(draft: Draft, promoted: readonly Wanted[]): Allocation {
  const into = new Map<string, readonly Wanted[]>()
  const openings: Allocation['openings'][number][] = []
  for (const kind of ['holding', 'originals'] as const) {
    for (const where of draft.wheres) {
      const items = promoted.filter(
        (item) => residentKind(item) === kind && (item.where ?? '') === where,
      )
      if (items.length === 0) continue
      const group = draft.ofKind(kind, where)
      const missing = shardsFor(imagesOf(group, items), draft.scene.spread) - group.length
      const isWorthIt = missing > 0 && draft.fits(kind, where)
      const rest = isWorthIt ? items : distribute(draft, group, items, into)
      const share = Math.ceil(rest.length / Math.max(1, missing))
      const first = rest.slice(0, Math.min(share, draft.capacity(kind, where)))
      if (first.length > 0) openings.push({ kind, where, items: first })
    }
  }
  return { into, openings }
}

/** Adds what shards take in to `into`. @returns that for which there is no room */
function distribute(
  draft: Draft,
  group: readonly ObservedShard[],
  items: readonly Wanted[],
  into: Map<string, readonly Wanted[]>,
): readonly Wanted[] {
  const room = new Map(
    group.map((shard) => {
      const gone = draft.departures.along(shard)
      return [
        shard,
        draft.capacity(shard.kind, shard.where ?? '') - shard.members.length + gone.size,
      ]
    }),
  )
  const roomOf = (shard: ObservedShard): number => room.get(shard) ?? 0
  // Later ones are to be emptied, and take in only what these cannot.
  const staying = group.slice(0, shardsFor(imagesOf(group, items), draft.scene.spread))
  return items.filter((item) => {
    const open = (shards: readonly ObservedShard[]) =>
      shards.filter((shard) => roomOf(shard) > 0 && !holds(shard, item))
    const [shard] = [
      ...open(staying).toSorted((a, b) => roomOf(b) - roomOf(a)),
      ...open(group.slice(staying.length)),
    ]
    if (shard === undefined) return true
    room.set(shard, roomOf(shard) - 1)
    into.set(shard.name, [...(into.get(shard.name) ?? []), item])
    return false
  })
}

function holds({ members }: ObservedShard, { reference }: Wanted): boolean {
  return members.some((member) => member.reference === reference)
}

/** How many images there are with those that come. */
function imagesOf(group: readonly ObservedShard[], items: readonly Wanted[]): number {
  const references = group.flatMap(({ members }) => members.map(({ reference }) => reference))
  return new Set([...references, ...items.map(({ reference }) => reference)]).size
}
