import { applyObject, createObject, getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { isAlreadyExists, isConflict } from '../kube/errors.ts'
import { resourceOf } from '../kube/resource.ts'
import type { DaemonSet } from '../kube/types.ts'
import { fingerprintAnnotation, type ObservedShard } from './daemon-set.ts'
import { objectNames } from './shard.ts'

/** Who owns the fields of the DaemonSets. */
export const fieldManager = 'kip-puller'

/** A shard to be brought about. */
export interface Writing {
  /** Its name, and that of its first DaemonSet. */
  readonly name: string
  /** What it is computed from; undefined: there is no such shard. */
  readonly observed: ObservedShard | undefined
  /** Whether a DaemonSet of that name is there, whoever's, or on its way out. */
  readonly isTaken: (object: string) => boolean
  /** @param revision 0: one that is changed in place */
  readonly build: (object: string, revision: number) => DaemonSet
}

/** How the DaemonSets of shards are changed. */
export interface ShardWriter {
  /**
   * Brings a shard about. Conditional on what it was computed from; a lost race is a conflict (409).
   *
   * @returns undefined when it cannot be made now, since what is on its way out has its names
   */
  write(writing: Writing, signal: AbortSignal): Promise<DaemonSet | undefined>
}

/**
 * Changes in place, by server-side apply: the DaemonSet controller rolls. Not for one that was made as a successor: what
 * was created has its fields from another kind of write, and would keep those that an apply no longer names.
 */
export function applyingWriter(client: KubeClient, namespace: string): ShardWriter {
  const resource = resourceOf('daemonsets', namespace)
  return {
    async write({ name, observed, isTaken, build }, signal) {
      // One that is gone is made when its namesake is; the namesake's going is an event.
      if (observed === undefined && isTaken(name)) return undefined
      const object = build(observed?.object ?? name, 0)
      const apply = (wanted: DaemonSet): Promise<DaemonSet> =>
        applyObject<DaemonSet>(client, resource, wanted, { fieldManager, force: true, signal })
      if (observed === undefined) return await apply(object)
      try {
        return await apply(at(object, observed))
      } catch (error) {
        if (!isConflict(error)) throw error
        // Its controller counts its pods in it, many times a second while there are some to make.
        const present = await getObject<DaemonSet>(client, resource, observed.object, { signal })
        if (!isAsObserved(present, observed)) throw error
        const { resourceVersion = '' } = present?.metadata ?? {}
        return await apply(at(object, { ...observed, resourceVersion }))
      }
    },
  }
}

/**
 * Makes a successor under another name, with no verb but `create`. The predecessor is deleted when the successor is ready
 * on every node (`superseded`), so a node holds what it held, as in a rolling update with surge.
 *
 * @param onTaken told when a name turns out to be taken
 */
export function succeedingWriter(
  client: KubeClient,
  namespace: string,
  onTaken: (object: string) => void,
): ShardWriter {
  return {
    async write({ name, observed, isTaken, build }, signal) {
      const object = objectNames(name).find((one) => !isTaken(one))
      if (object === undefined) return undefined
      const wanted = build(object, (observed?.revision ?? 0) + 1)
      try {
        return await createObject<DaemonSet>(client, resourceOf('daemonsets', namespace), wanted, {
          fieldManager,
          signal,
        })
      } catch (error) {
        if (isAlreadyExists(error)) onTaken(object)
        throw error
      }
    },
  }
}

/** The object, to be applied only to what the change was computed from. */
function at(object: DaemonSet, { uid, resourceVersion }: ObservedShard): DaemonSet {
  return { ...object, metadata: { ...object.metadata, uid, resourceVersion } }
}

/** Whether nothing of it changed but its status. */
function isAsObserved(
  present: DaemonSet | undefined,
  { uid, generation, fingerprint }: ObservedShard,
): boolean {
  const { annotations = {}, ...metadata } = present?.metadata ?? {}
  return (
    metadata.uid === uid &&
    metadata.generation === generation &&
    metadata.deletionTimestamp === undefined &&
    (annotations[fingerprintAnnotation] ?? '') === fingerprint
  )
}
