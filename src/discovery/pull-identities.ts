import { type FairShare, fairShare } from '../state/fair-share.ts'
import type { PodUse } from './pod.ts'
import type { Used } from './reader.ts'

/** What pods of one namespace pull an image with. */
export interface PullIdentity {
  readonly namespace: string
  /** Names of the pods' pull secrets; those of their service accounts are among them, since the API server writes them in. */
  readonly secrets: readonly string[]
}

/** Different sets of secrets that are told of one image: more than 64 teams with a login each are served in part. */
const mostIdentities = 64

/**
 * Finds with which pull secrets the pods come that use certain images.
 *
 * @param references normalised; the namespaces whose users of each count
 * @param pods all pods, by `namespace/name`
 * @param counts whether a pod counts, which its workload may be opted out of
 */
export function findPullIdentities(
  references: ReadonlyMap<string, ReadonlySet<string>>,
  pods: Iterable<readonly [string, PodUse]>,
  counts: (pod: string, used: Used) => boolean,
): ReadonlyMap<string, FairShare<PullIdentity>> {
  const found = new Map<string, Map<string, PullIdentity>>()
  for (const [key, { shape }] of pods) {
    if (shape.used.ignored) continue
    for (const reference of shape.used.references) {
      const namespace = key.slice(0, key.indexOf('/'))
      if (references.get(reference)?.has(namespace) !== true || !counts(key, shape.used)) continue
      const secrets = shape.pullSecrets
      const known = found.get(reference) ?? new Map<string, PullIdentity>()
      found.set(reference, known)
      const id = `${namespace}/${secrets.join(',')}`
      known.set(id, { namespace, secrets })
    }
  }
  return new Map([...found].map(([reference, known]) => [reference, shareOf(known)]))
}

/** By namespace, in an order that does not hang on that of the pods. */
function shareOf(identities: ReadonlyMap<string, PullIdentity>): FairShare<PullIdentity> {
  const sorted = [...identities].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one)
  const share = fairShare(sorted, mostIdentities)
  const taken = new Set(share.taken)
  return { ...share, taken: sorted.filter((one) => taken.has(one)) }
}
