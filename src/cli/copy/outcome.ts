import { type Counters, formatReference } from '@containers/image-copy'
import type { ExtraSummary } from './extra-outcome.ts'
import type { Failure } from './failure.ts'
import type { CopyPair } from './items.ts'
import { formatBytes, formatSeconds } from './quantities.ts'

/** What became of one image, or in a dry run would become. */
export type Outcome =
  | ({ readonly status: 'copied' | 'present' } & Moved)
  | ({ readonly status: 'to-copy' } & Omit<Moved, 'mounted' | 'seconds'>)
  | Failure

interface Moved {
  readonly digest: string
  readonly bytes: number
  /** Blobs sent, found in the target, and taken from another of its repositories. */
  readonly blobs: number
  readonly skipped: number
  readonly mounted: number
  readonly seconds: number
}

/** What a run did in all. */
export interface Summary {
  readonly images: number
  readonly copied: number
  readonly present: number
  readonly toCopy: number
  readonly failed: number
  /** Not begun or not ended when the run was stopped. */
  readonly stopped: number
  readonly bytes: number
  readonly seconds: number
  /** Undefined: nobody asked for them. */
  readonly extraTags?: ExtraSummary
}

/** Counts what comes of the images of one run, and keeps none of them: there may be many. */
export class Tally {
  readonly #counts = { copied: 0, present: 0, 'to-copy': 0, failed: 0, stopped: 0 }
  #bytes = 0

  add(outcome: Outcome): void {
    this.#counts[outcome.status] += 1
    if ('bytes' in outcome) this.#bytes += outcome.bytes
  }

  /** The same for metrics, where a plan is no copy. A client knows of no selection that failed, nor of what was not begun. */
  images(): Counters['images'] {
    const { copied, present, failed, stopped } = this.#counts
    return { done: copied + present, failed, stopped }
  }

  summary(seconds: number): Summary {
    const { copied, present, 'to-copy': toCopy, failed, stopped } = this.#counts
    const images = copied + present + toCopy + failed + stopped
    return { images, copied, present, toCopy, failed, stopped, bytes: this.#bytes, seconds }
  }
}

/** One line for people. */
export function outcomeLine(pair: CopyPair, outcome: Outcome): string {
  const way = `${formatReference(pair.source)} -> ${formatReference(pair.target)}`
  switch (outcome.status) {
    case 'present':
      return `present ${way} ${outcome.digest}`
    case 'copied':
      return `copied ${way} ${outcome.digest} (${amounts(outcome)}, ${formatSeconds(outcome.seconds)})`
    case 'to-copy':
      return `would copy ${way} ${outcome.digest} (${amounts(outcome)})`
    case 'failed':
      return `failed ${way}: ${outcome.message} [${outcome.code}]`
    case 'stopped':
      return `stopped ${way}: ${outcome.message}`
  }
}

function amounts(
  outcome: Pick<Moved, 'bytes' | 'blobs' | 'skipped'> & { mounted?: number },
): string {
  const { bytes, blobs, skipped, mounted = 0 } = outcome
  return [
    blobs > 0
      ? `${formatBytes(bytes)} in ${blobs} ${blobs === 1 ? 'blob' : 'blobs'}`
      : `${formatBytes(bytes)} of manifests`,
    ...(mounted > 0 ? [`${mounted} mounted`] : []),
    ...(skipped > 0 ? [`${skipped} there`] : []),
  ].join(', ')
}

/** One line for people about all images. */
export function summaryLine(summary: Summary): string {
  const { images, copied, present, toCopy, failed, stopped, bytes, seconds, extraTags } = summary
  const counts = [
    ...(copied > 0 ? [`${copied} copied`] : []),
    ...(toCopy > 0 ? [`${toCopy} to copy`] : []),
    ...(present > 0 ? [`${present} there`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(stopped > 0 ? [`${stopped} not done`] : []),
  ].join(', ')
  // Images may share layers that are sent once.
  const moved = toCopy > 0 ? `at most ${formatBytes(bytes)} to send` : `${formatBytes(bytes)} sent`
  const extra = extraTags === undefined ? '' : `; ${extraCounts(extraTags)}`
  const noun = images === 1 ? 'image' : 'images'
  return `${images} ${noun}: ${counts || 'none'}; ${moved} in ${formatSeconds(seconds)}${extra}`
}

function extraCounts({ found, deleted, failed }: ExtraSummary): string {
  return [
    `${found} extra ${found === 1 ? 'tag' : 'tags'}`,
    ...(deleted > 0 ? [`${deleted} deleted`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ].join(', ')
}

/** The same for programs: an object of one line. */
export function outcomeJson(pair: CopyPair, outcome: Outcome): string {
  const source = formatReference(pair.source)
  const target = formatReference(pair.target)
  return JSON.stringify({ type: 'image', source, target, ...outcome })
}

/** The last line of `kip copy --output json`. */
export function summaryJson(summary: Summary): string {
  return JSON.stringify({ type: 'summary', ...summary })
}
