import { formatReference, type ImageReference, parseReference } from '@containers/image-copy'
import { UsageError } from '../errors.ts'

/** One image to copy. */
export interface CopyPair {
  readonly source: ImageReference
  readonly target: ImageReference
}

/**
 * Reads a list of images to copy: `SOURCE TARGET` a line, parted by white space; empty lines and what follows ` #` are
 * passed over.
 *
 * @param name - the file's, for messages
 * @throws UsageError with every faulty line
 */
export function parseCopyList(text: string, name: string): readonly CopyPair[] {
  const faults: string[] = []
  const pairs: CopyPair[] = []
  const lineOf = new Map<string, number>()
  for (const [index, line] of text.split('\n').entries()) {
    const words = line.match(/\S+/g) ?? []
    const comment = words.findIndex((word) => word.startsWith('#'))
    if (comment >= 0) words.length = comment
    if (words.length === 0) continue
    const where = `${name}, line ${index + 1}`
    const [source, target, ...more] = words
    if (source === undefined || target === undefined || more.length > 0) {
      faults.push(`${where}: write SOURCE TARGET; there are ${words.length} words`)
      continue
    }
    try {
      const pair = parsePair(source, target)
      const key = formatReference(pair.target)
      const before = lineOf.get(key)
      if (before === undefined) pairs.push(pair)
      else faults.push(`${where}: the target ${key} is that of line ${before} too`)
      lineOf.set(key, before ?? index + 1)
    } catch (error) {
      faults.push(`${where}: ${messageOf(error)}`)
    }
  }
  if (pairs.length === 0 && faults.length === 0) faults.push(`${name}: lists no image`)
  if (faults.length > 0) throw new UsageError(faults)
  return pairs
}

/** @throws UsageError */
export function parseCopyPair([source, target]: readonly [string, string]): CopyPair {
  try {
    return parsePair(source, target)
  } catch (error) {
    throw new UsageError([messageOf(error)])
  }
}

function parsePair(source: string, target: string): CopyPair {
  return { source: parseReference(source), target: parseReference(target) }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
