import { type Clock, systemClock } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { type ImageState, isWanted } from '../state/cached-image.ts'
import { changedSince } from '../state/changed-since.ts'
import { ConflictError, type ImageStore } from '../state/store.ts'
import { Lanes } from './lanes.ts'
import type { Look } from './look.ts'
import { nextSource, type Outcome } from './outcome.ts'
import { firstLookMs, nextLookMs } from './schedule.ts'

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
  readonly #lanes: Lanes
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
    const { log, metrics } = options
    const look = (reference: string, signal: AbortSignal): Promise<void> =>
      this.#look(reference, signal)
    this.#lanes = new Lanes({ log, metrics, clock: this.#clock, look, signal })
  }

  async run(): Promise<void> {
    const { store } = this.#options
    const stop = store.onChange((reference) => this.#consider(reference))
    this.#options.onHints?.((reference) => this.#hasten(reference))
    try {
      for (const { reference } of store.list()) this.#consider(reference)
      await untilAborted(this.#signal)
    } finally {
      stop()
      await this.#lanes.ended()
    }
  }

  /** Plans the first look at an image that came to be wanted; forgets one that is wanted no more. */
  #consider(reference: string): void {
    const image = this.#options.store.get(reference)
    if (image === undefined || !isWanted(image)) {
      if (this.#known.delete(reference)) this.#lanes.leave(reference)
      return
    }
    if (this.#known.has(reference)) return
    this.#known.set(reference, { failures: 0 })
    const wait = image.source === undefined ? 0 : firstLookMs(this.#intervalMs, this.#random())
    this.#lanes.add(reference, wait)
  }

  /** Only where a source is taken for well: what failed is looked at again soon enough. */
  #hasten(reference: string): void {
    if (this.#signal.aborted) return
    const known = this.#known.get(reference)
    if (known === undefined) return
    const newest = known.unwritten?.outcome ?? this.#options.store.get(reference)?.source
    if (newest?.state !== 'Available') return
    const now = this.#clock.now()
    if (known.hintedAt !== undefined && now - known.hintedAt < hintsEveryMs) return
    known.hintedAt = now
    known.unwritten = undefined
    this.#lanes.add(reference, 1)
  }

  /**
   * A write that fails is all that is tried again: the registry has answered, and counts what it is asked. The image waits in
   * its lane as for a look, so that it takes nobody's place.
   */
  async #look(reference: string, signal: AbortSignal): Promise<void> {
    const { store } = this.#options
    const image = store.get(reference)
    const known = this.#known.get(reference)
    if (known === undefined || image === undefined || !isWanted(image)) return
    const { unwritten } = known
    const isRecent = unwritten !== undefined && this.#clock.now() < unwritten.nextAt
    const found = isRecent ? unwritten : await this.#ask(image, known, signal)
    known.unwritten = found
    await this.#write(reference, found, signal)
    if (known.unwritten === found) known.unwritten = undefined
    this.#tell(image, found.outcome)
    // One that went meanwhile, and came again, has a turn of its own.
    if (this.#known.get(reference) !== known) return
    this.#lanes.add(reference, found.nextAt - this.#clock.now())
  }

  async #ask(image: ImageState, known: Known, signal: AbortSignal): Promise<Found> {
    const outcome = await this.#options.look(image, signal)
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
  async #write(reference: string, { outcome, at }: Found, signal: AbortSignal): Promise<void> {
    const { store } = this.#options
    for (let tries = 1; ; tries++) {
      const image = store.get(reference)
      if (image === undefined) return
      try {
        await store.putSource(image, nextSource(image.source, outcome, at), signal)
        return
      } catch (error) {
        if (!(error instanceof ConflictError) || tries === writeTries) throw error
        await changedSince(store, image, signal)
      }
    }
  }
}
