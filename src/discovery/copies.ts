import { formatReference, parseReference } from '@containers/image-copy'
import type { Mapping } from '../images/mapping.ts'
import type { ImageStore } from '../state/store.ts'

/**
 * Follows which known image each place in the backup belongs to: the way back from a copy where the mapping alone does
 * not tell. Places are computed, not read from a status, which more may write than kip.
 */
export function followCopies(
  store: ImageStore,
  mapping: Mapping,
): { sourceOf(copy: string): string | undefined; stop(): void } {
  const sources = new Map<string, string>()
  const follow = (reference: string): void => {
    const copy = placeOf(reference, mapping)
    if (copy === undefined) return
    const known = store.get(reference) !== undefined
    if (known && !sources.has(copy)) sources.set(copy, reference)
    if (!known && sources.get(copy) === reference) sources.delete(copy)
  }
  for (const { reference } of store.list()) follow(reference)
  const stop = store.onChange(follow)
  return { sourceOf: (copy) => sources.get(copy), stop }
}

function placeOf(reference: string, mapping: Mapping): string | undefined {
  try {
    const source = parseReference(reference)
    return mapping.isBackup(source) ? undefined : formatReference(mapping.backupOf(source))
  } catch {
    return undefined
  }
}
