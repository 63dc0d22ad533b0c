import { quantityValue } from '../config/quantity.ts'
import type { Node } from '../kube/types.ts'

/** What is kept of a node: what decides which pods it runs, and how they may be laid out. */
export interface NodeView {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** Taints that keep pods off (`NoSchedule`, `NoExecute`). */
  readonly taints: readonly Taint[]
  /** Empty until the kubelet first reported. */
  readonly kubelet: string
  /** `containerd://2.2.9`. */
  readonly runtime: string
  readonly os: string
  readonly architecture: string
  /** Bytes of the disk that the kubelet reports; 0: not reported. */
  readonly diskBytes: number
  /** Pods that it takes; 0: not reported. */
  readonly slots: number
  /** It has the startup taint ({@link startupTaint}). */
  readonly gated: boolean
  /** Milliseconds since the epoch. */
  readonly created: number
}

/** Key of the taint with which nodes may be registered, to be released when they hold the images. */
export const startupTaint = 'images.kip/not-ready'

/** Set by the control plane while a kubelet has too little disk, and refuses pods for that. */
const pressureTaint = 'node.kubernetes.io/disk-pressure'

/**
 * Taints that a new node has until the cloud controller, its network or an operator is done with it, by their names or, as
 * cluster-autoscaler and the node readiness controller have it, by who gives them.
 */
const setUpTaint =
  /\/(?:.+-)?(?:not-ready|uninitialized|unregistered|network-unavailable)$|^startup-taint\.cluster-autoscaler\.kubernetes\.io|^readiness\.k8s\.io\//

export interface Taint {
  readonly key: string
  readonly value?: string
  readonly effect: string
}

/** The projection of nodes. */
export function projectNode({ metadata, spec, status }: Node): NodeView {
  const labels = metadata?.labels ?? {}
  const { kubeletVersion = '', containerRuntimeVersion = '' } = status?.nodeInfo ?? {}
  return {
    name: metadata?.name ?? '',
    labels,
    diskBytes: quantityValue(status?.capacity?.['ephemeral-storage'] ?? '') || 0,
    slots: quantityValue(status?.capacity?.pods ?? '') || 0,
    gated: (spec?.taints ?? []).some(({ key }) => key === startupTaint),
    created: Date.parse(metadata?.creationTimestamp ?? ''),
    taints: (spec?.taints ?? [])
      .filter(({ effect }) => effect === 'NoSchedule' || effect === 'NoExecute')
      .map(({ key, value, effect }) => ({
        key,
        effect,
        ...(value === undefined ? {} : { value }),
      })),
    kubelet: kubeletVersion,
    runtime: containerRuntimeVersion,
    os: status?.nodeInfo?.operatingSystem ?? labels['kubernetes.io/os'] ?? '',
    architecture: status?.nodeInfo?.architecture ?? labels['kubernetes.io/arch'] ?? '',
  }
}

/** Whether its kubelet refuses new pods, those of DaemonSets too, since its disk is full. */
export function refusesPods({ taints }: NodeView): boolean {
  return taints.some(({ key }) => key === pressureTaint)
}

/** Whether others still set it up: it keeps pods off for a while, and may yet get labels. */
export function isBeingSetUp({ taints }: NodeView): boolean {
  return taints.some(({ key }) => key !== startupTaint && setUpTaint.test(key))
}
