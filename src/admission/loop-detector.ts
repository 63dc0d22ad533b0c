import { originalsAnnotation } from '../images/originals.ts'
import { workloadKinds } from '../images/templates.ts'
import { controllerOf } from '../kube/owner-references.ts'
import type { OwnerReference, Pod } from '../kube/types.ts'

/** Who makes pods: the controller that they name, with its namespace. */
export interface PodOwner extends Pick<OwnerReference, 'apiVersion' | 'kind' | 'name' | 'uid'> {
  readonly namespace: string
}

/** A pod that was rewritten, and deleted before it came to its own end. */
export interface LostPod {
  readonly uid: string
  readonly owner: PodOwner
  /** Milliseconds since the epoch, by the API server's clock. */
  readonly createdAt: number
  readonly deletedAt: number
}

// A controller that compares pods does so within seconds, one that waits for a pod to become ready within minutes.
const youngMs = 10 * 60_000
const pauseMs = 15 * 60_000
// Three pods in a row, each made after the one before was deleted: no roll-out does that to one owner.
const roundsOfOthers = 3
// The built-in controllers compare no pods; whoever deletes theirs in a row is mostly a person.
const roundsOfBuiltIns = 6
/** A controller that is refused tries again at once, later and later. */
const refusals = 3
/** Owners remembered, some 300 bytes each; beyond it the one that was quiet for longest is forgotten. */
const ownersLimit = 2_000

const builtIn = new Set(
  workloadKinds.map(
    ({ kind, group, version }) => `${group === '' ? '' : `${group}/`}${version} ${kind}`,
  ),
)

interface Sightings {
  rounds: number
  lastPod: string
  deletedAt: number
  refusals: number
  refusedAt: number
}

/** The pod as one that was lost after it was rewritten; undefined: it was not rewritten, is not being deleted, or ended. */
export function lostPodOf({ metadata = {}, status }: Pod): LostPod | undefined {
  const { uid = '', namespace = '', creationTimestamp = '', deletionTimestamp } = metadata
  if (deletionTimestamp === undefined) return undefined
  if (metadata.annotations?.[originalsAnnotation] === undefined) return undefined
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return undefined
  const owner = controllerOf(metadata)
  if (owner === undefined) return undefined
  const { apiVersion, kind, name } = owner
  // The time stamp is when the grace period ends.
  const graceMs = (metadata.deletionGracePeriodSeconds ?? 0) * 1000
  return {
    uid,
    owner: { apiVersion, kind, name, uid: owner.uid, namespace },
    createdAt: Date.parse(creationTimestamp),
    deletedAt: Date.parse(deletionTimestamp) - graceMs,
  }
}

/**
 * Tells which owners do not get along with rewritten pods, from what became of the pods: an operator that compares pods with
 * what it asked for deletes each and makes another, for ever.
 *
 * Only pods that were there count, not those that were merely tried. Bounded in memory; pure but for that.
 */
export class LoopDetector {
  readonly #seen = new Map<string, Sightings>()

  get size(): number {
    return this.#seen.size
  }

  /** True when this pod makes a loop of it; its owner is then forgotten. The same pod may be told again and again. */
  lost({ uid, owner, createdAt, deletedAt }: LostPod): boolean {
    if (!(deletedAt - createdAt <= youngMs)) return false
    const seen = this.#of(owner.uid)
    if (seen.lastPod === uid) return false
    if (deletedAt - seen.deletedAt > pauseMs) seen.rounds = 0
    // Pods that were there together are one round. Time stamps are whole seconds.
    else if (createdAt < seen.deletedAt) return false
    seen.rounds++
    seen.lastPod = uid
    seen.deletedAt = deletedAt
    const needed = builtIn.has(`${owner.apiVersion} ${owner.kind}`)
      ? roundsOfBuiltIns
      : roundsOfOthers
    return seen.rounds >= needed && this.#seen.delete(owner.uid)
  }

  /** Counts pods of the owner that were refused; true when they are enough. `at`: milliseconds since the epoch. */
  refused(owner: string, count: number, at: number): boolean {
    const seen = this.#of(owner)
    if (at - seen.refusedAt > pauseMs) seen.refusals = 0
    seen.refusals += count
    seen.refusedAt = at
    return seen.refusals >= refusals && this.#seen.delete(owner)
  }

  #of(owner: string): Sightings {
    const found = this.#seen.get(owner)
    const seen = found ?? {
      rounds: 0,
      lastPod: '',
      deletedAt: Number.NEGATIVE_INFINITY,
      refusals: 0,
      refusedAt: Number.NEGATIVE_INFINITY,
    }
    // Kept in the order of their last news.
    this.#seen.delete(owner)
    this.#seen.set(owner, seen)
    if (this.#seen.size > ownersLimit) {
      const [oldest = ''] = this.#seen.keys()
      this.#seen.delete(oldest)
    }
    return seen
  }
}
