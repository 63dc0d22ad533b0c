import { type Lease, type LeaseRecord, readRecord, signatureOf } from './lease.ts'

/**
 * What a candidate knows of the Lease: the record, and since when by its own clock it has not changed. Remote times are
 * never compared with the local clock, so that no skew between machines matters; only their clocks' rates do.
 */
export class Observation {
  readonly #ownDurationMs: number
  #record: LeaseRecord | undefined
  #signature: string | undefined
  #since = 0
  #highest = -1

  constructor(ownDurationMs: number) {
    this.#ownDurationMs = ownDurationMs
  }

  /** The last record seen; undefined: none was, or there is no Lease. */
  get record(): LeaseRecord | undefined {
    return this.#record
  }

  /** The highest number of a term seen so far; -1: none. */
  get highestTerm(): number {
    return this.#highest
  }

  /** Notes a sight of the Lease, or of its absence. Any change of the record starts the wait anew. */
  see(lease: Lease | undefined, now: number): void {
    const record = lease === undefined ? undefined : readRecord(lease)
    const signature = record === undefined ? 'absent' : signatureOf(record)
    if (record !== undefined) {
      this.#highest = Math.max(this.#highest, record.transitions, record.mark)
    }
    if (signature === this.#signature) return
    this.#record = record
    this.#signature = signature
    this.#since = now
  }

  /**
   * From when on another may take the Lease.
   *
   * Its record's own duration counts, not ours. Without a holder it is free at once, unless it was not released: a mark says
   * that it was wiped, or takes the place of one that was gone, or it knows of fewer terms than were seen, as an empty one
   * does that somebody put in its place.
   */
  freeAt(): number {
    const record = this.#record
    if (this.#signature === undefined) return Number.POSITIVE_INFINITY
    // There is nothing to take; something can be put in its place.
    if (record === undefined) return this.#since
    if (record.holder === '' || record.durationMs === 0) {
      const released = !record.marked && record.transitions >= this.#highest
      return released ? this.#since : this.#since + this.#ownDurationMs
    }
    return this.#since + record.durationMs
  }
}
