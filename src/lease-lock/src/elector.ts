import { type Clock, systemClock } from './clock.ts'
import { ContendedLease, type Held } from './contended-lease.ts'
import { LeaseLostError, LeaseRunningError } from './errors.ts'
import { readRecord } from './lease.ts'
import {
  jitterFactor,
  type LeaseElectorOptions,
  type Log,
  silent,
  type Timing,
  timingOf,
} from './options.ts'
import { Pause } from './pause.ts'
import { statusOf } from './request.ts'

/** One time of leading, as the guarded work gets it. */
export interface Term {
  /** Aborts when leadership is lost, before it ends for others, and when `run` is told to stop. */
  readonly signal: AbortSignal
  /** Grows from term to term of one Lease object: its leaseTransitions. */
  readonly fence: number
  /** Fencing token for guarded writes: `${uid of the Lease}/${fence}`. */
  readonly token: string
  /**
   * Whether this very term lasts. Compares clocks at each call, as `isLeader()`, and is false for good in all terms but
   * the present one: to be asked right before a write is sent.
   */
  holds(): boolean
}

interface Leading {
  validUntil: number
  held: Held
  /** Ends the term because the Lease is no longer ours. */
  readonly lose: (why: string) => void
}

/**
 * Contends for a Lease with others of its kind and with client-go's electors, and works while it leads.
 *
 * Safe under any delay, loss and reordering of messages, pauses of the process and skew of clocks, as long as clocks'
 * rates differ by less than leaseDuration/renewDeadline: `isLeader()` is true in one of these electors at a time. Work
 * that was begun while leading may still reach a server later; give its writes the resourceVersion or `term.token`.
 */
export class LeaseElector {
  readonly #identity: string
  readonly #timing: Timing
  readonly #clock: Clock
  readonly #random: () => number
  readonly #log: Log
  readonly #lease: ContendedLease
  readonly #pause: Pause
  #leading: Leading | undefined
  #running = false

  /** @throws LeaseConfigError */
  constructor(options: LeaseElectorOptions) {
    const { api, identity, onLeader = () => {} } = options
    this.#timing = timingOf(options)
    this.#identity = identity
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    this.#log = options.log ?? silent
    this.#lease = new ContendedLease({
      ...{ api, identity, onLeader },
      ...{ timing: this.#timing, clock: this.#clock, log: this.#log },
    })
    this.#pause = new Pause(this.#clock)
  }

  /** Whether this one leads now. Compares clocks at each call: true after no pause, stall or stop longer than the term. */
  isLeader(): boolean {
    return this.#leading !== undefined && this.#clock.now() < this.#leading.validUntil
  }

  /** Who held the Lease when it was last seen; undefined: nobody. */
  get leader(): string | undefined {
    return this.#lease.leader
  }

  /**
   * Contends until it leads, then works. Resolves when the signal aborted (after release), when the work ended by itself
   * (after release), or when leadership was lost; may then be called again, for another term.
   *
   * @param work - what only the leader does; must end soon after its signal aborts: the Lease is kept until it has
   * @throws LeaseRunningError when it runs already; what `work` throws while it leads
   */
  async run(work: (term: Term) => Promise<void>, signal: AbortSignal): Promise<void> {
    if (this.#running) throw new LeaseRunningError(this.#identity)
    this.#running = true
    const end = new AbortController()
    void this.#lease.watch(() => this.#pause.poke(), end.signal)
    try {
      const held = await this.#acquire(signal)
      if (held !== undefined && !signal.aborted) await this.#lead(held, work, signal)
      // A write that got no answer may stand all the same.
      else if (this.#lease.mayBeOurs) await this.#release()
    } finally {
      end.abort()
      this.#running = false
    }
  }

  /** Tries until it holds the Lease; undefined: the signal aborted. */
  async #acquire(signal: AbortSignal): Promise<Held | undefined> {
    let failing = false
    while (!signal.aborted) {
      const triedAt = this.#clock.now()
      try {
        const held = await this.#tryAcquire(signal)
        failing = false
        if (held !== undefined) {
          const { renewDeadlineMs, marginMs } = this.#timing
          if (this.#clock.now() < held.sentAt + renewDeadlineMs - marginMs) return held
        }
      } catch (error) {
        if (signal.aborted) break
        // Who was too late has nothing to complain of; of failures in a row the first says all.
        const fails = statusOf(error) !== 409
        const level = fails && !failing ? 'warn' : 'debug'
        failing ||= fails
        this.#log[level](this.#fields(error), 'the Lease cannot be tried for')
      }
      await this.#waitForTry(triedAt, signal)
    }
    return undefined
  }

  /** As soon as the Lease seems free, and at any rate after the jittered period. */
  async #waitForTry(triedAt: number, signal: AbortSignal): Promise<void> {
    const { retryPeriodMs } = this.#timing
    const pollAt = triedAt + retryPeriodMs * (1 + this.#random() * jitterFactor)
    // Of many candidates that see the Lease become free, and of one that keeps losing the race, none storms the server.
    const soonest = triedAt + (retryPeriodMs / 10) * (1 + this.#random())
    await this.#pause.until(() => Math.min(pollAt, Math.max(soonest, this.#lease.freeAt())), signal)
  }

  async #tryAcquire(signal: AbortSignal): Promise<Held | undefined> {
    const lease = await this.#lease.read(signal)
    if (lease === undefined) {
      await this.#lease.create(signal)
      return undefined
    }
    if (this.#clock.now() < this.#lease.freeAt()) return undefined
    return await this.#lease.claim(lease, undefined)
  }

  async #lead(held: Held, work: (term: Term) => Promise<void>, signal: AbortSignal): Promise<void> {
    const stop = new AbortController()
    const over = new AbortController()
    let cancelEnd = (): void => {}
    const leading: Leading = {
      validUntil: 0,
      held,
      lose: (why) => {
        if (this.#leading !== leading) return
        this.#leading = undefined
        const error = new LeaseLostError(this.#identity, why)
        this.#log.warn({ identity: this.#identity, why }, 'leadership is lost')
        stop.abort(error)
        over.abort(error)
      },
    }
    const extend = (next: Held): void => {
      cancelEnd()
      leading.held = next
      leading.validUntil = next.sentAt + this.#timing.renewDeadlineMs
      const leftMs = leading.validUntil - this.#timing.marginMs - this.#clock.now()
      cancelEnd = this.#clock.timer(() => leading.lose('it was not renewed in time'), leftMs)
    }
    const onAbort = (): void => stop.abort(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const { transitions: fence, uid } = readRecord(held.lease)
    this.#leading = leading
    extend(held)
    this.#log.info({ identity: this.#identity, fence }, 'leading')
    const working = runWork(work, {
      signal: stop.signal,
      fence,
      token: `${uid}/${fence}`,
      holds: () => this.#leading === leading && this.isLeader(),
    })
    const ended = working.finally(() => {
      over.abort()
      this.#pause.poke()
    })
    let outcome: { readonly error: unknown } | undefined
    try {
      await this.#keep(leading, extend, over.signal)
      outcome = await ended
    } finally {
      cancelEnd()
      signal.removeEventListener('abort', onAbort)
      this.#leading = undefined
    }
    await this.#release()
    if (outcome === undefined) return
    if (!stop.signal.aborted) throw outcome.error
    this.#log.debug(this.#fields(outcome.error), 'the work ended with an error when it was stopped')
  }

  /** Renews until `over` aborts: the work ended, or the Lease was lost. */
  async #keep(leading: Leading, extend: (held: Held) => void, over: AbortSignal): Promise<void> {
    const { retryPeriodMs, marginMs } = this.#timing
    let nextAt = this.#clock.now() + retryPeriodMs
    while (!over.aborted) {
      // A change by another's hand is looked at soon, not at the next renewal.
      const soonest = this.#clock.now() + retryPeriodMs / 10
      await this.#pause.until(
        () => (this.#lease.isAsWritten ? nextAt : Math.min(soonest, nextAt)),
        over,
      )
      if (over.aborted) return
      const triedAt = this.#clock.now()
      nextAt = triedAt + retryPeriodMs
      try {
        const held = await this.#renew(leading, over)
        if (held === undefined) continue
        // The time was over before the answer came, and only the timer's call had not come yet.
        if (this.#clock.now() >= leading.validUntil - marginMs) {
          leading.lose('it was not renewed in time')
        } else extend(held)
      } catch (error) {
        if (over.aborted) return
        this.#log.warn(this.#fields(error), 'the Lease was not renewed, trying again')
      }
    }
  }

  async #renew(leading: Leading, over: AbortSignal): Promise<Held | undefined> {
    const { lease } = leading.held
    const term = readRecord(lease)
    try {
      return await this.#lease.claim(lease, term, over)
    } catch (error) {
      if (over.aborted) throw error
      this.#log.debug(this.#fields(error), 'the Lease is not as we left it, reading it')
    }
    const current = await this.#lease.read(over)
    if (current === undefined) return await this.#lease.claim(undefined, term, over, lease)
    const record = readRecord(current)
    if (record.holder !== '' && !this.#lease.isOurs(record)) {
      leading.lose(`${record.holder} holds the Lease`)
      return undefined
    }
    return await this.#lease.claim(current, term, over)
  }

  /** Gives the Lease up, if what is stored says that it is ours. */
  async #release(): Promise<void> {
    const { renewDeadlineMs, retryPeriodMs } = this.#timing
    const deadline = this.#clock.now() + renewDeadlineMs
    let failure: unknown
    while (this.#clock.now() < deadline) {
      try {
        if (await this.#lease.release())
          this.#log.info({ identity: this.#identity }, 'the Lease is released')
        return
      } catch (error) {
        failure = error
        if (statusOf(error) === 404) return
        const waitMs = statusOf(error) === 409 ? retryPeriodMs / 10 : retryPeriodMs / 2
        const at = this.#clock.now() + waitMs
        await this.#pause.until(() => at)
      }
    }
    this.#log.warn(this.#fields(failure), 'the Lease could not be released, it will run out')
  }

  #fields(error: unknown): object {
    return { identity: this.#identity, err: error }
  }
}

/** The work's outcome as a value: undefined, or the error that it ended with. */
async function runWork(
  work: (term: Term) => Promise<void>,
  term: Term,
): Promise<{ readonly error: unknown } | undefined> {
  try {
    await work(term)
    return undefined
  } catch (error) {
    return { error }
  }
}
