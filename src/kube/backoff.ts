export interface BackoffOptions {
  readonly initialMs: number
  readonly maxMs: number
  /** Each wait is stretched by a random factor in [1, 1 + jitter): many clients do not come back in step. */
  readonly jitter: number
  /** A wait asked for this long after the one before starts again at `initialMs`. */
  readonly resetMs: number
  /** [0, 1). */
  readonly random: () => number
  readonly now: () => number
}

/** client-go's numbers for reflectors: 800 ms, doubled up to 30 s, jitter factor 1, forgotten after 2 quiet minutes. */
export const reflectorBackoff = Object.freeze({
  initialMs: 800,
  maxMs: 30_000,
  jitter: 1,
  resetMs: 120_000,
})

/** Waits that double from failure to failure and start again after a quiet time. */
export class Backoff {
  readonly #options: BackoffOptions
  #nextMs: number
  #lastAt = Number.NEGATIVE_INFINITY

  constructor(options: BackoffOptions) {
    this.#options = options
    this.#nextMs = options.initialMs
  }

  /**
   * Milliseconds to wait now.
   *
   * @param maxMs - before jitter; failures of a kind that is waited for less long stretch later waits no further than that
   */
  next(maxMs: number = this.#options.maxMs): number {
    const { initialMs, jitter, resetMs, random, now } = this.#options
    const at = now()
    if (at - this.#lastAt > resetMs) this.#nextMs = initialMs
    this.#lastAt = at
    const baseMs = Math.min(this.#nextMs, maxMs)
    this.#nextMs = Math.max(this.#nextMs, Math.min(baseMs * 2, maxMs))
    return baseMs * (1 + random() * jitter)
  }
}
