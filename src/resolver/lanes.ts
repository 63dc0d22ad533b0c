import { parseReference } from '@containers/image-copy'
import type { Clock } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import { type Worker, WorkQueue } from '../kube/work-queue.ts'
import type { Metrics } from '../metrics/metrics.ts'

/** Looks at a time at one registry: docker.io answers a HEAD in some 100 ms, so that 1,000 images take half a minute. */
const looksPerHost = 4

export interface LanesOptions {
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  /** Looks at one image; its signal aborts when the image's registry has no image any more. */
  readonly look: Worker
  /** Ends all of them. */
  readonly signal: AbortSignal
}

/** The images of one registry. */
interface Lane {
  readonly queue: WorkQueue
  readonly references: Set<string>
  readonly end: AbortController
}

/** A queue of images for each registry that has any: whoever makes up images makes up registries too. */
export class Lanes {
  readonly #options: LanesOptions
  readonly #byHost = new Map<string, Lane>()
  readonly #running = new Set<Promise<void>>()

  constructor(options: LanesOptions) {
    this.#options = options
  }

  /** Has an image looked at after `ms`; of several times the soonest counts. What is no reference is passed over. */
  add(reference: string, ms: number): void {
    const host = hostOf(reference)
    if (host === undefined) return
    const lane = this.#byHost.get(host) ?? this.#open(host)
    lane.references.add(reference)
    lane.queue.addAfter(reference, ms)
  }

  /** Has an image looked at no more. */
  leave(reference: string): void {
    const host = hostOf(reference) ?? ''
    const lane = this.#byHost.get(host)
    if (lane === undefined || !lane.references.delete(reference)) return
    lane.queue.drop(reference)
    if (lane.references.size > 0) return
    this.#byHost.delete(host)
    lane.end.abort()
  }

  /** Resolves when no look is under way. */
  async ended(): Promise<void> {
    await Promise.all(this.#running)
  }

  #open(host: string): Lane {
    const { log, clock, metrics, look, signal } = this.#options
    const end = new AbortController()
    const queue = new WorkQueue({
      log,
      clock,
      baseDelayMs: 1_000,
      maxDelayMs: 60_000,
      metrics: metrics.workQueue('resolver'),
    })
    const lane: Lane = { queue, references: new Set(), end }
    this.#byHost.set(host, lane)
    const running = queue
      .run(look, { concurrency: looksPerHost, signal: AbortSignal.any([signal, end.signal]) })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
    return lane
  }
}

function hostOf(reference: string): string | undefined {
  try {
    return parseReference(reference).registry
  } catch {
    return undefined
  }
}
