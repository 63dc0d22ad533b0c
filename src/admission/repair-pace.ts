import type { Clock } from '../kube/clock.ts'

const quietMs = 120_000
const firstMs = 1_000
const maxMs = 300_000

/**
 * How fast to repair what somebody keeps changing: at once, then after one second, two, four, up to five minutes; after
 * two quiet minutes at once again. Two controllers that each insist do no harm so.
 */
export class RepairPace {
  readonly #clock: Clock
  #lastAt = Number.NEGATIVE_INFINITY
  #pauseMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How long the next repair has to wait; 0: not at all. */
  waitMs(): number {
    return Math.max(0, this.#lastAt + this.#pauseMs - this.#clock.now())
  }

  /** Takes note of a repair that is made now. */
  repaired(): void {
    const now = this.#clock.now()
    const quiet = now - this.#lastAt > this.#pauseMs + quietMs
    this.#pauseMs = quiet ? 0 : Math.min(maxMs, Math.max(firstMs, this.#pauseMs * 2))
    this.#lastAt = now
  }
}
