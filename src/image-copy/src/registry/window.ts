import { offAbort, onAbort, type StopSignal } from '../abortable.ts'

/** Bounds of a {@link Window}. */
export interface WindowLimits {
  /** Requests at a time before anything is known of the host. */
  readonly start: number
  /** Never more than this. */
  readonly max: number
}

/**
 * How many requests of one kind may be under way at one host: additive increase, multiplicative decrease.
 *
 * Until the host first complains each success adds one; afterwards a whole window of successes does. A complaint (429,
 * 503, a stall) halves the window, at most once per `holdMs`, since all requests under way then complain together.
 */
export class Window {
  readonly #max: number
  readonly #waiting: { go: () => void }[] = []
  #size: number
  /** The whole part of it. */
  #places: number
  #active = 0
  #steady = false
  #lastCut = Number.NEGATIVE_INFINITY

  constructor({ start, max }: WindowLimits) {
    this.#size = Math.min(start, max)
    this.#places = Math.floor(this.#size)
    this.#max = max
  }

  /** Requests allowed at a time now. */
  get size(): number {
    return this.#places
  }

  get active(): number {
    return this.#active
  }

  /** Takes a place, which is to be given back by {@link leave}. @returns when there is one; undefined: at once */
  enter(signal: StopSignal): Promise<void> | undefined {
    if (this.#active >= this.#places || this.#waiting.length > 0) return this.#wait(signal)
    this.#active += 1
    return undefined
  }

  leave(): void {
    this.#active -= 1
    if (this.#waiting.length > 0) this.#admit()
  }

  succeeded(): void {
    if (this.#size >= this.#max) return
    const step = this.#steady ? 1 / this.#size : 1
    this.#size = Math.min(this.#max, this.#size + step)
    this.#places = Math.floor(this.#size)
    this.#admit()
  }

  congested(now: number, holdMs = 1000): void {
    if (now - this.#lastCut < holdMs) return
    this.#lastCut = now
    this.#steady = true
    this.#size = Math.max(1, this.#size / 2)
    this.#places = Math.floor(this.#size)
  }

  #admit(): void {
    while (this.#active < this.#places) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#active += 1
      next.go()
    }
  }

  #wait(signal: StopSignal): Promise<void> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const entry = {
        go: () => {
          offAbort(signal, aborted)
          resolve()
        },
      }
      const aborted = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1)
        reject(signal.reason)
      }
      onAbort(signal, aborted)
      this.#waiting.push(entry)
    })
  }
}
