import { parseReference } from '@containers/image-copy'
import { type Clock, systemClock } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import { WorkQueue } from '../kube/work-queue.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { type ImageState, isWanted } from '../state/cached-image.ts'
import { changedSince } from '../state/changed-since.ts'
import { ConflictError, type ImageStore } from '../state/store.ts'
import type { Look } from './look.ts'
import { nextSource, type Outcome } from './outcome.ts'
import { firstLookMs, nextLookMs } from './schedule.ts'

/** Looks at a time at one registry: docker.io answers a HEAD in some 100 ms, so that 1,000 images take half a minute. */
const looksPerHost = 4
/**
 * From one hint that an image cannot be pulled to the next that counts: a node says so at every try, also when the fault is its
 * own, and a look is one request.
 */
const hintsEveryMs = 60_000
/** Changes by others while we looked; more means that somebody writes in a loop. */
const writeTries = 5

export interface KeepLookingOptions {
  readonly store: ImageStore
  readonly look: Look
  readonly settings: { readonly puller: { readonly intervalHours: number } }
  readonly log: Log
  readonly metrics: Metrics
  readonly clock?: Clock
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
  /** [0, 1); default `Math.random`. */
  readonly random?: () => number
  /** Takes hints, see `Resolver.hasten`: handed over once at the begin, by this function. */
  readonly onHints?: (hasten: (reference: string) => void) => void
}

/**
 * Keeps `source` in the store in step with what a look finds, until the signal aborts. A new image is looked at once, a
 * known one every `intervalHours`, one whose source fails with growing waits. Each host has a budget of its own, so that
 * a slow registry keeps only its own images waiting.
 */
export function keepLooking(options: KeepLookingOptions, signal: AbortSignal): Promise<void> {
  return new Term(options, signal).run()
}

/** What a look found, until it stands in the store. */
interface Found {
  readonly outcome: Outcome
  /** Milliseconds since the epoch. */
  readonly at: number
  /** When the registry is to be asked again, on the clock, whatever becomes of the write. */
  readonly nextAt: number
}

/** An image that has a time for its next look. */
interface Known {
  /** Looks in a row that did not find the source available. */
  failures: number
  hintedAt?: number
  unwritten?: Found | undefined
}

/** One run. */
class Term {
  readonly #options: KeepLookingOptions
  readonly #signal: AbortSignal
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #random: () => number
  readonly #now: () => number
  readonly #looks: { inc(labels: { result: string }): void }
  readonly #lanes = new Map<string, WorkQueue>()
  readonly #running = new Set<Promise<void>>()
  readonly #known = new Map<string, Known>()

  constructor(options: KeepLookingOptions, signal: AbortSignal) {
    this.#options = options
    this.#signal = signal
    this.#clock = options.clock ?? systemClock
    this.#intervalMs = options.settings.puller.intervalHours * 3_600_000
    this.#random = options.random ?? Math.random
    this.#now = options.now ?? Date.now
    this.#looks = options.metrics.counter(
      'kip_resolver_looks_total',
      'Looks at the source of an image, by what was found.',
      ['result'],
    )
  }

  async run(): Promise<void> {
    const { store } = this.#options
    const stop = store.onChange((reference) => this.#consider(reference))
    this.#options.onHints?.((reference) => this.#hasten(reference))
    const ended = Promise.withResolvers<void>()
    const onAbort = (): void => ended.resolve()
    this.#signal.addEventListener('abort', onAbort)
    if (this.#signal.aborted) ended.resolve()
    try {
      for (const { reference } of store.list()) this.#consider(reference)
      await ended.promise
    } finally {
      stop()
      this.#signal.removeEventListener('abort', onAbort)
      await Promise.all(this.#running)
    }
  }

  /** Plans the first look at an image that came to be wanted; forgets one that is wanted no more. */
  #consider(reference: string): void {
    const image = this.#options.store.get(reference)
    if (image === undefined || !isWanted(image)) {
      this.#known.delete(reference)
      return
    }
    if (this.#known.has(reference)) return
    const host = hostOf(reference)
    if (host === undefined) return
    this.#known.set(reference, { failures: 0 })
    const wait = image.source === undefined ? 0 : firstLookMs(this.#intervalMs, this.#random())
    this.#lane(host).addAfter(reference, wait)
  }

  /** Only where a source is taken for well: what failed is looked at again soon enough. */
  #hasten(reference: string): void {
    if (this.#signal.aborted) return
    const known = this.#known.get(reference)
    const host = hostOf(reference)
    if (known === undefined || host === undefined) return
    const newest = known.unwritten?.outcome ?? this.#options.store.get(reference)?.source
    if (newest?.state !== 'Available') return
    const now = this.#clock.now()
    if (known.hintedAt !== undefined && now - known.hintedAt < hintsEveryMs) return
    known.hintedAt = now
    known.unwritten = undefined
    this.#lane(host).addAfter(reference, 1)
  }

  #lane(host: string): WorkQueue {
    const known = this.#lanes.get(host)
    if (known !== undefined) return known
    const { log, metrics } = this.#options
    const lane = new WorkQueue({
      log,
      clock: this.#clock,
      baseDelayMs: 1_000,
      maxDelayMs: 60_000,
      metrics: metrics.workQueue('resolver'),
    })
    this.#lanes.set(host, lane)
    const running = lane
      .run((reference) => this.#look(lane, reference), {
        concurrency: looksPerHost,
        signal: this.#signal,
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
    return lane
  }

  /**
   * A write that fails is all that is tried again: the registry has answered, and counts what it is asked. The image waits in
   * its lane as for a look, so that it takes nobody's place.
   */
  async #look(lane: WorkQueue, reference: string): Promise<void> {
    const { store } = this.#options
    const image = store.get(reference)
    const known = this.#known.get(reference)
    if (known === undefined || image === undefined || !isWanted(image)) return
    const { unwritten } = known
    const isRecent = unwritten !== undefined && this.#clock.now() < unwritten.nextAt
    const found = isRecent ? unwritten : await this.#ask(image, known)
    known.unwritten = found
    await this.#write(reference, found)
    if (known.unwritten === found) known.unwritten = undefined
    this.#tell(image, found.outcome)
    lane.addAfter(reference, found.nextAt - this.#clock.now())
  }

  async #ask(image: ImageState, known: Known): Promise<Found> {
    const outcome = await this.#options.look(image, this.#signal)
    this.#looks.inc({ result: outcome.state })
    known.failures = outcome.state === 'Available' ? 0 : known.failures + 1
    const wait = nextLookMs({
      state: outcome.state,
      failures: known.failures,
      intervalMs: this.#intervalMs,
      retryAfterMs: outcome.state === 'Available' ? undefined : outcome.retryAfterMs,
      random: this.#random(),
    })
    return { outcome, at: this.#now(), nextAt: this.#clock.now() + wait }
  }

  #tell({ reference, source: before }: ImageState, outcome: Outcome): void {
    const { log } = this.#options
    const fields = { image: reference, state: outcome.state }
    if (outcome.state !== 'Available') {
      if (before?.state !== outcome.state) log.info({ ...fields, why: outcome.message }, 'source')
    } else if (before?.digest !== outcome.digest) {
      log.info({ ...fields, digest: outcome.digest }, 'source')
    }
  }

  /** Others write stanzas of their own while we look, so what was found goes onto the newest state. */
  async #write(reference: string, { outcome, at }: Found): Promise<void> {
    const { store } = this.#options
    for (let tries = 1; ; tries++) {
      const image = store.get(reference)
      if (image === undefined) return
      try {
        await store.putSource(image, nextSource(image.source, outcome, at), this.#signal)
        return
      } catch (error) {
        if (!(error instanceof ConflictError) || tries === writeTries) throw error
        await changedSince(store, image, this.#signal)
      }
    }
  }
}

function hostOf(reference: string): string | undefined {
  try {
    return parseReference(reference).registry
  } catch {
    return undefined
  }
}
