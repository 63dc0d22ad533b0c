import { type Ground, includes, kindsOf } from './ground.ts'
import { residentKind } from './placement.ts'
import type { ShardKind, Where } from './shard.ts'
import type { Wanted } from './wanted.ts'
import { byWorth } from './worth.ts'

export interface RoomInput {
  readonly wanted: ReadonlyMap<string, Wanted>
  /** References that shards hold. */
  readonly held: ReadonlySet<string>
  readonly podsPerNode: number
  /** Images that a shard may have there. */
  readonly capacity: (kind: ShardKind, where: Where) => number
  readonly ground: Ground
}

/**
 * References for which the puller pods of a node have no room, even when all that is to stay has moved to where it is to
 * stay: those worth least. One that is held is among them when something else is worth more, and makes way for it. Pure.
 *
 * On a node all pods but one hold for good, each images of one kind and place; that one has what is on its way, and what
 * there is no more room for elsewhere. The latter leaves one place to the former, or nothing new would ever come to a node.
 */
export function overRoom(input: RoomInput): ReadonlySet<string> {
  const { wanted, held, podsPerNode, capacity, ground } = input
  const residents = podsPerNode - 1
  /** By kind and place: images that a shard takes. */
  const capacities = new Map<string, number>()
  const shardsOf = (key: string, count: number): number =>
    Math.ceil(count / (capacities.get(key) ?? 1))
  const beside = capacity('fresh', '') - 1
  const out = new Set<string>()
  if (wanted.size <= beside) return out
  // Those that take few pods have what they have room for of what all others hold.
  const roomy = kindsOf(ground).filter(({ cramped }) => !cramped || ground.cramped.alone)
  const nodes = roomy.map((kind) => ({
    kind,
    /** Images by kind and place. */
    counts: new Map<string, number>(),
    overflow: 0,
  }))
  for (const item of byWorth(wanted, held)) {
    const { reference, where = '' } = item
    const key = `${residentKind(item)}/${where}`
    if (!capacities.has(key)) capacities.set(key, capacity('holding', where))
    const there = nodes.filter(({ kind }) => includes(where, kind))
    const fits = there.every(({ counts }) => {
      let shards = shardsOf(key, (counts.get(key) ?? 0) + 1)
      for (const [other, count] of counts) if (other !== key) shards += shardsOf(other, count)
      return shards <= residents
    })
    if (fits) for (const { counts } of there) counts.set(key, (counts.get(key) ?? 0) + 1)
    else if (there.every(({ overflow }) => overflow < beside)) {
      for (const node of there) node.overflow += 1
    } else out.add(reference)
  }
  return out
}
