import type { Pod } from '../../../src/kube/types.ts'

/** Containers that pods have run, by id, and the shard or DaemonSet that each belongs to. */
export function containersOf(pods: readonly Pod[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const { metadata, status } of pods) {
    const labels = metadata?.labels ?? {}
    const shard = labels['images.kip/shard'] ?? labels.test ?? ''
    const statuses = [
      ...(status?.initContainerStatuses ?? []),
      ...(status?.containerStatuses ?? []),
    ]
    for (const { containerID } of statuses) if (containerID) found.set(containerID, shard)
  }
  return found
}
