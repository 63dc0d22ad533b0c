import { parseReference } from '@containers/image-copy'
import type { Mapping } from '../images/mapping.ts'
import { isCopyOf, originalKey } from '../images/originals.ts'
import type { ImageUse } from '../images/walker.ts'
import { readTexts } from '../kube/annotations.ts'

/** An image of a pod and what becomes of it. */
export interface WrittenUse {
  readonly use: ImageUse
  /** What it is pointed at now; undefined: it is left as it is. */
  readonly copy: string | undefined
}

/**
 * The annotation that a pod is to bear: the original, as it was written, of every image that names its copy.
 *
 * What stands in it already is believed only where it fits: an entry whose copy is what that container names. So it
 * survives another round through the webhook, and a user's own invention does not.
 *
 * @param written What stands in the annotation now.
 * @returns undefined: none. The same originals always make the same text.
 */
export function originalsOf(
  uses: readonly WrittenUse[],
  written: string | undefined,
  mapping: Mapping,
): string | undefined {
  const given = readTexts(written)
  const originals = new Map<string, string>()
  for (const { use, copy } of uses) {
    const key = originalKey(use)
    const known = given.get(key)
    if (copy !== undefined) originals.set(key, use.reference)
    else if (known !== undefined && isOriginalOf(known, use.reference, mapping)) {
      originals.set(key, known)
    }
  }
  if (originals.size === 0) return undefined
  return JSON.stringify(Object.fromEntries([...originals].sort(([a], [b]) => (a < b ? -1 : 1))))
}

function isOriginalOf(original: string, image: string, mapping: Mapping): boolean {
  try {
    const copy = parseReference(image)
    return mapping.isBackup(copy) && isCopyOf(copy, original, mapping)
  } catch {
    return false
  }
}
