import { faultOfVersionRange, formatReference, type ImageReference } from '@containers/image-copy'
import { allUsable, UsageError } from '../errors.ts'
import { asOption, isTagWord, parseTagWords, type WantedTags } from './tag-options.ts'
import { parseTyped, parseTypedTarget } from './typed-reference.ts'

/** One image to copy. */
export interface CopyPair {
  readonly source: ImageReference
  readonly target: ImageReference
}

/** What somebody wants copied: an image or, with a selection, tags of a repository; then neither side names one. */
export interface CopyEntry extends CopyPair {
  readonly selection?: WantedTags
}

/** Who has more of them most likely gave another file than was meant. */
const MOST_FAULTS = 20
/** How YAML begins; no image reference looks like it. */
const YAML = /^(?:-|---|\S+:)$/

/** Reads a list as {@link parseCopyList}. @throws UsageError, also of ranges of versions that are none */
export async function readCopyList(text: string, name: string): Promise<readonly CopyEntry[]> {
  const [entries] = await allUsable([
    Promise.try(() => parseCopyList(text, name)),
    checkListRanges(text, name),
  ])
  return entries
}

/** Reads an image and where it goes, or with a selection two repositories. @throws UsageError */
export async function readCopyEntry(
  texts: readonly [string, string],
  selection: WantedTags | undefined,
): Promise<CopyEntry> {
  if (selection === undefined) return parseCopyPair(texts)
  const [entry] = await allUsable([
    Promise.try(() => parseRepositories(texts, selection)),
    checkRange(selection.range, (range) => asOption('semver', range)),
  ])
  return entry
}

async function checkRange(
  range: string | undefined,
  spell: (range: string) => string,
): Promise<void> {
  const fault = range === undefined ? undefined : await faultOfVersionRange(range)
  if (fault !== undefined) throw new UsageError([`${spell(range ?? '')}: ${fault}`])
}

/** What is no range is told for all lines. */
async function checkListRanges(text: string, name: string): Promise<void> {
  // To look at each line takes a while, and few lists have a range.
  const lines = text.includes('semver=') ? text.split('\n') : []
  await allUsable(
    lines.flatMap((line, index) =>
      wordsOf(line)
        .slice(2)
        .filter((word) => word.startsWith('semver='))
        .map((word) =>
          checkRange(word.slice('semver='.length), () => `${name}, line ${index + 1}: ${word}`),
        ),
    ),
  )
}

/**
 * Reads a list of images to copy: `SOURCE TARGET` a line, parted by white space, and behind two repositories which of their
 * tags; empty lines and what follows ` #` are passed over.
 *
 * @param name - the file's, for messages
 * @throws UsageError with every faulty line, up to a number; a range of versions is not looked at
 */
export function parseCopyList(text: string, name: string): readonly CopyEntry[] {
  const faults: string[] = []
  const entries: CopyEntry[] = []
  const lineOf = new Map<string, number>()
  let yaml: string | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const words = wordsOf(line)
    const [source, target, ...more] = words
    if (source === undefined) continue
    const where = `${name}, line ${index + 1}`
    if (entries.length + faults.length === 0 && YAML.test(source))
      yaml = `${where}: looks like YAML, as other tools take it; write SOURCE TARGET in each line`
    if (target === undefined || !more.every(isTagWord)) {
      const count = words.length === 1 ? 'is one word' : `are ${words.length} words`
      faults.push(`${where}: write SOURCE TARGET; there ${count}`)
      continue
    }
    try {
      const entry: CopyEntry =
        more.length === 0 ? parseCopyPair([source, target]) : parseWords(source, target, more)
      const key = formatReference(entry.target)
      // Several lines may select of one repository: the newest of each suffix, say.
      const taker = entry.selection ? `${key} from ${formatReference(entry.source)}` : key
      const before = lineOf.get(key)
      if (before === undefined || (entry.selection && lineOf.has(taker))) entries.push(entry)
      else faults.push(`${where}: the target ${key} is that of line ${before} too`)
      lineOf.set(key, before ?? index + 1)
      if (before === undefined) lineOf.set(taker, index + 1)
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      faults.push(...error.faults.map((fault) => `${where}: ${fault}`))
    }
  }
  if (entries.length === 0 && faults.length === 0) faults.push(`${name}: lists no image`)
  if (entries.length === 0 && yaml !== undefined) throw new UsageError([yaml])
  if (faults.length > 0) throw new UsageError(firstOf(faults, name))
  return entries
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

/**
 * Reads two repositories, of which tags are to be copied.
 *
 * @throws UsageError, also when one of them names a tag or digest
 */
export function parseRepositories(
  texts: readonly [string, string],
  selection: WantedTags,
): CopyEntry {
  const { source, target } = parseCopyPair(texts)
  const faults = [source, target].flatMap(({ registry, repository, tag, digest }, side) => {
    const named = digest !== undefined || texts[side]?.endsWith(`:${tag}`)
    const name = formatReference({ registry, repository })
    return named ? [`${texts[side]} names an image, where tags are selected: write ${name}`] : []
  })
  if (faults.length > 0) throw new UsageError(faults)
  const bare = ({ registry, repository }: ImageReference) => ({ registry, repository })
  return { source: bare(source), target: bare(target), selection }
}

function parseWords(source: string, target: string, words: readonly string[]): CopyEntry {
  const faults: string[] = []
  const selection = parseTagWords(words, faults)
  let entry: CopyEntry | undefined
  try {
    entry = parseRepositories([source, target], selection ?? {})
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    faults.push(...error.faults)
  }
  if (entry === undefined || faults.length > 0) throw new UsageError(faults)
  return entry
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
