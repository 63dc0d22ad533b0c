import {
  type CopyEvent,
  createdAt,
  formatReference,
  type RegistryClient,
} from '@containers/image-copy'
import { outcomeOfFailure } from './failure.ts'
import { inLanes } from './in-lanes.ts'
import type { CopyEntry, CopyPair } from './items.ts'
import type { Outcome } from './outcome.ts'

/** What asking when images were made came to, of the tags that one entry selects by name. */
export interface Dated {
  readonly createdSince: Date
  readonly tags: number
  readonly selected: number
  /** Tags of images that do not say when they were made. They are among those selected. */
  readonly undated: readonly string[]
}

export interface DatingOptions {
  /** Images asked for at a time. */
  readonly concurrency: number
  /** Of an index, only images for these count; empty: all. */
  readonly platforms: readonly string[]
  readonly signal: AbortSignal
  readonly onEvent: (event: CopyEvent) => void
  /** Told of each image that could not be asked for, which is not selected. */
  readonly onFailure: (pair: CopyPair, outcome: Outcome) => void
  readonly onDated: (pair: CopyPair, dated: Dated) => void
}

/** When an image was made: `new` enough, before that, or nobody knows. */
type Verdict = 'new' | 'old' | 'undated' | 'failed'

/** One image to ask for. */
interface Question {
  readonly entry: CopyEntry
  readonly since: Date
  readonly tag: string
  readonly verdicts: Map<string, Verdict>
}

/**
 * Takes out of what entries select by name the tags whose image was made before `createdSince`. One that does not say when it
 * was made stays: a copy too many costs bytes, and one too few is missed when it is needed.
 */
export async function keepCreatedSince(
  client: RegistryClient,
  found: Map<CopyEntry, readonly string[]>,
  options: DatingOptions,
): Promise<void> {
  const questions = [...found].flatMap(([entry, tags]): readonly Question[] => {
    const since = entry.selection?.createdSince
    if (since === undefined) return []
    const verdicts = new Map<string, Verdict>()
    return tags.map((tag) => ({ entry, since, tag, verdicts }))
  })
  await inLanes(options.concurrency, questions, async (question) => {
    question.verdicts.set(question.tag, await verdictOf(client, question, options))
  })
  const dated = new Map(questions.map((question) => [question.entry, question]))
  for (const [entry, { since, verdicts }] of dated) {
    const isOne = (...those: readonly Verdict[]): readonly string[] =>
      (found.get(entry) ?? []).filter((tag) => those.includes(verdicts.get(tag) ?? 'failed'))
    const selected = isOne('new', 'undated')
    const undated = isOne('undated')
    const counts = { tags: verdicts.size, selected: selected.length }
    found.set(entry, selected)
    if (!options.signal.aborted) options.onDated(entry, { createdSince: since, ...counts, undated })
  }
}

async function verdictOf(
  client: RegistryClient,
  { entry, since, tag }: Question,
  { platforms, signal, onEvent, onFailure }: DatingOptions,
): Promise<Verdict> {
  const source = { ...entry.source, tag }
  try {
    signal.throwIfAborted()
    const created = await createdAt(client, source, { platforms, signal, onEvent })
    if (created === undefined) return 'undated'
    return created < since ? 'old' : 'new'
  } catch (error) {
    const target = { ...entry.target, tag }
    onFailure({ source, target }, outcomeOfFailure(error, signal))
    return 'failed'
  }
}

/** Of those that do not say when they were made; in JSON all are named. */
const MOST_NAMED = 20

/** One line for people. */
export function datedLine(pair: CopyPair, dated: Dated): string {
  const { createdSince, tags, selected, undated } = dated
  const way = `${formatReference(pair.source)} -> ${formatReference(pair.target)}`
  const counts = `${selected - undated.length} of ${tags} tags made since ${createdSince.toISOString()}`
  if (undated.length === 0) return `${way}: ${counts}`
  const more = undated.length - MOST_NAMED
  const names = undated.slice(0, MOST_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '')
  return `${way}: ${counts}; selected too, since they do not say when they were made: ${names}`
}

/** The same for programs: an object of one line. */
export function datedJson(pair: CopyPair, dated: Dated): string {
  const source = formatReference(pair.source)
  const target = formatReference(pair.target)
  return JSON.stringify({ type: 'created-since', source, target, ...dated })
}
