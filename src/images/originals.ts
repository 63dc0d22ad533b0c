import { formatReference, type ImageReference, parseReference } from '@containers/image-copy'
import type { Mapping } from './mapping.ts'
import type { ImageUse } from './walker.ts'

/** Pod annotation that keeps what stood in a pod before it was rewritten: JSON, {@link originalKey} → reference. */
export const originalsAnnotation = 'images.kip/original-images'

/**
 * Key of an image in the annotation: the name of the container, or `volume/` and the name of the volume, since a volume
 * may be called as a container is and neither name holds a '/'.
 */
export function originalKey({ place, name }: Pick<ImageUse, 'place' | 'name'>): string {
  return place === 'volume' ? `volume/${name}` : name
}

/**
 * Whether a reference names the very copy of what it is claimed to be a copy of.
 *
 * The annotation is anybody's to write: only what this confirms is believed.
 */
export function isCopyOf(copy: ImageReference, claimed: string, mapping: Mapping): boolean {
  try {
    const source = parseReference(claimed)
    if (mapping.isBackup(source)) return false
    return formatReference(mapping.backupOf(source)) === placeOf(copy)
  } catch {
    return false
  }
}

/** A copy without the digest that stands beside its tag: the place that the mapping gave it. */
export function placeOf({ digest, ...named }: ImageReference): string {
  return formatReference(
    named.tag === undefined && digest !== undefined ? { ...named, digest } : named,
  )
}
