import {
  describeImage,
  parseReference,
  type RegistryClient,
  type ResolvedImage,
  resolveDigest,
} from '@containers/image-copy'
import type { Log } from '../kube/log.ts'
import type { ImageState } from '../state/cached-image.ts'
import { type Outcome, outcomeOf } from './outcome.ts'

/** A look is one HEAD and, for what is new, a few small manifests; a registry that takes longer is away. */
const lookTimeoutMs = 60_000

/** Asks what an image is at its source now. Rejects only when the signal aborts. */
export type Look = (image: ImageState, signal: AbortSignal) => Promise<Outcome>

/** Looks at registries, without credentials of users. */
export function lookAt(registry: RegistryClient, log: Log): Look {
  return async (image, signal) => {
    const reference = parseReference(image.reference)
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(lookTimeoutMs)])
    let found: ResolvedImage | undefined
    try {
      found = await resolveDigest(registry, reference, { signal: bounded })
      const { digest, mediaType } = found
      const { source } = image
      if (source?.platforms !== undefined && source.digest === digest) {
        return { state: 'Available', digest, mediaType }
      }
      // By digest: the tag may move between the two questions.
      const pinned = { registry: reference.registry, repository: reference.repository, digest }
      const { platforms, sizeBytes } = await describeImage(registry, pinned, { signal: bounded })
      return { state: 'Available', digest, mediaType, details: { platforms, sizeBytes } }
    } catch (error) {
      signal.throwIfAborted()
      log.debug({ image: image.reference, err: error }, 'source does not answer')
      const outcome = outcomeOf(error, reference.registry)
      if (outcome.state !== 'Invalid' || !isManifest(found)) return outcome
      return { ...outcome, digest: found.digest }
    }
  }
}

/** Whether a registry gave a manifest of whatever kind: what asks for a login by a page of its own gives none. */
function isManifest(found: ResolvedImage | undefined): found is ResolvedImage {
  return found?.mediaType.startsWith('application/vnd.') === true
}
