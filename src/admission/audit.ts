import { originalKey } from '../images/originals.ts'
import type { ImageOutcome } from './mutate.ts'

/** Characters of the annotation; audit logs keep one for every pod that is made. */
const auditLimit = 2_048

/**
 * Says for every image of a pod what became of it: `web: Rewritten nginx:1 -> backup/…; log: NotMirrored fluent-bit:3`.
 *
 * On an ephemeral container this is the only record of what stood there. Images that were rewritten come first, and what
 * exceeds 2048 characters is counted.
 */
export function auditText(images: readonly ImageOutcome[]): string {
  const ordered = [
    ...images.filter(({ copy }) => copy !== undefined),
    ...images.filter(({ copy }) => copy === undefined),
  ]
  let text = ''
  for (const [index, { use, copy, code }] of ordered.entries()) {
    const target = copy === undefined ? '' : ` -> ${copy}`
    const item = `${index === 0 ? '' : '; '}${originalKey(use)}: ${code} ${use.reference}${target}`
    const rest = `; and ${ordered.length - index} more`
    if (text.length + item.length + rest.length > auditLimit) {
      return index === 0 ? `${ordered.length} images` : `${text}${rest}`
    }
    text += item
  }
  return text
}
