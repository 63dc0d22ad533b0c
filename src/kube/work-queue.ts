import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Clock, systemClock } from './clock.ts'
import { KubeApiError } from './errors.ts'
import type { Log } from './log.ts'

/** What a queue counts; named as client-go names them. */
export interface WorkQueueMetrics {
  /** workqueue_depth */
  depth?(items: number): void
  /** workqueue_adds_total */
  added?(): void
  /** workqueue_queue_duration_seconds */
  waited?(seconds: number): void
  /**
   * Work on a key began; what it gives is called with the seconds that it took: workqueue_work_duration_seconds,
   * workqueue_unfinished_work_seconds, workqueue_longest_running_processor_seconds
   */
  working?(): (seconds: number) => void
  /** workqueue_retries_total */
  retried?(): void
}

/** client-go's ItemExponentialFailureRateLimiter: 5 ms, doubled from failure to failure of one key, up to 1000 s. */
const workQueueDefaults = Object.freeze({ baseDelayMs: 5, maxDelayMs: 1_000_000 })

export interface WorkQueueOptions {
  /** Default 5 ms. */
  readonly baseDelayMs?: number
  /** Default 1000 s. */
  readonly maxDelayMs?: number
  readonly log: Log
  readonly metrics?: WorkQueueMetrics
  readonly clock?: Clock
}

/** Keys begun in one turn of the event loop: work that waits for nothing real would hold up all else until none is left. */
const keysPerTurn = 64

/** Does the work of one key. Rejecting means: again, later. */
export type Worker = (key: string, signal: AbortSignal) => Promise<void>

export interface WorkQueueRun {
  /** Keys worked on at a time; never the same one twice. Default 1. */
  readonly concurrency?: number
  readonly signal: AbortSignal
}

/**
 * Keys to be worked on, with client-go's semantics: a key waits at most once; added while it is worked on, it is worked
 * on once more afterwards; a key that failed comes back later and later. First come, first served.
 */
export class WorkQueue {
  readonly #baseDelayMs: number
  readonly #maxDelayMs: number
  readonly #log: Log
  readonly #metrics: WorkQueueMetrics
  readonly #clock: Clock
  /** Keys in order of their coming, and when they came. */
  readonly #ready = new Map<string, number>()
  readonly #processing = new Set<string>()
  /** Added while being worked on. */
  readonly #again = new Set<string>()
  readonly #delayed = new Map<string, { readonly at: number; readonly cancel: () => void }>()
  readonly #failures = new Map<string, number>()
  #wake: (() => void) | undefined
  #running = false

  constructor(options: WorkQueueOptions) {
    this.#baseDelayMs = options.baseDelayMs ?? workQueueDefaults.baseDelayMs
    this.#maxDelayMs = options.maxDelayMs ?? workQueueDefaults.maxDelayMs
    this.#log = options.log
    this.#metrics = options.metrics ?? {}
    this.#clock = options.clock ?? systemClock
    if (!(this.#baseDelayMs > 0) || this.#maxDelayMs < this.#baseDelayMs) {
      throw new RangeError('WorkQueue: 0 < baseDelayMs <= maxDelayMs')
    }
  }

  /** Keys ready to be worked on. */
  get depth(): number {
    return this.#ready.size
  }

  /** Nothing waits, is delayed, or is worked on. */
  get idle(): boolean {
    return this.#ready.size + this.#processing.size + this.#again.size + this.#delayed.size === 0
  }

  add(key: string): void {
    if (this.#ready.has(key) || this.#again.has(key)) return
    this.#metrics.added?.()
    if (this.#processing.has(key)) {
      this.#again.add(key)
      return
    }
    this.#push(key)
  }

  /** Adds the key after `ms`; of several delays of one key the soonest counts. */
  addAfter(key: string, ms: number): void {
    if (ms <= 0) {
      this.add(key)
      return
    }
    const at = this.#clock.now() + ms
    const earlier = this.#delayed.get(key)
    if (earlier !== undefined) {
      if (earlier.at <= at) return
      earlier.cancel()
    }
    const cancel = this.#clock.timer(() => {
      this.#delayed.delete(key)
      this.add(key)
    }, ms)
    this.#delayed.set(key, { at, cancel })
  }

  /** The key waits no more; what is under way for it goes on, once. */
  drop(key: string): void {
    this.#delayed.get(key)?.cancel()
    this.#delayed.delete(key)
    this.#again.delete(key)
    this.#failures.delete(key)
    if (this.#ready.delete(key)) this.#metrics.depth?.(this.#ready.size)
  }

  /**
   * Adds the key after its own back-off, which doubles each time until `forget`.
   *
   * @param atLeastMs - a longer wait that a server asked for
   */
  addRateLimited(key: string, atLeastMs = 0): void {
    const failures = this.#failures.get(key) ?? 0
    this.#failures.set(key, failures + 1)
    this.#metrics.retried?.()
    const backoffMs = Math.min(this.#baseDelayMs * 2 ** Math.min(failures, 60), this.#maxDelayMs)
    this.addAfter(key, Math.max(backoffMs, atLeastMs))
  }

  /** The key is well: its next back-off starts from the base. */
  forget(key: string): void {
    this.#failures.delete(key)
  }

  /** How often the key failed since it was last forgotten. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0
  }

  /**
   * Works until the signal aborts; resolves when the workers under way have settled, and leaves the queue empty.
   *
   * A worker that rejects has its key added again with back-off, and no sooner than the API server asked for (429); one
   * that resolves has it forgotten, unless it asked for `addRateLimited` itself.
   */
  async run(worker: Worker, options: WorkQueueRun): Promise<void> {
    const { concurrency = 1, signal } = options
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      throw new RangeError(`WorkQueue: concurrency is ${concurrency}, must be a whole number >= 1`)
    }
    if (this.#running) throw new Error('the queue is worked on already')
    this.#running = true
    const onAbort = (): void => this.#wake?.()
    signal.addEventListener('abort', onAbort)
    const working = new Set<Promise<void>>()
    let begun = 0
    try {
      while (!signal.aborted) {
        const key = working.size < concurrency ? this.#shift() : undefined
        if (key === undefined) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
          this.#wake = undefined
          continue
        }
        const work = this.#work(key, worker, signal).finally(() => {
          working.delete(work)
          this.#wake?.()
        })
        working.add(work)
        begun += 1
        if (begun % keysPerTurn === 0) await nextTurn()
      }
      await Promise.all(working)
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#clear()
      this.#running = false
    }
  }

  async #work(key: string, worker: Worker, signal: AbortSignal): Promise<void> {
    const failures = this.failures(key)
    const startedAt = this.#clock.now()
    const worked = this.#metrics.working?.()
    try {
      await worker(key, signal)
      if (this.failures(key) === failures) this.forget(key)
    } catch (error) {
      if (!signal.aborted) {
        this.addRateLimited(key, error instanceof KubeApiError ? error.retryAfterMs : 0)
        this.#log.warn(
          { key, failures: this.failures(key), err: error },
          'work failed, trying again later',
        )
      }
    } finally {
      worked?.((this.#clock.now() - startedAt) / 1000)
      this.#processing.delete(key)
      if (this.#again.delete(key)) this.#push(key)
    }
  }

  #push(key: string): void {
    this.#ready.set(key, this.#clock.now())
    this.#metrics.depth?.(this.#ready.size)
    this.#wake?.()
  }

  #shift(): string | undefined {
    const first = this.#ready.entries().next()
    if (first.done === true) return undefined
    const [key, addedAt] = first.value
    this.#ready.delete(key)
    this.#processing.add(key)
    this.#metrics.depth?.(this.#ready.size)
    this.#metrics.waited?.((this.#clock.now() - addedAt) / 1000)
    return key
  }

  #clear(): void {
    for (const { cancel } of this.#delayed.values()) cancel()
    this.#delayed.clear()
    this.#ready.clear()
    this.#again.clear()
    this.#failures.clear()
    this.#metrics.depth?.(0)
  }
}
