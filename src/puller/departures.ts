import type { ObservedShard } from './daemon-set.ts'
import { effectiveWhere } from './ground.ts'
import { newestFirst } from './order.ts'
import {
  isFor,
  isMissing,
  isReleased,
  isThroughout,
  type Place,
  residentKind,
  type Scene,
} from './placement.ts'
import { isResident, type Where } from './shard.ts'
import type { Wanted } from './wanted.ts'

/** What shards have room for. */
export interface Room {
  isFull(shard: ObservedShard): boolean
  /** Whether a shard can take in what no shard of a place has yet, or may be made for it. */
  hasRoomForNew(where: Where): boolean
}

/** Which images may leave their shards. */
export class Departures {
  readonly #scene: Scene
  readonly #places: ReadonlyMap<string, Place>
  readonly #room: Room
  /** Repositories with images at certain places that are waited for, once asked for. */
  readonly #awaited = new Map<string, ReadonlySet<string>>()
  /** Whether there is room for what is new, by place, once asked for: thousands of images ask. */
  readonly #roomAt = new Map<Where, boolean>()

  constructor(scene: Scene, places: ReadonlyMap<string, Place>, room: Room) {
    this.#scene = scene
    this.#places = places
    this.#room = room
  }

  /** References that may leave a shard now: held where they belong, or unwanted for long enough. */
  due(shard: ObservedShard): readonly string[] {
    const scene = this.#scene
    return shard.members.flatMap(({ reference }) => {
      const item = scene.wanted.get(reference)
      if (item === undefined) {
        const isDue = this.#isReplaced(shard, reference)
        return isDue && this.#isUnwantedFor(scene.pace.removeMs, reference) ? [reference] : []
      }
      if (this.#isInVain(shard, reference)) return [reference]
      const home = this.#home(item)
      if (home === undefined || home === shard) return []
      return isReleased(scene, shard, reference, home) ? [reference] : []
    })
  }

  /**
   * The same of a shard that changes for another reason: what nobody wants for a while goes along, and makes room for its
   * successor as soon as all nodes have that.
   */
  along(shard: ObservedShard): ReadonlySet<string> {
    const { wanted, pace } = this.#scene
    const unwanted = shard.members
      .map(({ reference }) => reference)
      .filter((reference) => !wanted.has(reference))
      .filter((reference) => this.#isSucceeded(shard, reference))
      .filter((reference) => this.#isUnwantedFor(pace.removeAlongMs, reference))
    return new Set([...this.due(shard), ...unwanted])
  }

  /** What is altered where it is asked for gets nowhere there, and cannot be had beside a shard that it fails in. */
  #isInVain({ kind }: ObservedShard, reference: string): boolean {
    if (!this.#scene.altered.has(reference)) return false
    return !isResident(kind) || this.#places.get(reference) === 'apart'
  }

  #isUnwantedFor(ms: number, reference: string): boolean {
    const { memory, now, wake } = this.#scene
    const at = (memory.unwantedSince.get(reference) ?? now) + ms
    wake(at)
    return now >= at
  }

  /** An old version stays until the wanted ones of its repository are where they are to stay. */
  #isReplaced(shard: ObservedShard, reference: string): boolean {
    return this.#isLeft(shard, reference, ['fresh', 'proven'])
  }

  /** Whether every node has the wanted ones of its repository. */
  #isSucceeded(shard: ObservedShard, reference: string): boolean {
    return this.#isLeft(shard, reference, ['fresh'])
  }

  /** Whether none of its repository that are at certain places is waited for. */
  #isLeft(shard: ObservedShard, reference: string, places: readonly Place[]): boolean {
    if (this.#scene.displaced.has(reference)) return true
    // For what finds no room an old version that takes some would wait in vain.
    const way = this.#room.isFull(shard) ? 'with room' : 'any'
    const key = `${way} ${places.join(' ')}`
    const awaited = this.#awaited.get(key) ?? this.#repositoriesAt(places, way)
    this.#awaited.set(key, awaited)
    return !awaited.has(repositoryOf(reference))
  }

  #repositoriesAt(places: readonly Place[], way: 'any' | 'with room'): ReadonlySet<string> {
    const there = [...this.#places]
      .filter(([, place]) => places.includes(place))
      .map(([reference]) => reference)
    const awaited = way === 'any' ? there : there.filter((reference) => this.#hasRoom(reference))
    return new Set(awaited.map(repositoryOf))
  }

  #hasRoom(reference: string): boolean {
    const { homes, wanted } = this.#scene
    if (homes.has(reference)) return true
    const where = wanted.get(reference)?.where ?? ''
    const hasRoom = this.#roomAt.get(where) ?? this.#room.hasRoomForNew(where)
    this.#roomAt.set(where, hasRoom)
    return hasRoom
  }

  /** The shard where an image is to be, if one has it already. */
  #home(item: Wanted): ObservedShard | undefined {
    const homes = (this.#scene.homes.get(item.reference) ?? []).filter(
      (home) => !isMissing(home) && isFor(this.#scene, home, item),
    )
    switch (this.#places.get(item.reference)) {
      case 'resident':
        return homes.find(({ kind }) => kind === residentKind(item))
      case 'apart':
        return (
          homes.filter(({ kind }) => kind === 'apart').toSorted(newestFirst)[0] ??
          this.#freshHome(item)
        )
      case 'fresh':
      case 'proven':
        return this.#freshHome(item)
      default:
        return undefined
    }
  }

  /** The fresh shard that it is beside others in: one for all nodes comes before one for its own, which it leaves for room. */
  #freshHome(item: Wanted): ObservedShard | undefined {
    const { homes, ground } = this.#scene
    const fresh = (homes.get(item.reference) ?? []).filter(
      (home) => home.kind === 'fresh' && !isMissing(home) && isThroughout(ground, home, item),
    )
    return (
      fresh.find(({ where = '' }) => effectiveWhere(where, ground) === '') ??
      fresh.find((home) => isFor(this.#scene, home, item))
    )
  }
}

function repositoryOf(reference: string): string {
  const [named = ''] = reference.split('@')
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1)
  return colon < 0 ? named : named.slice(0, colon)
}
