import type { Clock } from '../kube/clock.ts'
import { isAlreadyExists, isConflict, KubeApiError } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'

/** A write that was refused comes again after one second, then twice as late each time, up to a minute. */
export const firstRetryMs = 1000
const lastRetryMs = 60_000

export interface AttemptsOptions {
  readonly log: Log
  readonly clock: Clock
  /** Told of each refusal that is backed off from, by the API server's reason. */
  readonly onRefused: (reason: string) => void
  /** Whether what was refused is to be tried again at once, since kip does it another way from now on. */
  readonly adapts: (error: KubeApiError) => boolean
}

/** Writes, and backs off from what is refused; one object's trouble is not another's. */
export class Attempts {
  readonly #options: AttemptsOptions
  readonly #failing = new Map<string, { readonly count: number; readonly until: number }>()

  constructor(options: AttemptsOptions) {
    this.#options = options
  }

  /**
   * Tries one write, unless it failed just now. What is no answer of the API server is thrown.
   *
   * @param name - of what is written; failures are counted by it
   * @returns milliseconds after which to try again; infinity: it is done
   */
  async try(name: string, write: () => Promise<void>): Promise<number> {
    const { log, clock, onRefused, adapts } = this.#options
    const failing = this.#failing.get(name)
    const waitMs = (failing?.until ?? 0) - clock.now()
    if (waitMs > 0) return waitMs
    try {
      await write()
      this.#failing.delete(name)
      return Number.POSITIVE_INFINITY
    } catch (error) {
      if (!(error instanceof KubeApiError)) throw error
      if (adapts(error)) return 0
      // Somebody wrote in between: the next round reads it.
      if (isConflict(error) || isAlreadyExists(error)) return firstRetryMs
      const { reason, retryAfterMs = 0 } = error
      const count = (failing?.count ?? 0) + 1
      const retryMs = Math.max(Math.min(firstRetryMs * 2 ** (count - 1), lastRetryMs), retryAfterMs)
      this.#failing.set(name, { count, until: clock.now() + retryMs })
      onRefused(reason)
      log.error({ what: name, err: error, retryMs }, 'could not be written, trying again')
      return retryMs
    }
  }
}
