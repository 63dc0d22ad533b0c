import {
  formatReference,
  type ImageReference,
  ImageReferenceError,
  parseReference,
} from '@containers/image-copy'
import { MappingError } from '../images/errors.ts'
import type { Mapping } from '../images/mapping.ts'
import { type ImageState, isWanted, type Mirror } from '../state/cached-image.ts'
import { type Verdict, verdict } from './codes.ts'

const digestPattern = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/

/** The settings that a decision depends on. */
export interface DecisionSettings {
  readonly mirror: { readonly preCacheWaitSeconds: number }
  readonly admission: { readonly enabled: boolean; readonly rewrite: 'never' | 'available' }
  readonly puller: { readonly cacheOriginals: boolean }
}

/** One reference, and all that is known of it. */
export interface Subject {
  readonly reference: ImageReference
  /** Normalised. */
  readonly text: string
  /** undefined: kip does not know the image. */
  readonly image: ImageState | undefined
  /** Where the copy lies or would lie, by configuration alone; a verdict: why there is no such place. */
  readonly copy: ImageReference | Verdict
  /** Status of that copy, if it is the one that the configuration means. */
  readonly mirror: Mirror | undefined
}

/**
 * Puts together what every decision needs of one reference; undefined when it is none.
 *
 * Of the state it takes digests and states only. The place of the copy comes from configuration, so that write access to
 * a status swaps nobody's image.
 */
export function subjectOf(
  written: string,
  image: ImageState | undefined,
  mapping: Mapping,
): Subject | undefined {
  let reference: ImageReference
  try {
    reference = parseReference(written)
  } catch {
    return undefined
  }
  const text = formatReference(reference)
  const known = image?.reference === text ? image : undefined
  const copy = copyOf(reference, mapping)
  if ('code' in copy) return { reference, text, image: known, copy, mirror: undefined }
  const place = formatReference(copy)
  const mirror = known?.mirrors.find(
    (entry) => entry.registry === mapping.registry && entry.reference === place,
  )
  return { reference, text, image: known, copy, mirror }
}

function copyOf(reference: ImageReference, mapping: Mapping): ImageReference | Verdict {
  if (mapping.registry === '') return verdict(false, 'NoBackup')
  if (mapping.isBackup(reference)) return verdict(false, 'IsBackup')
  try {
    const copy = mapping.backupOf(reference)
    // A name that is too long, or `flat` without a repository: no kubelet could read it, and no pod start from it.
    parseReference(formatReference(copy))
    return copy
  } catch (error) {
    if (error instanceof MappingError || error instanceof ImageReferenceError) {
      return verdict(false, 'NotMappable')
    }
    throw error
  }
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

export function isUnwanted(image: ImageState | undefined): boolean {
  return image === undefined || !isWanted(image)
}
