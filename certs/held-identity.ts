import type { Log } from '../src/kube/log.ts'
import type { Metrics } from '../src/metrics/metrics.ts'
import type { ServingIdentity } from './identity.ts'
import { endOf } from './secret.ts'

/** What every source has: the last good identity, who wants to know of a new one, and what is counted. */
export class HeldIdentity {
  readonly loaded: Promise<void>
  readonly #listeners = new Set<(identity: ServingIdentity) => void>()
  readonly #log: Log
  readonly #reads
  readonly #end
  #current: ServingIdentity | undefined
  #markLoaded: () => void = () => {}
  #failing = false

  constructor(log: Log, metrics: Metrics) {
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
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes an identity that was read; tells of it only when it is another one. */
  accept(identity: ServingIdentity): void {
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
    for (const listener of this.#listeners) listener(identity)
  }

  /** Counts a failed read; the log hears of the first in a row, the rest would only repeat it every few seconds. */
  fail(err: unknown): void {
    this.#reads.inc({ result: 'error' })
    const fields = { err, serving: this.#current !== undefined }
    if (this.#failing) this.#log.debug(fields, 'webhook certificate still cannot be read')
    else this.#log.warn(fields, 'webhook certificate cannot be read; the last good one stays')
    this.#failing = true
  }
}
