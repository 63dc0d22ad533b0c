import {
  formatReference,
  listTags,
  type RegistryClient,
  selectTags,
  type TagSelection,
} from '@containers/image-copy'
import { type DatingOptions, keepCreatedSince } from './created-since.ts'
import { outcomeOfFailure } from './failure.ts'
import { inLanes } from './in-lanes.ts'
import type { CopyEntry, CopyPair } from './items.ts'
import type { Outcome } from './outcome.ts'

export interface SelectImagesOptions extends DatingOptions {
  /** Repositories listed at a time, and images asked for. */
  readonly concurrency: number
  /** Told of each repository of which nothing is copied for want of its tags, and of each image. */
  readonly onFailure: (pair: CopyPair, outcome: Outcome) => void
  /** Told of the tags that an entry selects, those too that are left to another. */
  readonly onSelected: (entry: CopyEntry, tags: readonly string[]) => void
}

/** Images to copy. */
export interface SelectedImages {
  readonly images: number
  /** In the order of the entries, made one by one: of a repository no more is kept than names. For one pass. */
  readonly pairs: Iterable<CopyPair>
}

/**
 * Finds out which images are meant where entries select tags. A target's tag that another entry names, or selects before, is
 * left to that.
 */
export async function selectImages(
  client: RegistryClient,
  entries: readonly CopyEntry[],
  options: SelectImagesOptions,
): Promise<SelectedImages> {
  const selecting = entries.filter(({ selection }) => selection !== undefined)
  if (selecting.length === 0) return { images: entries.length, pairs: entries.values() }
  const found = new Map<CopyEntry, readonly string[]>()
  await inLanes(options.concurrency, selecting, async (entry) => {
    found.set(entry, await tagsOf(client, entry, options))
  })
  await keepCreatedSince(client, found, options)
  const taken = tagsTaken(entries, selecting)
  let images = entries.length - selecting.length
  for (const entry of selecting) {
    const others = taken.get(targetOf(entry))
    const selected = found.get(entry) ?? []
    options.onSelected(entry, selected)
    const tags = selected.filter((tag) => !others?.has(tag))
    for (const tag of tags) others?.add(tag)
    found.set(entry, tags)
    images += tags.length
  }
  return { images, pairs: pairsOf(entries, found) }
}

/** By target's repository of those who select, the tags there that others name. */
function tagsTaken(
  entries: readonly CopyEntry[],
  selecting: readonly CopyEntry[],
): ReadonlyMap<string, Set<string>> {
  const taken = new Map(selecting.map((entry) => [targetOf(entry), new Set<string>()]))
  for (const entry of entries)
    if (entry.target.tag !== undefined) taken.get(targetOf(entry))?.add(entry.target.tag)
  return taken
}

function targetOf({ target: { registry, repository } }: CopyPair): string {
  return formatReference({ registry, repository })
}

/** @returns none where that is a failure, of which it told */
async function tagsOf(
  client: RegistryClient,
  { source, target, selection = {} }: CopyEntry,
  { signal, onEvent, onFailure }: SelectImagesOptions,
): Promise<readonly string[]> {
  try {
    signal.throwIfAborted()
    const all = await Array.fromAsync(listTags(client, source, { signal, onEvent }))
    const tags = await selectTags(all, selection)
    // A pattern with a slip must not look like success.
    if (tags.length === 0) onFailure({ source, target }, nothingSelected(all.length, selection))
    return tags
  } catch (error) {
    onFailure({ source, target }, outcomeOfFailure(error, signal))
    return []
  }
}

function nothingSelected(tags: number, { range, latest }: TagSelection): Outcome {
  const versions = range !== undefined || latest !== undefined
  const advice = versions
    ? '; a suffix and a pre-release count as versions only where they are asked for'
    : ''
  const message = tags === 0 ? 'it has no tags' : `none of its ${tags} tags is selected${advice}`
  return { status: 'failed', code: 'KIP_NOTHING_SELECTED', message }
}

function* pairsOf(
  entries: readonly CopyEntry[],
  selected: ReadonlyMap<CopyEntry, readonly string[]>,
): Generator<CopyPair, void> {
  for (const entry of entries) {
    const { source, target } = entry
    const tags = selected.get(entry)
    if (tags === undefined) yield entry
    else for (const tag of tags) yield { source: { ...source, tag }, target: { ...target, tag } }
  }
}
