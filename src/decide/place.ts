import {
  formatReference,
  type ImageReference,
  ImageReferenceError,
  parseReference,
} from '@containers/image-copy'
import { MappingError } from '../images/errors.ts'
import type { Mapping } from '../images/mapping.ts'
import { type Verdict, verdict } from './codes.ts'

/** A reference, and where its copy lies: all that follows from configuration alone. */
export interface Place {
  readonly reference: ImageReference
  /** Normalised. */
  readonly text: string
  /** It lies at the host of the copies, and what opens these may open it. */
  readonly besideCopies: boolean
  /** Where the copy lies or would lie; a verdict: why there is no such place. */
  readonly copy: ImageReference | Verdict
  /** {@link Place.copy} as text. */
  readonly copyText: string | undefined
}

/** Reads a reference as it was written; undefined when it is none. */
export function placeOf(written: string, mapping: Mapping): Place | undefined {
  let reference: ImageReference
  try {
    reference = parseReference(written)
  } catch {
    return undefined
  }
  const text = formatReference(reference)
  const known = { reference, text, besideCopies: reference.registry === mapping.host }
  if (mapping.registry === '') return { ...known, ...without('NoBackup') }
  if (mapping.isBackup(reference)) return { ...known, ...without('IsBackup') }
  try {
    const copy = mapping.backupOf(reference)
    const copyText = formatReference(copy)
    // A name that is too long, or `flat` without a repository: no kubelet could read it, and no pod start from it.
    parseReference(copyText)
    return { ...known, copy, copyText }
  } catch (error) {
    if (error instanceof MappingError || error instanceof ImageReferenceError) {
      return { ...known, ...without('NotMappable') }
    }
    throw error
  }
}

function without(code: 'NoBackup' | 'IsBackup' | 'NotMappable') {
  return { copy: verdict(false, code), copyText: undefined }
}

// A cluster has some thousands of images, and few of them in many pods; a place takes a kilobyte, since what is longer
// than a registry takes is no reference.
const memorySize = 2_000

/** {@link placeOf}, with a bounded memory: the same images come again and again, and reading one is half of a decision. */
export function rememberPlaces(mapping: Mapping): (written: string) => Place | undefined {
  const known = new Map<string, Place>()
  return (written) => {
    const found = known.get(written)
    if (found !== undefined) return found
    const place = placeOf(written, mapping)
    if (place === undefined) return undefined
    if (known.size >= memorySize) known.clear()
    known.set(written, place)
    return place
  }
}
