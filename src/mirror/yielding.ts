import type { CpuShare } from './cpu-share.ts'

/** A MiB is hashed in 3 ms: a share is overdrawn by not much more than that. */
const TICK_MS = 5

/**
 * Holds this process to its share of CPU time while any work is under way, by stopping its only thread: whatever it is that
 * costs the time, copying, TLS or reading what the API server tells.
 */
export class Yielding {
  readonly #share: Pick<CpuShare, 'pauseMs'> | undefined
  readonly #rest = new Int32Array(new SharedArrayBuffer(4))
  #working = 0
  #timer: NodeJS.Timeout | undefined

  /** @param share - absent: nothing to hold to, work is only counted */
  constructor(share?: Pick<CpuShare, 'pauseMs'>) {
    this.#share = share
  }

  /** Does the work, yielding meanwhile; no timer is left when none is under way. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#working++
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS)
    try {
      return await work()
    } finally {
      this.#working--
      if (this.#working === 0) {
        clearInterval(this.#timer)
        this.#timer = undefined
      }
    }
  }

  #tick(): void {
    const ms = this.#share?.pauseMs() ?? 0
    if (ms > 0) Atomics.wait(this.#rest, 0, 0, ms)
  }
}
