import type { ObservedShard } from './daemon-set.ts'
import { effectiveWhere, type Ground, isWithin, overlaps, reaches } from './ground.ts'
import type { Memory } from './memory.ts'
import { nextEjection } from './memory.ts'
import type { Pace } from './pace.ts'
import type { PodView } from './pod-view.ts'
import { isResident, type ResidentKind, type Shard, type ShardKind, type Where } from './shard.ts'
import type { Survey } from './survey.ts'
import { holds, type Verdict } from './verdict.ts'
import type { Wanted } from './wanted.ts'

/** All that placing looks at, once per round. */
export interface Scene {
  readonly wanted: ReadonlyMap<string, Wanted>
  /** References that would be wanted, had something else not more need of their room. */
  readonly displaced: ReadonlySet<string>
  /** References that are asked for nowhere anew, since something else at the API server changes them. */
  readonly altered: ReadonlySet<string>
  /** Shards that are there or are to be made again; none that is being deleted. */
  readonly shards: readonly ObservedShard[]
  readonly seen: Survey
  readonly memory: Memory
  readonly pace: Pace
  readonly now: number
  /** Shards by the references that they hold. */
  readonly homes: ReadonlyMap<string, readonly ObservedShard[]>
  readonly ground: Ground
  /** Shards that the images of one kind and place that are held for good are spread over at most. */
  readonly spread: number
  /** How many nodes a place means. */
  readonly nodesAt: (where: Where) => number
  /** Images that a shard may have there. */
  readonly capacity: (kind: ShardKind, where: Where) => number
  /** Asks for another round at a time. */
  readonly wake: (at: number) => void
}

/**
 * Where a wanted image belongs.
 *
 * - `resident`: it is where it is to stay. `proven`: every node has started it, and it may go there.
 * - `fresh`: it is to prove itself. `apart`: some node fails with it.
 * - `stay`: nothing is known that would move it.
 */
export type Place = 'resident' | 'proven' | 'fresh' | 'apart' | 'stay'

/** In which kind of shard an image is held for good. */
export function residentKind(wanted: Wanted): ResidentKind {
  return wanted.bestEffort ? 'originals' : 'holding'
}

/** Whether a shard is for the nodes that can run an image, and for no others. */
export function isFor(scene: Scene, shard: Shard, { where = '' }: Wanted): boolean {
  return effectiveWhere(shard.where ?? '', scene.ground) === where
}

/** Whether a shard may have an image on nodes where it is to be. */
function isTowards(ground: Ground, shard: Shard, { where = '' }: Wanted): boolean {
  return overlaps(shard.where ?? '', where, ground)
}

/** Whether a shard is for all nodes where an image is to be. */
export function isThroughout(ground: Ground, shard: Shard, { where = '' }: Wanted): boolean {
  return isWithin(where, shard.where ?? '', ground)
}

/** Whether a shard is for more nodes than an image is to be on: on those it may never run. */
export function isBeyond({ wanted, ground }: Scene, shard: Shard, reference: string): boolean {
  const item = wanted.get(reference)
  return item !== undefined && !isWithin(shard.where ?? '', item.where ?? '', ground)
}

/** Decides where one image belongs by what the nodes say of it. */
export function placeOf(scene: Scene, wanted: Wanted): Place {
  const { reference } = wanted
  const homes = scene.homes.get(reference) ?? []
  const bad = isBad(scene, reference)
  const kind = residentKind(wanted)
  const resident = homes.find((shard) => shard.kind === kind && isFor(scene, shard, wanted))
  const apart = homes.some((shard) => shard.kind === 'apart')
  if (resident !== undefined) {
    if (!bad || scene.seen.nodes === 0) return 'resident'
    // Where nodes may have no more pods, it stands with what is on its way.
    const beside = apart || homes.some((shard) => shard.kind === 'fresh')
    return beside || mayEject(scene, resident) ? 'apart' : 'resident'
  }
  if (!bad && isProven(scene, wanted)) return 'proven'
  // A name that only changed its kind is where it was, until it is known to be well.
  const other = homes.find(
    (shard) => isResident(shard.kind) && isTowards(scene.ground, shard, wanted),
  )
  if (other !== undefined) {
    if (!bad) return 'stay'
    return apart || mayEject(scene, other) ? 'apart' : 'stay'
  }
  return apart || bad ? 'apart' : 'fresh'
}

/** Whether an image has failed somewhere for long enough to be taken for bad. */
function isBad(scene: Scene, reference: string): boolean {
  const since = scene.memory.troubleSince.get(reference)
  if (since === undefined) return false
  scene.wake(since + scene.pace.judgeMs)
  return scene.now >= since + scene.pace.judgeMs
}

function mayEject(scene: Scene, shard: ObservedShard): boolean {
  const at = nextEjection(scene.memory.ejections.get(shard.name), scene.pace)
  scene.wake(at)
  return scene.now >= at
}

/**
 * Whether every node that answers has started an image. In a shard that stands still for long, nodes that have nothing
 * to say of the image are not waited for. What is held for good somewhere already is known to be well.
 */
function isProven(scene: Scene, wanted: Wanted): boolean {
  const { reference } = wanted
  return (scene.homes.get(reference) ?? []).some(
    (shard) =>
      shard.first === undefined &&
      (isResident(shard.kind) || isThroughout(scene.ground, shard, wanted)) &&
      isPulled(scene, shard, reference),
  )
}

/** The same, of the pods of one shard. */
export function isPulled(scene: Scene, shard: ObservedShard, reference: string): boolean {
  const { seen } = scene
  const stuck = isStuck(scene, shard)
  if (isMissing(shard) || shard.desired === 0) return false
  if (!stuck && !seen.isRolledOut(shard)) return false
  const verdicts = seen
    .podsOf(shard)
    .filter(({ node, template }) => template === shard.template && !seen.lost.has(node))
    .filter(({ node }) => seen.isMeant(node, reference))
    .map((pod) => seen.verdict(pod, reference) ?? 'pending')
  return (
    verdicts.includes('started') &&
    verdicts.every((verdict) => verdict === 'started' || (stuck && verdict === 'pending'))
  )
}

/**
 * Whether a shard may let go of an image that another shard is to hold: make before break. On every node where the
 * shard's pod has the image, the other's pod has it too; and where that pod is to hold it for good, it is ready. A node that
 * takes few pods, and so none of the other's, is not waited for.
 */
export function isReleased(
  scene: Scene,
  shard: ObservedShard,
  reference: string,
  home: ObservedShard,
): boolean {
  const { seen, ground } = scene
  if (isMissing(home)) return false
  const isTight = (node: string): boolean => {
    const kind = ground.kindOf(node)
    return kind?.cramped === true && !reaches(home, kind, ground)
  }
  const holders = seen
    .podsOf(shard)
    .filter((pod) => !seen.lost.has(pod.node) && seen.isMeant(pod.node, reference))
    .filter((pod) => !isTight(pod.node))
    .filter((pod) => holds(seen.verdict(pod, reference) ?? 'pending'))
  if (holders.length === 0) return true
  if (isStuck(scene, home)) return true
  if (!seen.isRolledOut(home)) return false
  const covered = new Set(
    seen
      .podsOf(home)
      .filter((pod) => holds(seen.verdict(pod, reference) ?? 'pending'))
      .filter((pod) => pod.ready || !isResident(home.kind))
      .map(({ node }) => node),
  )
  return holders.every(({ node }) => covered.has(node))
}

/**
 * Whether a shard may be changed in place without taking from a node what only it holds there.
 *
 * A pod that is ready is replaced behind its back. One that is not counts as unavailable and is ended at once, which is
 * harmless when nothing is being pulled and each wanted image that it has is held by a neighbour.
 */
export function isChangeable(
  scene: Scene,
  shard: ObservedShard,
  isKept: (verdict: Verdict) => boolean = holds,
): boolean {
  const { seen, wanted } = scene
  if (isMissing(shard) || isStuck(scene, shard)) return true
  const pods = seen.podsOf(shard)
  // A template whose own containers cannot run rolls out nowhere and is to be mended; the old pods stay meanwhile.
  const blocked = pods.some((pod) => pod.blocked !== undefined && pod.template === shard.template)
  if (!blocked && !seen.isRolledOut(shard)) return false
  return pods.every((pod) => {
    if (pod.ready || seen.lost.has(pod.node)) return true
    if (isBusy(shard, pod)) return false
    return pod.images.every(
      (reference, place) =>
        !isKept(pod.verdicts[place] ?? 'pending') ||
        !wanted.has(reference) ||
        !seen.isMeant(pod.node, reference) ||
        seen.isHeldBeside(pod, reference),
    )
  })
}

/**
 * The same where there is no room for a successor beside it. No container, or a dead one, keeps what cannot be started: it is
 * there by chance, and is no reason to keep all others from the nodes.
 */
export function isChangeableInNeed(scene: Scene, shard: ObservedShard): boolean {
  return isChangeable(scene, shard, (verdict) => verdict === 'started')
}

/** Whether a pod gets on by itself; a chain of init containers does not once one of them is in trouble. */
function isBusy(shard: ObservedShard, pod: PodView): boolean {
  if (pod.blocked !== undefined) return false
  if (isResident(shard.kind) && pod.verdicts.some((v) => v === 'failed' || v === 'unstartable')) {
    return false
  }
  return pod.verdicts.includes('pending')
}

/**
 * Whether a shard that should get on has got nowhere for long. One whose pods merely have images that fail gets on no
 * more, and is not stuck.
 */
export function isStuck(scene: Scene, shard: ObservedShard): boolean {
  const { seen, memory, pace, now } = scene
  const progress = memory.progress.get(shard.name)
  if (progress === undefined || isMissing(shard)) return false
  const isDue =
    !seen.isRolledOut(shard) ||
    seen.podsOf(shard).some((pod) => !pod.ready && !seen.lost.has(pod.node) && isBusy(shard, pod))
  if (!isDue) return false
  scene.wake(progress.since + pace.stuckMs)
  return now >= progress.since + pace.stuckMs
}

/** A shard that somebody deleted under kip's hands: it is known, and is to be made again. */
export function isMissing(shard: ObservedShard): boolean {
  return shard.uid === ''
}
