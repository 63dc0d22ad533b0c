import { changeResidents } from './change-residents.ts'
import { type Compaction, compactions } from './compaction.ts'
import type { ObservedShard } from './daemon-set.ts'
import { type Change, Draft, type DraftInput } from './draft.ts'
import { capacityOf, overEtcd } from './etcd-budget.ts'
import {
  effectiveWhere,
  type Ground,
  isMeant,
  nodeCounts,
  reaches,
  unknownGround,
} from './ground.ts'
import { letIn } from './let-in.ts'
import { type Memory, remember, since } from './memory.ts'
import { sorted } from './order.ts'
import type { Pace } from './pace.ts'
import { isUrgent, paced } from './paced-changes.ts'
import { isMissing, type Place, placeOf, type Scene } from './placement.ts'
import type { PodView } from './pod-view.ts'
import { refreshTags } from './refresh-tags.ts'
import { overRoom } from './room.ts'
import { setApart } from './set-apart.ts'
import { isResident, type ShardKind, type Where } from './shard.ts'
import { spreadOf } from './spread.ts'
import type { StrategyName } from './strategies/strategies.ts'
import { type Survey, survey } from './survey.ts'
import type { Wanted } from './wanted.ts'

export type { Change } from './draft.ts'

export interface PlanInput extends DraftInput {
  /** What the nodes are to hold, by reference. */
  readonly wanted: ReadonlyMap<string, Wanted>
  /** References that are asked for nowhere anew, since something else at the API server changes them; default: none. */
  readonly altered?: ReadonlySet<string>
  readonly pods: Iterable<PodView>
  readonly strategy: StrategyName
  /** Images that a shard may have on so many nodes; default: {@link capacityOf}. */
  readonly capacityOf?: typeof capacityOf
  /** What etcd stores of images that are planned by themselves; default: nothing. */
  readonly besideBytes?: number
  /** Shards that what is held for good is spread over at most, so that nodes pull side by side; default: 1. */
  readonly spread?: number
  /** Default: not known. */
  readonly ground?: Ground
  readonly memory: Memory
  readonly pace: Pace
  /** Milliseconds of a clock that never jumps. */
  readonly now: number
}

export interface Plan {
  readonly changes: readonly Change[]
  /** What each of them makes the API server store, in bytes: to be remembered once it is accepted (`countWritten`). */
  readonly bytes: ReadonlyMap<Change, number>
  readonly memory: Memory
  readonly seen: Survey
  readonly places: ReadonlyMap<string, Place>
  /** References that wait, since nodes may have no more puller pods. */
  readonly waiting: ReadonlySet<string>
  /** References that are left out, since etcd is to store no more. */
  readonly beyond: ReadonlySet<string>
  /** When time alone calls for another round. */
  readonly wakeAt: number
}

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
 * What something else at the API server changes is left out where no shard holds it for good.
 *
 * What a node's pods have no room for at all is left out; what is held and worth less makes way for what is worth more.
 *
 * A shard is changed only when that takes no image from a node; where a pod is not ready and alone holds something, its
 * successor is made beside it first. Of the shards that hold for good, one rolls at a time.
 */
export function plan(input: PlanInput): Plan {
  const { ground = unknownGround, altered = new Set(), strategy, pace, now } = input
  const podsPerNode = ground.cramped.alone ? leastPods : input.podsPerNode
  const held = referencesIn(input.shards)
  const resident = referencesIn(input.shards.filter(({ kind }) => isResident(kind)))
  const askable = new Map(
    [...input.wanted].filter(([reference]) => !altered.has(reference) || resident.has(reference)),
  )
  const nodesAt = nodeCounts(ground, Math.max(0, ...input.shards.map(({ desired }) => desired)))
  const beyond = overEtcd(askable, held, strategy, nodesAt, input.besideBytes)
  const storable = new Map([...askable].filter(([reference]) => !beyond.has(reference)))
  const capacity = (kind: ShardKind, where: Where): number =>
    (input.capacityOf ?? capacityOf)(kind, strategy, nodesAt(where))
  const roomless = overRoom({ wanted: storable, held, podsPerNode, capacity, ground })
  const displaced = beyond.union(roomless)
  const wanted = new Map([...askable].filter(([reference]) => !displaced.has(reference)))
  const shards = input.shards
    .filter(({ deleting }) => !deleting)
    .map((shard) => (isMissing(shard) ? onlyWanted(shard, wanted) : shard))
    .filter((shard) => !isMissing(shard) || shard.members.length > 0)
    .toSorted(byKindAndIndex)
  // Of what is left out too: its status counts the nodes that would have it.
  const whereOf = (reference: string): Where => input.wanted.get(reference)?.where ?? ''
  const homes = homesOf(shards)
  const isThere = ({ name }: ObservedShard, reference: string): boolean =>
    (homes.get(reference) ?? []).some((home) => home.name === name)
  const seen = survey(input.shards, input.pods, {
    isMeant: (node, reference) => {
      const kind = ground.kindOf(node)
      if (kind?.cramped !== true) return isMeant(node, whereOf(reference), ground)
      // What stands in shards that it has no pod of is not for it.
      return (homes.get(reference) ?? []).some((home) => reaches(home, kind, ground))
    },
    kindOf: (node) => ground.kindOf(node),
    isFor: (shard, reference) =>
      effectiveWhere(shard.where ?? '', ground) === whereOf(reference) &&
      (ground.cramped.types.length === 0 || isThere(shard, reference)),
  })
  let wakeAt = Number.POSITIVE_INFINITY
  const wake = (at: number): void => {
    if (at > now) wakeAt = Math.min(wakeAt, at)
  }
  const memory = remember(input.memory, wanted, shards, seen, ground, now)
  const scene: Scene = {
    wanted,
    displaced,
    altered,
    shards,
    seen,
    memory,
    pace,
    now,
    homes,
    ground,
    spread: spreadOf({ shards: input.spread ?? 1, podsPerNode, wanted: wanted.values(), ground }),
    nodesAt,
    capacity,
    wake,
  }

  const places = new Map<string, Place>()
  for (const [reference, item] of wanted) places.set(reference, placeOf(scene, item))
  const proven = [...wanted.keys()].filter((reference) => places.get(reference) === 'proven')
  const provenSince = since(memory.provenSince, proven, now)

  const idle = compactions(scene, places, podsPerNode)
  const names = idle.map(({ name }) => name)
  const idleSince = since(memory.idleSince, names, now)

  const draft = new Draft({ ...input, podsPerNode }, scene, places)
  const promoted = [
    ...promotionsDue(scene, places, provenSince),
    ...compactionsDue(scene, idle, idleSince),
  ].filter(({ reference }) => !altered.has(reference))
  const { wheres } = draft
  for (const where of wheres) setApart(draft, where)
  changeResidents(draft, promoted)
  for (const where of wheres) letIn(draft, where)
  for (const where of wheres) refreshTags(draft, where)
  const { changes, written, bytes } = paced(draft.changes, {
    written: memory.written,
    strategy,
    nodesAt,
    now,
    rolls: (change) => rolls(change, input.fingerprint),
    isUrgent: (change) => isUrgent(change, scene),
    wake,
  })
  return {
    changes,
    bytes,
    memory: { ...memory, provenSince, idleSince, ejections: draft.ejections, written },
    seen,
    places,
    waiting: roomless.union(draft.waiting),
    beyond,
    wakeAt,
  }
}

/** One pod holds for good, one what is new: fewer do not do. */
const leastPods = 2

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

/** Images of shards that have been idle for long: they go to other shards, and leave theirs when those are ready. */
function compactionsDue(
  { pace, now, wake }: Scene,
  idle: readonly Compaction[],
  idleSince: ReadonlyMap<string, number>,
): readonly Wanted[] {
  return idle.flatMap(({ name, items, isInTheWay }) => {
    if (isInTheWay) return items
    const at = (idleSince.get(name) ?? now) + pace.compactMs
    wake(at)
    return now >= at ? items : []
  })
}

/** Whether a change makes pods anew; what tags are is noted without. */
function rolls(
  { action, shard, observed, added, removed }: Change,
  fingerprint: DraftInput['fingerprint'],
): boolean {
  if (action === 'delete') return false
  if (observed === undefined || added.length > 0 || removed.length > 0) return true
  const moved = new Map(observed.members.map((member) => [member.reference, member.moved]))
  return (
    fingerprint(observed) !== observed.fingerprint ||
    shard.members.some((member) => moved.get(member.reference) !== member.moved)
  )
}

/** Of a shard that is gone, only what is wanted needs to come back. */
function onlyWanted(shard: ObservedShard, wanted: ReadonlyMap<string, Wanted>): ObservedShard {
  return { ...shard, members: shard.members.filter(({ reference }) => wanted.has(reference)) }
}

function referencesIn(shards: readonly ObservedShard[]): ReadonlySet<string> {
  return new Set(shards.flatMap(({ members }) => members.map(({ reference }) => reference)))
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

const kindOrder: readonly ShardKind[] = ['holding', 'originals', 'fresh', 'apart', 'refresh']

function byKindAndIndex(a: ObservedShard, b: ObservedShard): number {
  return kindOrder.indexOf(a.kind) - kindOrder.indexOf(b.kind) || a.index - b.index
}
