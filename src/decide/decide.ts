import type { Mapping } from '../images/mapping.ts'
import type { ImageState } from '../state/cached-image.ts'
import { type CacheCircumstances, type CacheVerdict, decideCache } from './cache.ts'
import { type Verdict, verdict } from './codes.ts'
import { decideMirror } from './mirror.ts'
import { placeOf } from './place.ts'
import { decideRewrite, type Placement, type RewriteVerdict } from './rewrite.ts'
import { type DecisionSettings, subjectOf } from './subject.ts'

export interface DecideInput {
  /** As written; need not be normalised, nor valid. */
  readonly reference: string
  /** What the store knows of the normalised reference; undefined: nothing. */
  readonly image: ImageState | undefined
  readonly mapping: Mapping
  readonly settings: DecisionSettings
  /** Milliseconds since the epoch. */
  readonly now: number
  /** See {@link CacheCircumstances}; default: that is not known of all of them. */
  readonly kubeletsCheck?: CacheCircumstances['kubeletsCheck']
  /** Where the reference stands; absent: in an ordinary pod that nobody opted out. */
  readonly placement?: Placement
}

export interface Decision {
  /** Whether the image is to be copied to the backup. */
  readonly mirror: Verdict
  /** Whether a pod that names it is to be pointed at the copy, and to what. */
  readonly rewrite: RewriteVerdict
  /** Under which names the nodes are to hold it. */
  readonly cache: CacheVerdict
}

/**
 * The one decision: what kip does about a reference, and why. Webhook, mirror, puller and the explaining commands all ask
 * here, so that none can differ from what another says. The webhook, in a hurry, asks for its part alone, `decideRewrite`.
 *
 * Pure: the same input gives the same answer.
 */
export function decide(input: DecideInput): Decision {
  const { settings, placement, now, kubeletsCheck = false } = input
  const place = placeOf(input.reference, input.mapping)
  if (place === undefined) {
    const invalid = verdict(false, 'InvalidReference')
    return { mirror: invalid, rewrite: invalid, cache: { ...invalid, references: [] } }
  }
  const subject = subjectOf(place, input.image, input.mapping)
  return {
    mirror: decideMirror(subject),
    rewrite: decideRewrite(subject, settings, placement),
    cache: decideCache(subject, settings, { now, kubeletsCheck }),
  }
}
