import type { Pod, PodSpec } from '../../kube/types.ts'
import type { Member } from '../shard.ts'
import type { Verdict } from '../verdict.ts'

export interface ResourceSettings {
  readonly cpuRequest: string
  readonly cpuLimit: string
  readonly memoryRequest: string
  readonly memoryLimit: string
}

/** What a strategy makes a pod of. */
export interface Layout {
  /** In the order of their container names. */
  readonly members: readonly Member[]
  /** Image with the sleep program. */
  readonly sleepImage: string
  /** `CACHING_*`; an empty string is unset. */
  readonly resources: ResourceSettings
  /** Of the images, not of kip's own. Default `IfNotPresent`. */
  readonly pullPolicy?: 'IfNotPresent' | 'Always'
}

/** The parts of a pod that a strategy decides; all else is the same for every shard. */
export type PodParts = Required<Pick<PodSpec, 'initContainers' | 'containers' | 'volumes'>>

/** What one pod says of its images. */
export interface PodReport {
  /** References in the pod's own order. */
  readonly images: readonly string[]
  /** Names of the containers that pull them, at the same places. */
  readonly containers: readonly string[]
  /** Of the image at the same place. */
  readonly verdicts: readonly Verdict[]
  /** Of the images that failed, by place. */
  readonly failures: ReadonlyMap<number, Failure>
  /** Why the pod cannot even begin: kip's own containers fail, whatever the images. */
  readonly blocked?: Failure
}

/** A kubelet's reason, and its own words, which may hold bytes of a registry's answer: never put into a status. */
export interface Failure {
  readonly reason: string
  readonly message: string
}

/**
 * A way to have a node pull images and keep them: how the pod of a shard looks, and how to read it back.
 *
 * `members` and `report` must understand every pod that `layout` of this or an earlier kip made.
 */
export interface Strategy {
  readonly name: string
  /** Most images that one shard may hold. */
  readonly capacity: number
  /** Bytes that an image takes of a pod as etcd has it: its part of spec, status and managed fields, and its name of 60. */
  readonly imageBytes: number
  /** How often the kubelet writes a pod's whole status for one more image, while the pod starts. */
  readonly imageWrites: number
  layout(layout: Layout): PodParts
  /** The images that a pod of this strategy holds, read from its spec. */
  members(spec: PodSpec): readonly Member[]
  /** What became of them on the pod's node. */
  report(pod: Pod): PodReport
}
