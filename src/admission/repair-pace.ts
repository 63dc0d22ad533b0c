import type { Clock } from '../kube/clock.ts'

// Ten hands that edit at once are people; one repair in half a minute is what two controllers that each insist may cost.
const burst = 10
const refillMs = 30_000

/**
 * How fast to repair what somebody keeps changing: ten times at once, then every 30 s; each quiet half minute gives one of
 * the ten back.
 */
export class RepairPace {
  readonly #clock: Clock
  #left = burst
  #filledAt: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#filledAt = clock.now()
  }

  /** How many ms the next repair has to wait; 0: none. */
  waitMs(): number {
    this.#refill()
    return this.#left > 0 ? 0 : this.#filledAt + refillMs - this.#clock.now()
  }

  /** Takes note of a repair that is made now. */
  repaired(): void {
    this.#refill()
    this.#left = Math.max(0, this.#left - 1)
  }

  #refill(): void {
    const now = this.#clock.now()
    const due = Math.floor((now - this.#filledAt) / refillMs)
    this.#left = Math.min(burst, this.#left + due)
    this.#filledAt = this.#left === burst ? now : this.#filledAt + due * refillMs
  }
}
