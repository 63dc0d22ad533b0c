import { createJob, type Job } from '../events.ts'
import { parsePlatform } from '../image/platform.ts'
import type { ImageReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { type CopyOptions, type CopyResult, copyOne } from './copy-image.ts'

/** One image of {@link copyImages}. */
export interface CopyItem {
  readonly source: ImageReference
  readonly target: ImageReference
  /** In place of those for all. */
  readonly platforms?: readonly string[] | undefined
}

/** What became of one image. */
export type CopyOutcome =
  | { readonly item: CopyItem; readonly result: CopyResult; readonly error?: undefined }
  | { readonly item: CopyItem; readonly error: unknown; readonly result?: undefined }

/** Options of {@link copyImages}. */
export interface CopyImagesOptions extends CopyOptions {
  /** Images at a time. Default 8: enough to hide the round trips of small images; transfers are bounded by the hosts. */
  readonly concurrency?: number | undefined
}

const defaultConcurrency = 8

/**
 * Copies many images. A blob that several of them share is sent once and then mounted. One failure stops no other image: the
 * outcomes say, in the order of the items, what became of each.
 *
 * Rejects only when the signal aborts.
 */
export function copyImages(
  client: RegistryClient,
  items: readonly CopyItem[],
  options: CopyImagesOptions = {},
): Job<readonly CopyOutcome[]> {
  const inside = internalsOf(client)
  const concurrency = options.concurrency ?? defaultConcurrency
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw new RangeError('concurrency must be a whole number above 0')
  const parsed = items.map((item) => (item.platforms ?? options.platforms ?? []).map(parsePlatform))
  return createJob(async (emit) => {
    const outcomes: CopyOutcome[] = []
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < items.length && options.signal?.aborted !== true) {
        const index = next
        next += 1
        const item = items[index] as CopyItem
        const { source, target } = item
        const perItem = { ...options, platforms: item.platforms ?? options.platforms }
        try {
          const result = await copyOne({
            client: inside,
            source,
            target,
            options: perItem,
            platforms: parsed[index] ?? [],
            emit,
          })
          outcomes[index] = { item, result }
        } catch (error) {
          outcomes[index] = { item, error }
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, lane))
    options.signal?.throwIfAborted()
    return outcomes
  }, options.onEvent)
}
