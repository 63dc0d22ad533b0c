import { containerName } from './container-names.ts'
import type { ObservedShard } from './daemon-set.ts'
import { eject, type Memory, remember, since } from './memory.ts'
import type { Pace } from './pace.ts'
import {
  isChangeable,
  isMissing,
  isReleased,
  isStuck,
  type Place,
  placeOf,
  residentKind,
  type Scene,
} from './placement.ts'
import type { PodView } from './pod-view.ts'
import {
  isResident,
  type Member,
  type Shard,
  type ShardKind,
  shardName,
  sortMembers,
} from './shard.ts'
import { type StrategyName, strategyOf } from './strategies/strategies.ts'
import { type Survey, survey } from './survey.ts'
import type { Wanted } from './wanted.ts'

export interface PlanInput {
  /** What the nodes are to hold, by reference. */
  readonly wanted: ReadonlyMap<string, Wanted>
  /** The puller's DaemonSets, and those that vanished although kip did not delete them (with an empty uid). */
  readonly shards: readonly ObservedShard[]
  /** Names of DaemonSets that are somebody else's. */
  readonly taken: ReadonlySet<string>
  readonly pods: Iterable<PodView>
  readonly memory: Memory
  /** The puller's DaemonSet name. */
  readonly base: string
  readonly strategy: StrategyName
  /** The fingerprint that a shard's DaemonSet would get under the present settings. */
  readonly fingerprint: (shard: ObservedShard) => string
  readonly pace: Pace
  /** Milliseconds of a clock that never jumps. */
  readonly now: number
}

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

export interface Plan {
  readonly changes: readonly Change[]
  readonly memory: Memory
  readonly seen: Survey
  readonly places: ReadonlyMap<string, Place>
  /** When time alone calls for another round. */
  readonly wakeAt: number
}

/** Shards of images on their way: two, so that what comes while one is pulling need not wait for it. */
const freshShards = 2

/**
 * Images that fail, at most: one that cannot be pulled has no container, so this bounds the size of a pod object (about
 * 1.2 KB each with its status), not memory. What exceeds it stays in the fresh shards.
 */
const apartCapacity = 200

/**
 * Decides what to do to the DaemonSets now, from what is wanted and what is.
 *
 * One round makes a step, not the whole way; applying its changes and looking again leads to where everything is in
 * place and nothing more is to do. Each change can be lost, or be made twice, without harm: what is placed is read from
 * the DaemonSets alone, and the memory is only patience.
 *
 * The way of an image: into a fresh shard, beside others; when every node has started it, into a holding shard too; when
 * that is ready with it on every node that has it, out of the fresh one. When it fails anywhere for a while, into the
 * shard of those set apart (and out of where it was when the nodes that had it have it there); when it is well again,
 * into a holding shard as before.
 *
 * A shard is changed only when that takes no image from a node; where a pod is not ready and alone holds something, its
 * successor is made beside it first. Of the shards that hold for good, one rolls at a time.
 */
export function plan(input: PlanInput): Plan {
  const { wanted, pace, now } = input
  const shards = input.shards
    .filter(({ deleting }) => !deleting)
    .map((shard) => (isMissing(shard) ? onlyWanted(shard, wanted) : shard))
    .filter((shard) => !isMissing(shard) || shard.members.length > 0)
    .toSorted(byKindAndIndex)
  const seen = survey(input.shards, input.pods)
  let wakeAt = Number.POSITIVE_INFINITY
  const wake = (at: number): void => {
    if (at > now) wakeAt = Math.min(wakeAt, at)
  }
  const memory = remember(input.memory, wanted, shards, seen, now)
  const scene: Scene = { wanted, shards, seen, memory, pace, now, homes: homesOf(shards), wake }

  const places = new Map<string, Place>()
  for (const [reference, item] of wanted) places.set(reference, placeOf(scene, item))
  const proven = [...wanted.keys()].filter((reference) => places.get(reference) === 'proven')
  const provenSince = since(memory.provenSince, proven, now)

  const draft = new Draft(input, scene, places)
  const promoted = promotionsDue(scene, places, provenSince)
  draft.setApart()
  draft.changeResidents(promoted)
  draft.letIn()
  return {
    changes: draft.changes,
    memory: { ...memory, provenSince, ejections: draft.ejections },
    seen,
    places,
    wakeAt,
  }
}

/** Images that may go where they are to stay: together, when nothing else is on its way or the first waited long. */
function promotionsDue(
  scene: Scene,
  places: ReadonlyMap<string, Place>,
  provenSince: ReadonlyMap<string, number>,
): readonly Wanted[] {
  if (provenSince.size === 0) return []
  const { pace, now, memory } = scene
  // One that is failing is not on its way.
  const busy = [...places].some(
    ([reference, place]) => place === 'fresh' && !memory.troubleSince.has(reference),
  )
  const first = Math.min(...provenSince.values())
  const at = first + (busy ? pace.promoteLatestMs : pace.promoteMs)
  scene.wake(at)
  if (now < at) return []
  return sorted([...provenSince.keys()].flatMap((key) => scene.wanted.get(key) ?? []))
}

/** The changes of one round, as they come together. */
class Draft {
  readonly changes: Change[] = []
  readonly ejections: Map<string, { count: number; at: number }>
  readonly #input: PlanInput
  readonly #scene: Scene
  readonly #places: ReadonlyMap<string, Place>
  /** Repositories with images on their way, once asked for. */
  #arriving: ReadonlySet<string> | undefined

  constructor(input: PlanInput, scene: Scene, places: ReadonlyMap<string, Place>) {
    this.#input = input
    this.#scene = scene
    this.#places = places
    this.ejections = new Map(scene.memory.ejections)
  }

  /** Images that fail: all in one shard, and in its successor while it cannot be changed in place. */
  setApart(): void {
    const scene = this.#scene
    // The newest counts; one before it only waits until all that it holds is held elsewhere.
    const shards = this.#ofKind('apart').toSorted(newestFirst)
    const [primary, ...older] = shards
    for (const shard of older) this.#deleteWhenEmpty(shard)
    const all = sorted([...scene.wanted.values()].filter((item) => this.#isPlace(item, 'apart')))
    const goal = all.slice(0, apartCapacity)
    const members = new Set(primary?.members.map(({ reference }) => reference))
    const missing = goal.filter(({ reference }) => !members.has(reference))
    for (const { reference } of missing) this.#countEjection(reference)
    if (primary === undefined) {
      if (goal.length > 0) this.#create('apart', goal)
      return
    }
    // With a predecessor still there, no third one: the change is made in place, at the cost of a moment.
    const forced = older.length > 0 && missing.length > 0 && scene.seen.isRolledOut(primary)
    if (forced || isChangeable(scene, primary)) {
      this.#change(primary, missing)
    } else if (older.length === 0 && (missing.length > 0 || this.#isDrifted(primary))) {
      this.#create('apart', goal)
    } else this.#deleteWhenEmpty(primary)
  }

  /** What holds for good: one shard a round, when none is rolling. */
  changeResidents(promoted: readonly Wanted[]): void {
    const shards = this.#scene.shards.filter(({ kind }) => isResident(kind))
    let rolling = shards.filter((shard) => this.#isRolling(shard))
    const additions = this.#allocate(promoted, shards)
    for (const shard of shards) {
      const ejecting = this.#leaving(shard).some(
        (reference) => this.#places.get(reference) === 'apart',
      )
      const free = rolling.every((other) => other === shard) && isChangeable(this.#scene, shard)
      if (!free && !ejecting && !isMissing(shard)) this.#deleteWhenEmpty(shard)
      else if (this.#change(shard, free ? (additions.get(shard.name) ?? []) : [])) {
        rolling = [shard]
      }
    }
    if (rolling.length > 0) return
    for (const kind of ['holding', 'originals'] as const) {
      const rest = additions.get(kind) ?? []
      if (rest.length === 0) continue
      this.#create(kind, rest.slice(0, this.#capacity(kind)))
      return
    }
  }

  /** Images that no shard has yet, and the leaving of those that have gone on. */
  letIn(): void {
    const scene = this.#scene
    const { memory, pace, now } = scene
    let waiting = sorted(
      [...scene.wanted.values()].filter(
        (item) => this.#isPlace(item, 'fresh') && memory.newSince.has(item.reference),
      ),
    )
    const first = Math.min(...waiting.map(({ reference }) => memory.newSince.get(reference) ?? now))
    scene.wake(first + pace.gatherMs)
    if (now < first + pace.gatherMs) waiting = []
    const capacity = this.#capacity('fresh')
    const shards = this.#ofKind('fresh')
    for (const shard of shards) {
      if (!isChangeable(scene, shard)) {
        this.#deleteWhenEmpty(shard)
        continue
      }
      const gone = new Set([...this.#leaving(shard), ...this.#unwanted(shard)])
      const room = capacity - shard.members.length + gone.size
      const entering = waiting.slice(0, Math.max(0, room))
      waiting = waiting.slice(entering.length)
      // What has gone on may stay beside the others till they go too: their pulls are not begun anew for it.
      if (entering.length > 0 || this.#isDrifted(shard)) this.#change(shard, entering)
      else this.#deleteWhenEmpty(shard)
    }
    if (waiting.length > 0 && shards.length < freshShards) {
      this.#create('fresh', waiting.slice(0, capacity))
    }
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
      const shard = shards.find((one) => one.kind === kind && (room.get(one.name) ?? 0) > 0)
      const key = shard?.name ?? kind
      if (shard !== undefined) room.set(key, (room.get(key) ?? 0) - 1)
      additions.set(key, [...(additions.get(key) ?? []), item])
    }
    return additions
  }

  /** Changes a shard in place, if there is reason to; what is unwanted leaves along with what changes anyway. */
  #change(shard: ObservedShard, entering: readonly Wanted[]): boolean {
    const leaving = new Set(this.#leaving(shard))
    const drifted = this.#isDrifted(shard)
    if (entering.length === 0 && leaving.size === 0 && !drifted) return false
    const gone = new Set([...leaving, ...this.#unwanted(shard)])
    const kept = shard.members.filter(({ reference }) => !gone.has(reference))
    const members = this.#named(kept, entering)
    this.#write(shard.kind, shard.index, members, shard)
    return true
  }

  #deleteWhenEmpty(shard: ObservedShard): void {
    const leaving = new Set(this.#leaving(shard))
    if (shard.members.every(({ reference }) => leaving.has(reference))) {
      this.#write(shard.kind, shard.index, [], shard)
    }
  }

  #create(kind: ShardKind, entering: readonly Wanted[]): void {
    const index = this.#freeIndex(kind)
    this.#write(kind, index, this.#named([], entering), undefined)
  }

  #write(
    kind: ShardKind,
    index: number,
    members: readonly Member[],
    observed: ObservedShard | undefined,
  ): void {
    const name = shardName(this.#input.base, kind, index)
    const before = new Set(observed?.members.map(({ reference }) => reference))
    const after = new Set(members.map(({ reference }) => reference))
    const empty = members.length === 0
    if (empty && (observed === undefined || isMissing(observed))) return
    this.changes.push({
      action: empty ? 'delete' : 'apply',
      name,
      shard: { kind, index, members },
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
    if (!this.#isReplaced(reference)) return false
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
    const homes = (this.#scene.homes.get(item.reference) ?? []).filter((home) => !isMissing(home))
    switch (this.#places.get(item.reference)) {
      case 'resident':
        return homes.find(({ kind }) => kind === residentKind(item))
      case 'apart':
        return homes.filter(({ kind }) => kind === 'apart').toSorted(newestFirst)[0]
      default:
        return undefined
    }
  }

  /** Kept members keep their names; new ones get theirs. */
  #named(kept: readonly Member[], entering: readonly Wanted[]): readonly Member[] {
    const taken = new Set(kept.map(({ container }) => container))
    const members = [...kept]
    for (const { reference, name } of entering) {
      const container = containerName(reference, name, taken)
      taken.add(container)
      members.push({ reference, container })
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

  #ofKind(kind: ShardKind): readonly ObservedShard[] {
    return this.#scene.shards.filter((shard) => shard.kind === kind)
  }

  #freeIndex(kind: ShardKind): number {
    const { base, shards, taken } = this.#input
    const used = new Set([...shards.map(({ name }) => name), ...taken])
    let index = 1
    while (used.has(shardName(base, kind, index))) index += 1
    return index
  }
}

/** Of a shard that is gone, only what is wanted needs to come back. */
function onlyWanted(shard: ObservedShard, wanted: ReadonlyMap<string, Wanted>): ObservedShard {
  return { ...shard, members: shard.members.filter(({ reference }) => wanted.has(reference)) }
}

function homesOf(shards: readonly ObservedShard[]): ReadonlyMap<string, readonly ObservedShard[]> {
  const homes = new Map<string, ObservedShard[]>()
  for (const shard of shards) {
    for (const { reference } of shard.members) {
      const known = homes.get(reference)
      if (known === undefined) homes.set(reference, [shard])
      else known.push(shard)
    }
  }
  return homes
}

/** What must be there first, then by reference. */
function sorted(items: readonly Wanted[]): Wanted[] {
  return items.toSorted(
    (a, b) => Number(a.bestEffort) - Number(b.bestEffort) || compare(a.reference, b.reference),
  )
}

const kindOrder: readonly ShardKind[] = ['holding', 'originals', 'fresh', 'apart']

function byKindAndIndex(a: ObservedShard, b: ObservedShard): number {
  return kindOrder.indexOf(a.kind) - kindOrder.indexOf(b.kind) || a.index - b.index
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
