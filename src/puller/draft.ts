import { containerName } from './container-names.ts'
import type { ObservedShard } from './daemon-set.ts'
import { Departures, type Room } from './departures.ts'
import {
  effectiveWhere,
  includes,
  isMeant,
  isWithin,
  kindsOf,
  type NodeKind,
  reaches,
} from './ground.ts'
import { type Ejections, eject } from './memory.ts'
import { asMoved, upToDate } from './moved-tags.ts'
import { isBeyond, isMissing, type Place, residentKind, type Scene } from './placement.ts'
import {
  isResident,
  type Member,
  type Shard,
  type ShardKind,
  shardName,
  sortMembers,
  standsSideBySide,
  type Where,
} from './shard.ts'
import type { Wanted } from './wanted.ts'
import { partsOf } from './where.ts'

/** Names that a selector lists, at most; more nodes are asked together with all others. */
const mostFirst = 100

/** One write. */
export interface Change {
  readonly action: 'apply' | 'delete'
  readonly name: string
  readonly shard: Shard
  /** What the change was computed from; undefined: there is no such DaemonSet. */
  readonly observed?: ObservedShard
  /** References that come and go. */
  readonly added: readonly string[]
  readonly removed: readonly string[]
}

export interface DraftInput {
  /** The puller's DaemonSets, and those that vanished although kip did not delete them (with an empty uid). */
  readonly shards: readonly ObservedShard[]
  /** Names of DaemonSets that are somebody else's. */
  readonly taken: ReadonlySet<string>
  /** The puller's DaemonSet name. */
  readonly base: string
  /** Puller pods that a node may have, the second one of a shard that rolls not counted; at least 2. */
  readonly podsPerNode: number
  /** Nodes that pull at the same time when a fresh shard is changed; default: all. */
  readonly nodesAtOnce?: number
  /** Nodes that are to be asked for a new image before all others; default: none. */
  readonly firstOn?: (reference: string) => readonly string[]
  /** The fingerprint that a shard's DaemonSet would get under the present settings. */
  readonly fingerprint: (shard: ObservedShard) => string
}

/** The changes of one round, as they come together, and what all of its steps ask. */
export class Draft implements Room {
  readonly scene: Scene
  readonly changes: Change[] = []
  readonly ejections: Map<string, Ejections>
  /** References that no shard can take in, since nodes may have no more pods. */
  readonly waiting = new Set<string>()
  readonly departures: Departures
  readonly #input: DraftInput
  readonly #places: ReadonlyMap<string, Place>
  /** What has to be made and finds no room. */
  readonly #crowded: { readonly kind: ShardKind; readonly where: Where }[] = []

  constructor(input: DraftInput, scene: Scene, places: ReadonlyMap<string, Place>) {
    this.#input = input
    this.scene = scene
    this.#places = places
    this.departures = new Departures(scene, places, this)
    this.ejections = new Map(scene.memory.ejections)
  }

  /** Places that anything is at or is to be at. */
  get wheres(): readonly Where[] {
    const { wanted, shards, ground } = this.scene
    const all = new Set<Where>([''])
    for (const { where = '' } of wanted.values()) all.add(where)
    for (const { where = '' } of shards) all.add(effectiveWhere(where, ground))
    return [...all].sort()
  }

  /** Something that is to be made finds no room: what is on its way moves together. */
  get isCrowded(): boolean {
    return this.#crowded.length > 0
  }

  /** Whether something that finds no room would have it without this shard. */
  isInTheWay(shard: ObservedShard): boolean {
    return this.#crowded.some(
      ({ kind, where }) => !this.fits(kind, where) && this.fits(kind, where, [shard]),
    )
  }

  ofKind(kind: ShardKind, where: Where): readonly ObservedShard[] {
    const { shards, ground } = this.scene
    return shards.filter(
      (shard) => shard.kind === kind && effectiveWhere(shard.where ?? '', ground) === where,
    )
  }

  /** What is wanted there, may be asked for and, if asked, belongs somewhere. */
  wantedAt(where: Where, place?: Place): readonly Wanted[] {
    const { wanted, altered } = this.scene
    return [...wanted.values()].filter(
      (item) =>
        (item.where ?? '') === where &&
        !altered.has(item.reference) &&
        (place === undefined || this.isPlace(item, place)),
    )
  }

  isPlace(item: Wanted, place: Place): boolean {
    return this.#places.get(item.reference) === place
  }

  /** Images that a shard may have there. */
  capacity(kind: ShardKind, where: Where): number {
    return this.scene.capacity(kind, where)
  }

  /** Shards of a place in which images stand side by side; in those for all nodes what is for some finds room too. */
  besideAt(where: Where): readonly ObservedShard[] {
    const widens = where !== '' && isWithin(where, '', this.scene.ground)
    return (widens ? [where, ''] : [where]).flatMap((place) => [
      ...this.ofKind('fresh', place),
      ...this.ofKind('apart', place),
    ])
  }

  /** How many more such a shard may take: what fails in it has no container, and stands beside the others. */
  roomIn({ where = '', members }: ObservedShard, gone: ReadonlySet<string> = new Set()): number {
    const kept = members.filter(({ reference }) => !gone.has(reference))
    const failing = kept.filter((member) => this.#fails(member))
    const most = this.capacity('fresh', where) + failing.length
    return Math.min(most, this.capacity('apart', where)) - kept.length
  }

  isFull(shard: ObservedShard): boolean {
    const { kind, where = '', members } = shard
    if (!standsSideBySide(kind)) return members.length >= this.capacity(kind, where)
    // What has gone on leaves as soon as something else comes.
    const gone = members.filter((member) => this.#places.get(member.reference) === 'resident')
    return this.roomIn(shard, new Set(gone.map(({ reference }) => reference))) <= 0
  }

  /** What a shard has that is wanted, and not where it is to stay. */
  onTheirWay({ members }: ObservedShard): readonly Wanted[] {
    return members
      .flatMap(({ reference }) => this.scene.wanted.get(reference) ?? [])
      .filter((item) => !this.isPlace(item, 'resident'))
  }

  hasRoomForNew(where: Where): boolean {
    return this.fits('fresh', where) || this.besideAt(where).some((shard) => !this.isFull(shard))
  }

  isChanged({ name }: ObservedShard): boolean {
    return this.changes.some((change) => change.name === name)
  }

  isDrifted(shard: ObservedShard): boolean {
    return this.#input.fingerprint(shard) !== shard.fingerprint
  }

  /**
   * Whether one more shard may be made there. Nodes may have so many pods, and neither what holds for good nor what is on
   * its way takes the last one from the other: without both, no image could ever get where it is to stay. So a second shard
   * on the way is made only beside what is still to be made to hold for good, unless all that is new goes on to what is made;
   * tags that moved make way by themselves.
   *
   * @param without shards that are not counted
   */
  fits(kind: ShardKind, where: Where, without: readonly Shard[] = []): boolean {
    const { shards, ground } = this.scene
    const { podsPerNode } = this.#input
    const coming = this.changes.filter(({ action, observed }) => action === 'apply' && !observed)
    const names = new Set(shards.map(({ name }) => name))
    const all = [
      ...shards,
      ...coming.filter(({ name }) => !names.has(name)).map(({ shard }) => shard),
    ]
    const made = { kind, where, index: this.#freeIndex(kind, where) }
    const reached = kindsOf(ground).filter((one) => reaches(made, one, ground))
    // Nodes that take few pods have the first shard alone: where there are no others, a second one would be nowhere.
    if (reached.length === 0 && ground.cramped.alone) return false
    const passes = kind === 'fresh' && this.#goesOn(where)
    return reached.every((one) => {
      const now = all.filter((shard) => reaches(shard, one, ground))
      const there = now.filter((shard) => !without.includes(shard))
      const alike = there.filter((shard) => isResident(shard.kind) === isResident(kind))
      const waits = !isResident(kind) && kind !== 'refresh' && !passes
      const taken = there.length + (waits ? this.#residentsToCome(one, there) : 0)
      // What is still there counts too: there is never more than one too many.
      return now.length <= podsPerNode && taken < podsPerNode && alike.length < podsPerNode - 1
    })
  }

  /** Whether all that is new there has room in shards that hold for good already. */
  #goesOn(where: Where): boolean {
    const { newSince } = this.scene.memory
    const wanted = this.wantedAt(where)
    const coming = wanted.filter(({ reference }) => newSince.has(reference)).map(residentKind)
    return [...new Set(coming)].every((kind) => {
      const alike = wanted.filter((item) => residentKind(item) === kind)
      return alike.length <= this.capacity(kind, where) * this.ofKind(kind, where).length
    })
  }

  /** Shards that what is wanted on such nodes still needs to be held for good, as far as these may have them. */
  #residentsToCome(node: NodeKind, there: readonly Shard[]): number {
    const { wanted, ground } = this.scene
    const groups = Map.groupBy(
      // What fails gets no shard for good before it can be pulled.
      [...wanted.values()].filter(
        (item) => includes(item.where ?? '', node) && !this.isPlace(item, 'apart'),
      ),
      (item) => `${residentKind(item)}/${item.where ?? ''}`,
    )
    const residents = there.filter((shard) => isResident(shard.kind))
    const made = Map.groupBy(
      residents,
      (shard) => `${shard.kind}/${effectiveWhere(shard.where ?? '', ground)}`,
    )
    const missing = [...groups].map(([key, items]) => {
      const needed = Math.ceil(items.length / this.capacity('holding', items[0]?.where ?? ''))
      return Math.max(0, needed - (made.get(key)?.length ?? 0))
    })
    const most = this.#input.podsPerNode - 1 - residents.length
    return Math.max(
      0,
      Math.min(
        most,
        missing.reduce((sum, count) => sum + count, 0),
      ),
    )
  }

  /** The same of one that has to be made: where it cannot be, what is on its way moves together. */
  hasRoom(kind: ShardKind, where: Where): boolean {
    const fits = this.fits(kind, where)
    if (!fits) this.#crowded.push({ kind, where })
    return fits
  }

  /** @param first names of the only nodes to begin with; none: all */
  create(
    kind: ShardKind,
    where: Where,
    entering: readonly Wanted[],
    first: readonly string[] = [],
  ): void {
    const index = this.#freeIndex(kind, where)
    const placing = this.scene.ground.placings.get(partsOf(where).placing)
    const place = {
      ...{ kind, index },
      ...(where === '' ? {} : { where }),
      ...(placing === undefined ? {} : { placing }),
      ...(first.length === 0 ? {} : { first }),
    }
    this.write(place, named([], entering), undefined)
  }

  /** Changes a shard in place, if there is reason to; what is unwanted leaves along with what changes anyway. */
  change(shard: ObservedShard, entering: readonly Wanted[]): boolean {
    const { scene } = this
    const leaving = this.departures.due(shard)
    const late = isResident(shard.kind) && shard.members.some((one) => upToDate(scene, one) !== one)
    const isSettled = !this.isDrifted(shard) && !late && shard.first === undefined
    if (entering.length === 0 && leaving.length === 0 && isSettled) return false
    const gone = this.departures.along(shard)
    const kept = shard.members
      .filter(({ reference }) => !gone.has(reference))
      .map((member) => (isResident(shard.kind) ? upToDate(scene, member) : member))
    // What was asked of some nodes first is asked of all now; who failed has left.
    const { first: _first, unpaced: _unpaced, ...everywhere } = shard
    this.write(everywhere, named(kept, entering), shard)
    return true
  }

  /**
   * Has a shard ask all nodes at once when an image in it fails, or is not for all of them: the nodes that lack that never get
   * ready, and are not to keep the others waiting for what came with it. When all are asked nobody waits, and the write, of
   * other settings meanwhile, could only end pods that are not ready.
   */
  hurry(shard: ObservedShard): void {
    const { nodesAtOnce = Number.POSITIVE_INFINITY } = this.#input
    if (this.scene.seen.isRolledOut(shard)) return
    if (shard.unpaced === true || this.scene.nodesAt(shard.where ?? '') <= nodesAtOnce) return
    const isNotReady = (one: Member): boolean =>
      this.#fails(one) || isBeyond(this.scene, shard, one.reference)
    if (shard.members.some(isNotReady)) {
      this.write({ ...shard, unpaced: true }, shard.members, shard)
    }
  }

  #fails({ reference }: Member): boolean {
    const item = this.scene.wanted.get(reference)
    return item !== undefined && this.isPlace(item, 'apart')
  }

  deleteWhenEmpty(shard: ObservedShard): void {
    const leaving = new Set(this.departures.due(shard))
    if (shard.members.every(({ reference }) => leaving.has(reference))) this.delete(shard)
  }

  delete(shard: ObservedShard): void {
    this.write(shard, [], shard)
  }

  /** Has a shard hold what is given; without any, it is deleted. */
  write(
    { kind, index, where, placing, first, unpaced }: Omit<Shard, 'members'>,
    members: readonly Member[],
    observed: ObservedShard | undefined,
  ): void {
    const name = shardName(this.#input.base, kind, index, where)
    const before = new Set(observed?.members.map(({ reference }) => reference))
    const after = new Set(members.map(({ reference }) => reference))
    const empty = members.length === 0
    if (empty && (observed === undefined || isMissing(observed))) return
    this.changes.push({
      action: empty ? 'delete' : 'apply',
      name,
      shard: {
        kind,
        index,
        ...(where === undefined ? {} : { where }),
        ...(placing === undefined ? {} : { placing }),
        ...(first === undefined ? {} : { first }),
        ...(unpaced === undefined ? {} : { unpaced }),
        members: kind === 'refresh' ? members.map(asMoved) : members,
      },
      ...(observed === undefined || isMissing(observed) ? {} : { observed }),
      added: [...after].filter((reference) => !before.has(reference)),
      removed: [...before].filter((reference) => !after.has(reference)),
    })
  }

  /**
   * Nodes that are to be asked before all others: those that the images name, if each of these names some, and they are few
   * of the nodes that the place means.
   */
  firstOf(where: Where, entering: readonly Wanted[]): readonly string[] {
    const { ground } = this.scene
    const { firstOn } = this.#input
    if (firstOn === undefined || ground.nodes === undefined) return []
    const there = ground.nodes
      .map(({ name }) => name)
      .filter((node) => isMeant(node, where, ground))
    const asked = new Set<string>()
    for (const { reference } of entering) {
      const own = firstOn(reference)
      if (own.length === 0) return []
      for (const node of own) asked.add(node)
    }
    const first = there.filter((node) => asked.has(node))
    const few = Math.min(mostFirst, there.length / 2)
    return first.length > few ? [] : first.sort()
  }

  /** Notes that an image leaves what holds it for good for failing. */
  countEjection(reference: string): void {
    const { pace, now, homes } = this.scene
    for (const { kind, name } of homes.get(reference) ?? []) {
      if (!isResident(kind) || this.ejections.get(name)?.at === now) continue
      this.ejections.set(name, eject(this.ejections.get(name), pace, now))
    }
  }

  #freeIndex(kind: ShardKind, where: Where): number {
    const { base, shards, taken } = this.#input
    const used = new Set([...shards.map(({ name }) => name), ...taken])
    let index = 1
    while (used.has(shardName(base, kind, index, where))) index += 1
    return index
  }
}

/** Kept members keep their names; new ones get theirs. */
export function named(kept: readonly Member[], entering: readonly Wanted[]): readonly Member[] {
  const taken = new Set(kept.map(({ container }) => container))
  const members = [...kept]
  for (const { reference, name, digest } of entering) {
    const container = containerName(reference, name, taken)
    taken.add(container)
    members.push({ reference, container, ...(digest === undefined ? {} : { digest }) })
  }
  return sortMembers(members)
}
