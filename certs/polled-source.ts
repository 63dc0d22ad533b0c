import { type Clock, sleep, systemClock } from '../src/kube/clock.ts'
import { Listeners } from '../src/kube/listeners.ts'
import type { Log } from '../src/kube/log.ts'
import type { Metrics } from '../src/metrics/metrics.ts'
import type { ServingIdentity } from './identity.ts'
import { endOf } from './secret.ts'
import type { CertificateSource } from './source.ts'

export interface PolledSourceOptions {
  readonly read: (signal: AbortSignal) => Promise<ServingIdentity>
  /** See {@link CertificateSource.trusted}. Default: nobody has to know. */
  readonly trusted?: (bundle: string) => void
  readonly log: Log
  readonly metrics: Metrics
  /** How often the identity is read. Default 10 000, as long as controller-runtime's certificate watcher waits. */
  readonly pollMs?: number | undefined
  readonly clock?: Clock | undefined
}

/** What every source is: the identity is read again and again, and the last good one is held. */
export class PolledSource implements CertificateSource {
  readonly loaded: Promise<void>
  readonly trusted: (bundle: string) => void
  readonly #read: PolledSourceOptions['read']
  readonly #pollMs: number
  readonly #clock: Clock
  readonly #changes = new Listeners<[identity: ServingIdentity]>()
  readonly #log: Log
  readonly #reads
  readonly #end
  #current: ServingIdentity | undefined
  #markLoaded: () => void = () => {}
  #failing = false
  #last: Promise<void> = Promise.resolve()

  constructor(options: PolledSourceOptions) {
    const { read, trusted = () => {}, log, metrics, pollMs = 10_000, clock = systemClock } = options
    this.#read = read
    this.trusted = trusted
    this.#pollMs = pollMs
    this.#clock = clock
    this.#log = log
    this.loaded = new Promise((resolve) => {
      this.#markLoaded = resolve
    })
    this.#reads = metrics.counter(
      'kip_certificate_reads_total',
      'Reads of the webhook certificate, by result (ok, error).',
      ['result'],
    )
    this.#end = metrics.gauge(
      'kip_certificate_not_after_seconds',
      'When the webhook certificate that is served ends, as a Unix time.',
    )
  }

  current(): ServingIdentity | undefined {
    return this.#current
  }

  onChange(listener: (identity: ServingIdentity) => void): () => void {
    return this.#changes.add(listener)
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.refresh(signal).catch(() => {}) // it was told of
      await sleep(this.#clock, this.#pollMs, signal).catch(() => {}) // aborted
    }
  }

  /** One after the other: a read that began earlier must not undo what a later one found. */
  refresh(signal: AbortSignal): Promise<void> {
    const read = (): Promise<void> => this.#readOnce(signal)
    this.#last = this.#last.then(read, read)
    return this.#last
  }

  async #readOnce(signal: AbortSignal): Promise<void> {
    try {
      this.#accept(await this.#read(signal))
    } catch (error) {
      if (!signal.aborted) this.#fail(error)
      throw error
    }
  }

  /** Takes an identity that was read; tells of it only when it is another one. */
  #accept(identity: ServingIdentity): void {
    this.#reads.inc({ result: 'ok' })
    this.#failing = false
    const before = this.#current
    if (
      before !== undefined &&
      before.certificate === identity.certificate &&
      before.key === identity.key &&
      before.bundle === identity.bundle
    ) {
      return
    }
    const end = endOf(identity)
    this.#current = identity
    this.#end.set(end / 1000)
    this.#log.info({ notAfter: new Date(end).toISOString() }, 'webhook certificate loaded')
    this.#markLoaded()
    this.#changes.tell(identity)
  }

  /** Counts a failed read; the log hears of the first in a row, the rest would only repeat it every few seconds. */
  #fail(err: unknown): void {
    this.#reads.inc({ result: 'error' })
    const fields = { err, serving: this.#current !== undefined }
    if (this.#failing) this.#log.debug(fields, 'webhook certificate still cannot be read')
    else this.#log.warn(fields, 'webhook certificate cannot be read; the last good one stays')
    this.#failing = true
  }
}
