/** From one doubt of a copy that counts to the next: a node complains at every try, and a look asks for each part of the copy. */
const FIRST_PAUSE_MS = 60_000
/** A copy may be well and the node lack something, such as credentials, for good: then one look an hour is enough. */
const LAST_PAUSE_MS = 3_600_000
/** So long a quiet ends a row of doubts: twice the longest wait of a kubelet between two tries of one pod. */
const QUIET_MS = 600_000

interface Pause {
  readonly until: number
  readonly lengthMs: number
}

/**
 * Copies that nodes could not pull: a backup loses some by retention, garbage collection or a restore, and nothing else would
 * tell kip, which points pods at them. Each doubt is taken once; the pause to the next doubles as long as they keep coming.
 */
export class Doubts {
  readonly #now: () => number
  readonly #open = new Set<string>()
  readonly #pauses = new Map<string, Pause>()

  /** @param now in milliseconds, of any epoch */
  constructor(now: () => number) {
    this.#now = now
  }

  /** @returns whether it counts */
  raise(reference: string): boolean {
    const now = this.#now()
    const last = this.#pauses.get(reference)
    if (last !== undefined && now < last.until) return false
    const isRow = last !== undefined && now < last.until + Math.max(last.lengthMs, QUIET_MS)
    const lengthMs = isRow ? Math.min(2 * last.lengthMs, LAST_PAUSE_MS) : FIRST_PAUSE_MS
    this.#pauses.set(reference, { until: now + lengthMs, lengthMs })
    this.#open.add(reference)
    return true
  }

  has(reference: string): boolean {
    return this.#open.has(reference)
  }

  /** It is being looked into. */
  settle(reference: string): void {
    this.#open.delete(reference)
  }

  /** The image is gone. */
  forget(reference: string): void {
    this.#open.delete(reference)
    this.#pauses.delete(reference)
  }
}
