import { Claims } from './claims.ts'
import type { Clock } from './clock.ts'
import {
  freshLease,
  type Lease,
  type LeaseApi,
  type LeaseRecord,
  placeholderLease,
  readRecord,
  releaseLease,
  versionOf,
} from './lease.ts'
import { Observation } from './observation.ts'
import type { Log, Timing } from './options.ts'
import { sendRequest, statusOf } from './request.ts'

/** A write of ours that stands. */
export interface Held {
  readonly lease: Lease
  /** When it was sent: others may count from no earlier moment. */
  readonly sentAt: number
}

export interface ContendedLeaseOptions {
  readonly api: LeaseApi
  readonly identity: string
  readonly timing: Timing
  readonly clock: Clock
  readonly log: Log
  readonly onLeader: (identity: string | undefined) => void
}

/** The Lease as one candidate sees it and writes to it. */
export class ContendedLease {
  readonly #api: LeaseApi
  readonly #identity: string
  readonly #timing: Timing
  readonly #clock: Clock
  readonly #log: Log
  readonly #onLeader: (identity: string | undefined) => void
  readonly #seen: Observation
  readonly #claims: Claims
  #reported: { readonly identity: string | undefined } | undefined
  #newestVersion = -1

  constructor({ api, identity, timing, clock, log, onLeader }: ContendedLeaseOptions) {
    this.#api = api
    this.#identity = identity
    this.#timing = timing
    this.#clock = clock
    this.#log = log
    this.#onLeader = onLeader
    this.#seen = new Observation(timing.leaseDurationMs)
    this.#claims = new Claims(identity, timing.leaseDurationMs, clock)
  }

  /** Who held it when it was last seen; undefined: nobody. */
  get leader(): string | undefined {
    return this.#seen.record?.holder || undefined
  }

  /** Whether what was seen last is what we wrote. */
  get isAsWritten(): boolean {
    const { record } = this.#seen
    return record !== undefined && this.isOurs(record)
  }

  /** Whether a write of ours may stand that got no answer. */
  get mayBeOurs(): boolean {
    return this.#claims.mayStand
  }

  isOurs(record: LeaseRecord): boolean {
    return this.#claims.isOurs(record)
  }

  /** From when on, by the clock, it may be claimed. */
  freeAt(): number {
    // What we ourselves wrote in a term that is over, and whose work has ended, need not run out.
    return this.isAsWritten ? this.#clock.now() : this.#seen.freeAt()
  }

  async read(signal?: AbortSignal): Promise<Lease | undefined> {
    const lease = await this.#send('get', (stop) => this.#api.get(stop), signal)
    this.#see(lease)
    return lease
  }

  /** Creates it where there is none, held by nobody. */
  async create(signal: AbortSignal): Promise<void> {
    const placeholder = placeholderLease(
      this.#timing.leaseDurationMs,
      this.#claims.nextTime(),
      Math.max(0, this.#seen.highestTerm),
    )
    this.#see(await this.#send('create', (stop) => this.#api.create(placeholder, stop), signal))
  }

  /**
   * Writes our claim over `base`, or creates the Lease.
   *
   * @param term - the term that goes on; undefined: a new one begins
   * @param gone - a Lease that was deleted under us, whose labels a new one gets
   */
  async claim(
    base: Lease | undefined,
    term: { readonly acquireTime: string; readonly transitions: number } | undefined,
    signal?: AbortSignal,
    gone?: Lease,
  ): Promise<Held> {
    const template = base ?? (gone === undefined ? undefined : freshLease(gone))
    const claim = this.#claims.make(template, term, this.#seen.highestTerm + 1)
    const sentAt = this.#clock.now()
    try {
      const lease =
        base === undefined
          ? await this.#send('create', (stop) => this.#api.create(claim.lease, stop), signal)
          : await this.#send('update', (stop) => this.#api.update(claim.lease, stop), signal)
      claim.stands()
      this.#see(lease)
      return { lease, sentAt }
    } catch (error) {
      const status = statusOf(error)
      if (status !== undefined && status >= 400 && status < 500) claim.refused()
      throw error
    }
  }

  /** Gives it up, if what is stored says that it is ours; gives whether it did. */
  async release(): Promise<boolean> {
    const lease = await this.read()
    if (lease === undefined || !this.isOurs(readRecord(lease))) return false
    const body = releaseLease(lease, this.#claims.nextTime())
    this.#see(await this.#send('update', (signal) => this.#api.update(body, signal)))
    this.#claims.forget()
    return true
  }

  /** Sees it change until the signal aborts, if the API can watch. */
  async watch(onChange: () => void, signal: AbortSignal): Promise<void> {
    if (this.#api.watch === undefined) return
    try {
      await this.#api.watch((lease) => {
        if (signal.aborted) return
        // A watch may lag behind what was read since; versions of one kind are ordered numbers.
        if (lease !== undefined && versionOf(lease) < this.#newestVersion) return
        this.#see(lease)
        onChange()
      }, signal)
    } catch (error) {
      if (!signal.aborted) this.#warn(error, 'no watch on the Lease, polling alone')
    }
  }

  #send<T>(
    verb: string,
    send: (signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const timeoutMs = this.#timing.requestTimeoutMs
    return sendRequest(verb, send, { clock: this.#clock, timeoutMs, signal })
  }

  #see(lease: Lease | undefined): void {
    this.#seen.see(lease, this.#clock.now())
    if (lease !== undefined) this.#newestVersion = versionOf(lease)
    const identity = this.leader
    if (this.#reported !== undefined && this.#reported.identity === identity) return
    this.#reported = { identity }
    try {
      this.#onLeader(identity)
    } catch (error) {
      this.#warn(error, 'onLeader threw')
    }
  }

  #warn(error: unknown, message: string): void {
    this.#log.warn({ identity: this.#identity, err: error }, message)
  }
}
