import {
  type CopyEvent,
  deleteTag,
  type ImageReference,
  listTags,
  type RegistryClient,
  RegistryError,
} from '@containers/image-copy'
import { type ExtraOutcome, type ExtraSummary, ExtraTally } from './extra-outcome.ts'
import { outcomeOfFailure } from './failure.ts'
import { inLanes } from './in-lanes.ts'
import type { CopyEntry } from './items.ts'
import { requireExtraTags, type WantedInTarget, WantedInTargets } from './wanted-in-target.ts'

/** What is done with tags of a target that nothing selects. */
export type ExtraMode = 'report' | 'delete'

export interface ExtraTagsOptions {
  readonly dryRun: boolean
  /** Repositories at a time; in each, one tag after the other. */
  readonly concurrency: number
  readonly signal: AbortSignal
  readonly onEvent: (event: CopyEvent) => void
  readonly onExtra: (target: ImageReference, outcome: ExtraOutcome) => void
}

/** Tags that come with an image: lists of referrers, and cosign's signatures, attestations and SBOMs. */
const COMPANION = /^sha(?:256|512)-[0-9a-f]{64}/

/**
 * Tells of the tags of target repositories that nothing selects, or deletes them: only where it is known what is wanted, and
 * all of that is there.
 */
export class ExtraTags {
  /** To be told of all that is selected, before {@link handle}. */
  readonly wanted: WantedInTargets
  readonly #mode: ExtraMode
  readonly #tally = new ExtraTally()

  /**
   * @param http - registries that are spoken to by plain http
   * @throws UsageError when extra tags cannot be told from others
   */
  constructor(entries: readonly CopyEntry[], mode: ExtraMode, http: readonly string[]) {
    requireExtraTags(entries, http)
    this.wanted = new WantedInTargets(entries, http)
    this.#mode = mode
  }

  /** Never rejects: what went wrong is an outcome. */
  handle(client: RegistryClient, options: ExtraTagsOptions): Promise<void> {
    const onExtra = (target: ImageReference, outcome: ExtraOutcome): void => {
      this.#tally.add(target, outcome)
      options.onExtra(target, outcome)
    }
    return inLanes(options.concurrency, this.wanted.all, (wanted) =>
      handleRepository(client, wanted, this.#mode, { ...options, onExtra }),
    )
  }

  summary(): ExtraSummary {
    return this.#tally.summary()
  }
}

async function handleRepository(
  client: RegistryClient,
  wanted: WantedInTarget,
  mode: ExtraMode,
  options: ExtraTagsOptions,
): Promise<void> {
  const { target, known, arrived, tags } = wanted
  const { dryRun, signal, onExtra } = options
  const skip = (message: string): void => onExtra(target, { status: 'skipped', message })
  if (!known || tags.size === 0) return skip('it is not known which tags are wanted')
  if (mode === 'delete' && !arrived) return skip('not every image of it arrived')
  try {
    const extra = await extraTagsOf(client, wanted, options)
    if (mode === 'delete' && !dryRun) return await deleteAll(client, target, extra, options)
    const status = mode === 'delete' ? 'to-delete' : 'extra'
    for (const tag of extra) onExtra({ ...target, tag }, { status })
  } catch (error) {
    onExtra(target, outcomeOfFailure(error, signal))
  }
}

async function extraTagsOf(
  client: RegistryClient,
  { target, tags }: WantedInTarget,
  { signal, onEvent }: ExtraTagsOptions,
): Promise<readonly string[]> {
  try {
    signal.throwIfAborted()
    const all = await Array.fromAsync(listTags(client, target, { signal, onEvent }))
    return all.filter((tag) => !tags.has(tag) && !COMPANION.test(tag))
  } catch (error) {
    // In a dry run nothing need be there.
    if (error instanceof RegistryError && error.code === 'COPY_NOT_FOUND') return []
    throw error
  }
}

/** What a registry says to one tag it mostly says to all of a repository: then the others are not tried. */
async function deleteAll(
  client: RegistryClient,
  target: ImageReference,
  tags: readonly string[],
  { signal, onEvent, onExtra }: ExtraTagsOptions,
): Promise<void> {
  let tries = true
  for (const tag of tags) {
    const extra = { ...target, tag }
    if (!tries) {
      onExtra(extra, { status: 'extra' })
      continue
    }
    try {
      await deleteTag(client, extra, { signal, onEvent })
      onExtra(extra, { status: 'deleted' })
    } catch (error) {
      onExtra(extra, outcomeOfFailure(error, signal))
      tries = isOfOneTag(error)
    }
  }
}

/** Whether others may be deleted though one is not: a tag may be immutable, for one (409, 412). */
function isOfOneTag(error: unknown): boolean {
  return error instanceof RegistryError && (error.status === 409 || error.status === 412)
}
