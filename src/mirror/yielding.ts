import type { CpuShare } from './cpu-share.ts'

/** For work that does not ask by itself, such as TLS handshakes and reading what the API server tells. */
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

  /**
   * Rests now if it is due. To be called wherever a piece of work is done: after a rest, one turn of the event loop brings all
   * that came meanwhile, tens of milliseconds of work, before any timer does.
   */
  readonly check = (): void => {
    const ms = this.#share?.pauseMs() ?? 0
    if (ms > 0) Atomics.wait(this.#rest, 0, 0, ms)
  }

  /** Does the work, yielding meanwhile; no timer is left when none is under way. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#working++
    this.#timer ??= setInterval(this.check, TICK_MS)
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
}
