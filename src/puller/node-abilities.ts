import type { NodeView } from './node-view.ts'

/**
 * Whether a node can mount an image: kubelet 1.35 has ImageVolume on (1.33 and 1.34 know it, and have it off), containerd
 * can from 2.1 on (older ones pull, and fail at the mount), CRI-O from 1.31 on. A node that has not reported yet is not
 * judged.
 */
export function canMountImages({ kubelet, runtime }: NodeView): boolean {
  if (kubelet === '' || runtime === '') return true
  const [name = '', version = ''] = runtime.split('://')
  return isAtLeast(kubelet, [1, 35]) && isAtLeast(version, least[name] ?? [Infinity, 0])
}

const least: Readonly<Record<string, readonly [number, number]>> = {
  containerd: [2, 1],
  'cri-o': [1, 31],
}

/**
 * Whether a node lets a pod use an image that another pod pulled with credentials only after it showed some of its own:
 * KubeletEnsureSecretPulledImages (KEP-2535) is on from kubelet 1.35 on.
 */
export function checksCredentials({ kubelet }: NodeView): boolean {
  return kubelet === '' || isAtLeast(kubelet, [1, 35])
}

function isAtLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [, first = '', second = ''] = /^v?(\d+)\.(\d+)/.exec(version) ?? []
  if (first === '') return false
  return Number(first) > major || (Number(first) === major && Number(second) >= minor)
}
