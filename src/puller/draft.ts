import { effectiveWhere, includes } from './architectures.ts'
import { containerName } from './container-names.ts'
import type { ObservedShard } from './daemon-set.ts'
import { type Ejections, eject } from './memory.ts'
import {
  isChangeable,
  isFor,
  isMissing,
  isPulled,
  isReleased,
  isStuck,
  type Place,
  residentKind,
  type Scene,
} from './placement.ts'
import {
  isResident,
  type Member,
  type Shard,
  type ShardKind,
  shardName,
  sortMembers,
  type Where,
} from './shard.ts'
import { type StrategyName, strategyOf } from './strategies/strategies.ts'
import type { Wanted } from './wanted.ts'

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
  readonly strategy: StrategyName
  /** Puller pods that a node may have, the second one of a shard that rolls not counted; at least 2. */
  readonly podsPerNode: number
  /** The fingerprint that a shard's DaemonSet would get under the present settings. */
  readonly fingerprint: (shard: ObservedShard) => string
}

/** Shards of images on their way: two, so that what comes while one is pulling need not wait for it. */
const freshShards = 2

/**
 * Images that fail, at most: one that cannot be pulled has no container, so this bounds the size of a pod object (about
 * 1.2 KB each with its status), not memory. What exceeds it stays in the fresh shards.
 */
const apartCapacity = 200

/** The changes of one round, as they come together. */
export class Draft {
  readonly changes: Change[] = []
  readonly ejections: Map<string, Ejections>
  /** References that no shard can take in, since nodes may have no more pods. */
  readonly waiting = new Set<string>()
  readonly #input: DraftInput
  readonly #scene: Scene
  readonly #places: ReadonlyMap<string, Place>
  /** Something that is to be made finds no room: what is on its way moves together. */
  #isCrowded = false
  /** Repositories with images on their way, once asked for. */
  #arriving: ReadonlySet<string> | undefined

  constructor(input: DraftInput, scene: Scene, places: ReadonlyMap<string, Place>) {
    this.#input = input
    this.#scene = scene
    this.#places = places
    this.ejections = new Map(scene.memory.ejections)
  }

  /** Images that fail: all in one shard, and in its successor while it cannot be changed in place. */
  setApart(): void {
    for (const where of this.#wheres) this.#setApartAt(where)
  }

  #setApartAt(where: Where): void {
    const scene = this.#scene
    // The newest counts; one before it only waits until all that it holds is held elsewhere.
    const shards = this.#ofKind('apart', where).toSorted(newestFirst)
    const [primary, ...older] = shards
    for (const shard of older) this.#deleteWhenEmpty(shard)
    const all = sorted(this.#wantedAt(where).filter((item) => this.#isPlace(item, 'apart')))
    const goal = all.slice(0, apartCapacity)
    const members = new Set(primary?.members.map(({ reference }) => reference))
    const missing = goal.filter(({ reference }) => !members.has(reference))
    for (const { reference } of missing) this.#countEjection(reference)
    if (primary === undefined) {
      if (goal.length > 0) this.#makeApart(where, goal)
      return
    }
    // With a predecessor still there, no third one: the change is made in place, at the cost of a moment.
    const forced = older.length > 0 && missing.length > 0 && scene.seen.isRolledOut(primary)
    if (forced || isChangeable(scene, primary)) {
      this.#change(primary, missing)
    } else if (
      older.length === 0 &&
      (missing.length > 0 || this.#isDrifted(primary)) &&
      this.#hasRoom('apart', where)
    ) {
      this.#create('apart', where, goal)
    } else this.#deleteWhenEmpty(primary)
  }

  /** A shard for those that fail; where nodes may have no more pods, they stay with what is on its way. */
  #makeApart(where: Where, goal: readonly Wanted[]): void {
    if (this.#hasRoom('apart', where)) {
      this.#create('apart', where, goal)
      return
    }
    const beside = this.#ofKind('fresh', where)
    const there = new Set(
      beside.flatMap(({ members }) => members.map(({ reference }) => reference)),
    )
    const missing = goal.filter(({ reference }) => !there.has(reference))
    const shard = beside.find((one) => isChangeable(this.#scene, one))
    if (shard !== undefined && missing.length > 0) this.#change(shard, missing)
  }

  /** What holds for good: one shard a round, when none is rolling. */
  changeResidents(promoted: readonly Wanted[]): void {
    const shards = this.#scene.shards.filter(({ kind }) => isResident(kind))
    let rolling = shards.filter((shard) => this.#isRolling(shard))
    const additions = this.#allocate(promoted, shards)
    for (const shard of shards) {
      const ejecting = this.#leaving(shard).some((reference) => {
        const item = this.#scene.wanted.get(reference)
        if (item === undefined) return false
        return this.#isPlace(item, 'apart') || !isFor(this.#scene, shard, item)
      })
      const free = rolling.every((other) => other === shard) && isChangeable(this.#scene, shard)
      if (!free && !ejecting && !isMissing(shard)) this.#deleteWhenEmpty(shard)
      else if (this.#change(shard, free ? (additions.get(shard.name) ?? []) : [])) {
        rolling = [shard]
      }
    }
    if (rolling.length > 0) return
    for (const kind of ['holding', 'originals'] as const) {
      for (const where of this.#wheres) {
        const rest = additions.get(`${kind}/${where}`) ?? []
        if (rest.length === 0 || !this.#hasRoom(kind, where)) continue
        this.#create(kind, where, rest.slice(0, this.#capacity(kind)))
        return
      }
    }
  }

  /** Images that no shard has yet, and the leaving of those that have gone on. */
  letIn(): void {
    for (const where of this.#wheres) this.#letInAt(where)
  }

  #letInAt(where: Where): void {
    const scene = this.#scene
    const { memory, pace, now } = scene
    let waiting = sorted(
      this.#wantedAt(where).filter(
        (item) => this.#isPlace(item, 'fresh') && memory.newSince.has(item.reference),
      ),
    )
    const first = Math.min(...waiting.map(({ reference }) => memory.newSince.get(reference) ?? now))
    scene.wake(first + pace.gatherMs)
    if (now < first + pace.gatherMs) waiting = []
    const capacity = this.#capacity('fresh')
    const shards = this.#ofKind('fresh', where)
    const crowding = this.#isCrowded ? this.#crowding(shards) : []
    for (const shard of shards) {
      if (this.#isChanged(shard)) continue
      if (!isChangeable(scene, shard)) {
        this.#deleteWhenEmpty(shard)
        continue
      }
      const gone = new Set([...this.#leaving(shard), ...this.#unwanted(shard)])
      const room = capacity - shard.members.length + gone.size
      const candidates = shard === shards[0] ? [...crowding, ...waiting] : waiting
      const entering = candidates.slice(0, Math.max(0, room))
      waiting = waiting.filter((item) => !entering.includes(item))
      // What has gone on may stay beside the others till they go too: their pulls are not begun anew for it.
      if (entering.length > 0 || this.#isDrifted(shard)) this.#change(shard, entering)
      else this.#deleteWhenEmpty(shard)
    }
    if (waiting.length === 0) return
    if (this.#hasRoom('fresh', where)) {
      if (shards.length < freshShards) this.#create('fresh', where, waiting.slice(0, capacity))
      return
    }
    for (const { reference } of this.#letInElsewhere(where, waiting)) this.waiting.add(reference)
  }

  /** What later fresh shards hold and the first does not: it makes room by moving there. */
  #crowding([first, ...others]: readonly ObservedShard[]): readonly Wanted[] {
    const there = new Set(first?.members.map(({ reference }) => reference))
    return others
      .flatMap(({ members }) => members.map(({ reference }) => reference))
      .filter((reference) => !there.has(reference))
      .flatMap((reference) => this.#scene.wanted.get(reference) ?? [])
  }

  /**
   * Where nodes may have no more pods: among those that fail, or beside what is on its way to more nodes. All stand side
   * by side there too. Gives those for which that is full, or cannot be changed now.
   */
  #letInElsewhere(where: Where, waiting: readonly Wanted[]): readonly Wanted[] {
    const shards = [
      ...this.#ofKind('apart', where),
      ...(where === '' ? [] : [...this.#ofKind('fresh', ''), ...this.#ofKind('apart', '')]),
    ]
    let rest = waiting
    for (const shard of shards) {
      if (this.#isChanged(shard) || !isChangeable(this.#scene, shard)) continue
      const room = Math.max(0, this.#capacity('fresh') - shard.members.length)
      if (room > 0) this.#change(shard, rest.slice(0, room))
      rest = rest.slice(room)
    }
    return rest
  }

  /**
   * Whether one more shard may be made there. Nodes may have so many pods, and neither what holds for good nor what is on
   * its way takes the last one from the other: without both, no image could ever get where it is to stay.
   */
  #hasRoom(kind: ShardKind, where: Where): boolean {
    const { shards, architectures } = this.#scene
    const { podsPerNode } = this.#input
    const made = this.changes.filter(({ action, observed }) => action === 'apply' && !observed)
    const names = new Set(shards.map(({ name }) => name))
    const all = [
      ...shards,
      ...made.filter(({ name }) => !names.has(name)).map(({ shard }) => shard),
    ]
    const everywhere = architectures.present.size === 0 ? [''] : [...architectures.present]
    const hasRoom = everywhere
      .filter((one) => includes(where, one))
      .every((one) => {
        const there = all.filter((shard) => includes(shard.where ?? '', one))
        const alike = there.filter((shard) => isResident(shard.kind) === isResident(kind))
        return there.length < podsPerNode && alike.length < podsPerNode - 1
      })
    this.#isCrowded ||= !hasRoom
    return hasRoom
  }

  #isChanged({ name }: ObservedShard): boolean {
    return this.changes.some((change) => change.name === name)
  }

  /**
   * Tags that moved: a shard whose pods ask the registry whatever is there (those that hold do not) has the nodes pull what
   * they are now; then their holding shards follow, and it goes. It is made when nothing is on its way.
   */
  refresh(): void {
    for (const where of this.#wheres) this.#refreshAt(where)
  }

  #refreshAt(where: Where): void {
    const scene = this.#scene
    const [shard, ...others] = this.#ofKind('refresh', where)
    for (const other of others) this.#write(other, [], other)
    const moved = sorted(this.#wantedAt(where).filter((item) => this.#hasMoved(item)))
    if (shard === undefined) {
      const busy = this.#ofKind('fresh', where).length > 0 || this.changes.length > 0
      if (moved.length === 0 || busy || !this.#hasRoom('refresh', where)) return
      this.#create('refresh', where, moved.slice(0, this.#capacity('refresh')))
      return
    }
    if (isMissing(shard)) {
      this.#write(shard, this.#named([], moved.slice(0, shard.members.length)), shard)
      return
    }
    // It goes when those that hold have followed and are ready: till then only it keeps what it pulled.
    const following = scene.shards.some((one) => isResident(one.kind) && !scene.seen.isSettled(one))
    if (moved.length === 0) {
      if (!following || isStuck(scene, shard)) this.#write(shard, [], shard)
      return
    }
    const asked = new Map(shard.members.map(({ reference, digest }) => [reference, digest]))
    const late = moved.filter(({ reference, digest }) => asked.get(reference) !== digest)
    if (late.length === 0 || following || !isChangeable(scene, shard)) return
    this.#write(shard, this.#named([], moved.slice(0, this.#capacity('refresh'))), shard)
  }

  /** Whether a tag that is held for good is something else by now. */
  #hasMoved({ reference, digest }: Wanted): boolean {
    if (digest === undefined) return false
    return (this.#scene.homes.get(reference) ?? []).some(
      ({ kind, members }) =>
        isResident(kind) &&
        members.some(
          (member) =>
            member.reference === reference &&
            member.digest !== undefined &&
            member.digest !== digest,
        ),
    )
  }

  /** A member as it is to be: what nodes are known to have pulled since its tag moved makes its pods anew. */
  #upToDate(member: Member): Member {
    const item = this.#scene.wanted.get(member.reference)
    if (item?.digest === undefined || member.digest === item.digest) return member
    if (member.digest === undefined) return { ...member, digest: item.digest }
    const pulled = (this.#scene.homes.get(member.reference) ?? []).some(
      (home) =>
        home.kind === 'refresh' &&
        home.members.some(
          ({ reference, digest }) => reference === item.reference && digest === item.digest,
        ) &&
        isPulled(this.#scene, home, item.reference),
    )
    return pulled ? { ...member, digest: item.digest, moved: item.digest } : member
  }

  /** Gives each promoted image a shard with room, in order; those without one go under their kind. */
  #allocate(
    promoted: readonly Wanted[],
    shards: readonly ObservedShard[],
  ): ReadonlyMap<string, readonly Wanted[]> {
    const additions = new Map<string, Wanted[]>()
    const room = new Map(
      shards.map((shard) => {
        const gone = new Set([...this.#leaving(shard), ...this.#unwanted(shard)])
        return [shard.name, this.#capacity(shard.kind) - shard.members.length + gone.size]
      }),
    )
    for (const item of promoted) {
      const kind = residentKind(item)
      const shard = shards.find(
        (one) =>
          one.kind === kind && isFor(this.#scene, one, item) && (room.get(one.name) ?? 0) > 0,
      )
      const key = shard?.name ?? `${kind}/${item.where ?? ''}`
      if (shard !== undefined) room.set(key, (room.get(key) ?? 0) - 1)
      additions.set(key, [...(additions.get(key) ?? []), item])
    }
    return additions
  }

  /** Changes a shard in place, if there is reason to; what is unwanted leaves along with what changes anyway. */
  #change(shard: ObservedShard, entering: readonly Wanted[]): boolean {
    const leaving = new Set(this.#leaving(shard))
    const drifted = this.#isDrifted(shard)
    const late = isResident(shard.kind) && shard.members.some((one) => this.#upToDate(one) !== one)
    if (entering.length === 0 && leaving.size === 0 && !drifted && !late) return false
    const gone = new Set([...leaving, ...this.#unwanted(shard)])
    const kept = shard.members
      .filter(({ reference }) => !gone.has(reference))
      .map((member) => (isResident(shard.kind) ? this.#upToDate(member) : member))
    const members = this.#named(kept, entering)
    this.#write(shard, members, shard)
    return true
  }

  #deleteWhenEmpty(shard: ObservedShard): void {
    const leaving = new Set(this.#leaving(shard))
    if (shard.members.every(({ reference }) => leaving.has(reference))) {
      this.#write(shard, [], shard)
    }
  }

  #create(kind: ShardKind, where: Where, entering: readonly Wanted[]): void {
    const index = this.#freeIndex(kind, where)
    const place = where === '' ? { kind, index } : { kind, index, where }
    this.#write(place, this.#named([], entering), undefined)
  }

  #write(
    { kind, index, where }: Omit<Shard, 'members'>,
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
        members: kind === 'refresh' ? members.map(asMoved) : members,
      },
      ...(observed === undefined || isMissing(observed) ? {} : { observed }),
      added: [...after].filter((reference) => !before.has(reference)),
      removed: [...before].filter((reference) => !after.has(reference)),
    })
  }

  /** References that may leave a shard now: held where they belong, or unwanted for long enough. */
  #leaving(shard: ObservedShard): readonly string[] {
    const scene = this.#scene
    return shard.members.flatMap(({ reference }) => {
      const item = scene.wanted.get(reference)
      if (item === undefined) {
        return this.#isUnwantedFor(scene.pace.removeMs, reference) ? [reference] : []
      }
      const home = this.#home(item)
      if (home === undefined || home === shard) return []
      return isReleased(scene, shard, reference, home) ? [reference] : []
    })
  }

  /** References that nobody wants for a while: they go along when a shard changes for another reason. */
  #unwanted(shard: ObservedShard): readonly string[] {
    const { wanted, pace } = this.#scene
    return shard.members
      .map(({ reference }) => reference)
      .filter((reference) => !wanted.has(reference))
      .filter((reference) => this.#isUnwantedFor(pace.removeAlongMs, reference))
  }

  #isUnwantedFor(ms: number, reference: string): boolean {
    const { memory, now, wake } = this.#scene
    if (!this.#scene.displaced.has(reference) && !this.#isReplaced(reference)) return false
    const at = (memory.unwantedSince.get(reference) ?? now) + ms
    wake(at)
    return now >= at
  }

  /** An old version stays until the wanted ones of its repository are where they are to stay. */
  #isReplaced(reference: string): boolean {
    this.#arriving ??= new Set(
      [...this.#places]
        .filter(([, place]) => place === 'fresh' || place === 'proven')
        .map(([other]) => repositoryOf(other)),
    )
    return !this.#arriving.has(repositoryOf(reference))
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
          homes.find(({ kind }) => kind === 'fresh')
        )
      case 'fresh':
      case 'proven':
        return homes.find(({ kind }) => kind === 'fresh')
      default:
        return undefined
    }
  }

  /** Kept members keep their names; new ones get theirs. */
  #named(kept: readonly Member[], entering: readonly Wanted[]): readonly Member[] {
    const taken = new Set(kept.map(({ container }) => container))
    const members = [...kept]
    for (const { reference, name, digest } of entering) {
      const container = containerName(reference, name, taken)
      taken.add(container)
      members.push({ reference, container, ...(digest === undefined ? {} : { digest }) })
    }
    return sortMembers(members)
  }

  #countEjection(reference: string): void {
    const { pace, now, homes } = this.#scene
    for (const { kind, name } of homes.get(reference) ?? []) {
      if (!isResident(kind) || this.ejections.get(name)?.at === now) continue
      this.ejections.set(name, eject(this.ejections.get(name), pace, now))
    }
  }

  #isRolling(shard: ObservedShard): boolean {
    if (isMissing(shard)) return false
    return !this.#scene.seen.isRolledOut(shard) && !isStuck(this.#scene, shard)
  }

  #isDrifted(shard: ObservedShard): boolean {
    return this.#input.fingerprint(shard) !== shard.fingerprint
  }

  #isPlace(item: Wanted, place: Place): boolean {
    return this.#places.get(item.reference) === place
  }

  #capacity(kind: ShardKind): number {
    return strategyOf(kind, this.#input.strategy).capacity
  }

  #ofKind(kind: ShardKind, where: Where): readonly ObservedShard[] {
    const { shards, architectures } = this.#scene
    return shards.filter(
      (shard) => shard.kind === kind && effectiveWhere(shard.where ?? '', architectures) === where,
    )
  }

  #wantedAt(where: Where): readonly Wanted[] {
    return [...this.#scene.wanted.values()].filter((item) => (item.where ?? '') === where)
  }

  /** Places that anything is at or is to be at. */
  get #wheres(): readonly Where[] {
    const { wanted, shards, architectures } = this.#scene
    const all = new Set<Where>([''])
    for (const { where = '' } of wanted.values()) all.add(where)
    for (const { where = '' } of shards) all.add(effectiveWhere(where, architectures))
    return [...all].sort()
  }

  #freeIndex(kind: ShardKind, where: Where): number {
    const { base, shards, taken } = this.#input
    const used = new Set([...shards.map(({ name }) => name), ...taken])
    let index = 1
    while (used.has(shardName(base, kind, index, where))) index += 1
    return index
  }
}

/** So that pods are made anew when a tag moves once more. */
function asMoved(member: Member): Member {
  return member.digest === undefined ? member : { ...member, moved: member.digest }
}

/** What must be there first, of these what is used most, then by reference. */
export function sorted(items: readonly Wanted[]): Wanted[] {
  return items.toSorted(
    (a, b) =>
      Number(a.bestEffort) - Number(b.bestEffort) ||
      (b.uses ?? 0) - (a.uses ?? 0) ||
      compare(a.reference, b.reference),
  )
}

/** Missing ones have no time and come first: they are to be made now. */
function newestFirst(a: ObservedShard, b: ObservedShard): number {
  if (isMissing(a) !== isMissing(b)) return isMissing(a) ? -1 : 1
  return compare(b.created, a.created) || b.index - a.index
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function repositoryOf(reference: string): string {
  const [named = ''] = reference.split('@')
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1)
  return colon < 0 ? named : named.slice(0, colon)
}
