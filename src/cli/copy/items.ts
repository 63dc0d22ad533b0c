import { formatReference, type ImageReference } from '@containers/image-copy'
import { UsageError } from '../errors.ts'
import { parseTyped, parseTypedTarget } from './typed-reference.ts'

/** One image to copy. */
export interface CopyPair {
  readonly source: ImageReference
  readonly target: ImageReference
}

/** Who has more of them most likely gave another file than was meant. */
const MOST_FAULTS = 20
/** How YAML begins; no image reference looks like it. */
const YAML = /^(?:-|---|\S+:)$/

/**
 * Reads a list of images to copy: `SOURCE TARGET` a line, parted by white space; empty lines and what follows ` #` are
 * passed over.
 *
 * @param name - the file's, for messages
 * @throws UsageError with every faulty line, up to a number
 */
export function parseCopyList(text: string, name: string): readonly CopyPair[] {
  const faults: string[] = []
  const pairs: CopyPair[] = []
  const lineOf = new Map<string, number>()
  let yaml: string | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const words = wordsOf(line)
    const [source, target, ...more] = words
    if (source === undefined) continue
    const where = `${name}, line ${index + 1}`
    if (pairs.length + faults.length === 0 && YAML.test(source))
      yaml = `${where}: looks like YAML, as other tools take it; write SOURCE TARGET in each line`
    if (target === undefined || more.length > 0) {
      const count = words.length === 1 ? 'is one word' : `are ${words.length} words`
      faults.push(`${where}: write SOURCE TARGET; there ${count}`)
      continue
    }
    try {
      const pair = parseCopyPair([source, target])
      const key = formatReference(pair.target)
      const before = lineOf.get(key)
      if (before === undefined) pairs.push(pair)
      else faults.push(`${where}: the target ${key} is that of line ${before} too`)
      lineOf.set(key, before ?? index + 1)
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      faults.push(...error.faults.map((fault) => `${where}: ${fault}`))
    }
  }
  if (pairs.length === 0 && faults.length === 0) faults.push(`${name}: lists no image`)
  if (pairs.length === 0 && yaml !== undefined) throw new UsageError([yaml])
  if (faults.length > 0) throw new UsageError(firstOf(faults, name))
  return pairs
}

/** @throws UsageError with what is wrong with either */
export function parseCopyPair([source, target]: readonly [string, string]): CopyPair {
  const faults: string[] = []
  const read = (parse: (text: string) => ImageReference, text: string) => {
    try {
      return parse(text)
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error))
      return undefined
    }
  }
  const pair = { source: read(parseTyped, source), target: read(parseTypedTarget, target) }
  if (pair.source === undefined || pair.target === undefined) throw new UsageError(faults)
  return { source: pair.source, target: pair.target }
}

/** Of a line, without its comment. */
function wordsOf(line: string): readonly string[] {
  const words = line.match(/\S+/g) ?? []
  const comment = words.findIndex((word) => word.startsWith('#'))
  return comment < 0 ? words : words.slice(0, comment)
}

function firstOf(faults: readonly string[], name: string): readonly string[] {
  const more = faults.length - MOST_FAULTS
  if (more <= 0) return faults
  return [
    ...faults.slice(0, MOST_FAULTS),
    `${name}: ${more} more such ${more === 1 ? 'fault' : 'faults'}`,
  ]
}
