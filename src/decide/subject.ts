import { formatReference } from '@containers/image-copy'
import type { PullerSettings } from '../config/settings.ts'
import type { Mapping } from '../images/mapping.ts'
import { type ImageState, isWanted, type Mirror } from '../state/cached-image.ts'
import { type Verdict, verdict } from './codes.ts'
import type { Place } from './place.ts'
import type { PolicySettings } from './policy.ts'

const digestPattern = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/

/** The settings that a decision depends on. */
export interface DecisionSettings {
  readonly mirror: {
    readonly preCacheWaitSeconds: number
    /** What pods pull copies with, and nodes too; empty: nothing. */
    readonly pullSecret: string
  }
  readonly admission: PolicySettings
  readonly puller: {
    readonly enabled: boolean
    readonly mode: PullerSettings['mode']
    readonly cacheOriginals: boolean
    /** What nodes pull images with, whoever uses them. */
    readonly imagePullSecrets: readonly string[]
  }
}

/** One reference, and all that is known of it. */
export interface Subject extends Place {
  /** undefined: kip does not know the image. */
  readonly image: ImageState | undefined
  /** Status of the copy, if it is the one that the configuration means. */
  readonly mirror: Mirror | undefined
}

/**
 * Puts together what every decision needs of one reference.
 *
 * Of the state it takes digests and states only. The place of the copy comes from configuration, so that write access to
 * a status swaps nobody's image.
 */
export function subjectOf(
  place: Place,
  image: ImageState | undefined,
  { registry }: Pick<Mapping, 'registry'>,
): Subject {
  const { text, copyText } = place
  const known = image?.reference === text ? image : undefined
  const mirror =
    copyText === undefined
      ? undefined
      : known?.mirrors.find((one) => one.registry === registry && one.reference === copyText)
  return { ...place, image: known, mirror }
}

/** The reference of the verified copy with its digest, as a pod is to name it; a verdict: why there is none to use. */
export function verifiedCopy(subject: Subject): string | Verdict {
  const { reference, image, copy, mirror } = subject
  if ('code' in copy) return copy
  if (image === undefined) return verdict(false, 'UnknownImage')
  if (image.source?.state === 'NeedsCredentials' || mirror?.code === 'NeedsCredentials') {
    return verdict(false, 'NeedsCredentials')
  }
  const digest = mirror?.digest
  // Anything else would make a reference that no kubelet can read, and keep the pod from starting.
  if (digest === undefined || !digestPattern.test(digest)) return verdict(false, 'NotMirrored')
  if (reference.digest !== undefined && reference.digest !== digest) {
    return verdict(false, 'DigestDiffers')
  }
  return formatReference({ ...copy, digest })
}

/**
 * Whether the tag has moved since it was copied. Only while the source answers: when it does not, the copy is what a
 * backup is for.
 */
export function isOutdated({ reference, image, mirror }: Subject): boolean {
  const source = image?.source
  return (
    reference.digest === undefined &&
    source?.state === 'Available' &&
    source.digest !== undefined &&
    mirror?.digest !== undefined &&
    source.digest !== mirror.digest
  )
}

/** Whether nobody gets the image from its source, as far as kip knows: the registry is away, or has lost it. */
export function isSourceLost({ image }: Pick<Subject, 'image'>): boolean {
  const state = image?.source?.state
  return state === 'Unreachable' || state === 'Missing'
}

/** Whether nobody wants an image, or nobody knows it. */
export function isUnwanted(image: ImageState | undefined): boolean {
  return image === undefined || !isWanted(image)
}
