import type { Clock } from './clock.ts'
import { claimLease, type Lease, type LeaseRecord, microTime } from './lease.ts'

/** A claim on its way. */
export interface PendingClaim {
  readonly lease: Lease
  /** The server said that it stands. */
  stands(): void
  /** The server said that it does not. */
  refused(): void
}

/** More than a term's worth of tries; what is older was overtaken by another version. */
const maxUnknown = 64

/**
 * What this process wrote, or tried to. A record is ours when we wrote it, not when it bears our name: two processes
 * that were given one identity must not both lead.
 */
export class Claims {
  readonly #identity: string
  readonly #durationMs: number
  readonly #clock: Clock
  /** The one that stands, as far as we know. */
  #own: string | undefined
  /** Sent without an answer: each may stand, or come to. */
  readonly #unknown = new Set<string>()
  #lastMs = Number.NEGATIVE_INFINITY

  constructor(identity: string, durationMs: number, clock: Clock) {
    this.#identity = identity
    this.#durationMs = durationMs
    this.#clock = clock
  }

  /** The Lease may be ours in the server's eyes. */
  get mayStand(): boolean {
    return this.#own !== undefined || this.#unknown.size > 0
  }

  isOurs(record: LeaseRecord): boolean {
    if (record.holder !== this.#identity) return false
    const key = keyOf(record)
    return key === this.#own || this.#unknown.has(key)
  }

  /**
   * @param base - the Lease that was read; undefined: there is none
   * @param term - the term that goes on; undefined: the one numbered `next` begins
   */
  make(
    base: Lease | undefined,
    term: { readonly acquireTime: string; readonly transitions: number } | undefined,
    next: number,
  ): PendingClaim {
    const renewTime = this.nextTime()
    const claim = {
      holder: this.#identity,
      durationMs: this.#durationMs,
      acquireTime: term?.acquireTime ?? renewTime,
      renewTime,
      transitions: term?.transitions ?? next,
    }
    const key = keyOf(claim)
    this.#unknown.add(key)
    const [oldest] = this.#unknown
    if (this.#unknown.size > maxUnknown && oldest !== undefined) this.#unknown.delete(oldest)
    return {
      lease: claimLease(base, claim),
      stands: () => {
        this.#own = key
        // All that was sent before named an older version, and can come to stand no more.
        this.#unknown.clear()
      },
      refused: () => this.#unknown.delete(key),
    }
  }

  /** The Lease was given up. */
  forget(): void {
    this.#own = undefined
    this.#unknown.clear()
  }

  /** Now, and never twice the same: others tell a renewal by the change of its time, even if the date was set back. */
  nextTime(): string {
    this.#lastMs = Math.max(this.#clock.date(), this.#lastMs + 0.002)
    return microTime(this.#lastMs)
  }
}

function keyOf(record: {
  readonly acquireTime: string
  readonly renewTime: string
  readonly transitions: number
}): string {
  return `${record.acquireTime} ${record.renewTime} ${record.transitions}`
}
