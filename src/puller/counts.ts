import type { ObservedShard } from './daemon-set.ts'
import type { PodView } from './pod-view.ts'
import { labelValue } from './shard.ts'
import type { Verdict } from './verdict.ts'

/**
 * What pods would say, from the counts of their DaemonSet alone, for who may not read pods: a ready pod has started all
 * its images, of another nothing is known.
 *
 * Nodes have numbers instead of names, those that are ready first: how many hold an image is then right for each shard,
 * and for several shards together at least as many as the fullest one says.
 */
export function podsFromCounts(shard: ObservedShard): readonly PodView[] {
  const { desired, ready, updated, observedGeneration, generation } = shard
  if (shard.deleting || shard.uid === '' || observedGeneration < generation) return []
  const images = shard.members.map(({ reference }) => reference)
  const containers = shard.members.map(({ container }) => container)
  // The controller counts one pod a node, the same one for `ready` and `updated`.
  const sure = Math.max(0, updated + ready - desired)
  return Array.from({ length: desired }, (_, index): PodView => {
    const isNew = index < updated
    const isReady = isNew ? index < sure : index < updated + ready - sure
    const verdict: Verdict = isReady ? 'started' : 'pending'
    return {
      name: `${shard.object}-${index}`,
      shard: labelValue(shard.object),
      node: `#${index}`,
      template: isNew ? shard.template : '',
      ready: isReady,
      lost: false,
      // What the old template held is not told.
      images: isNew ? images : [],
      containers: isNew ? containers : [],
      verdicts: isNew ? images.map(() => verdict) : [],
      failures: new Map(),
    }
  })
}
