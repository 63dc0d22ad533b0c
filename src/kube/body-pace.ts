import type { Dispatcher } from 'undici'

export interface BodyPaceOptions {
  /** Takes the chunks. What it throws ends the exchange. */
  readonly onChunk: (chunk: Buffer) => void
  /**
   * Asked when all that had come is handed on: for how many milliseconds what comes next may be gathered. Default: not at all,
   * nor with 0.
   */
  readonly restMs?: (() => number) | undefined
}

/** What is waiting is handed on for so long; then everybody else has a turn. Long against a turn, short against a webhook's answer. */
const sliceMs = 5

/**
 * A body that comes faster is not gathered, in bytes a millisecond: each rest would fill all buffers on the way, and its server
 * wait for it to end. Four times what 500 changes of pods a second are.
 */
const floodRate = 10_000

/**
 * Hands on the body of an answer, neither faster nor oftener than is good for the event loop.
 *
 * A server that sends faster than the chunks are taken would never let go of it: libuv reads two mebibytes before it looks at
 * anybody else. One that sends chunk by chunk wakes it for each, and to wake costs as much as to read what came: socket, TLS and
 * parser begin anew with cold caches. So there are slices, and there may be rests, in which the kernel and the socket's own
 * buffer, which is small, keep what comes. Nothing stands still: whenever the body is paused, an immediate or a timer of this
 * class is under way that lets it go on.
 */
export class BodyPace {
  readonly #onChunk: (chunk: Buffer) => void
  readonly #restMs: () => number
  /** When the turn of the event loop began in which chunks are handed on; undefined: none were yet. */
  #turnAt: number | undefined
  #turnEnd: NodeJS.Immediate | undefined
  #rest: NodeJS.Timeout | undefined
  /** What came since when; looked at each time that a rest could have ended. */
  #bytes = 0
  #countedFrom = performance.now()
  #isFlood = false

  constructor({ onChunk, restMs = () => 0 }: BodyPaceOptions) {
    this.#onChunk = onChunk
    this.#restMs = restMs
  }

  take(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // A pause begins with the chunk that comes next: one more is handed on in a rest, and it begins no turn.
    if (this.#turnAt === undefined && this.#rest === undefined) {
      this.#turnAt = performance.now()
      this.#turnEnd = setImmediate(() => this.#endTurn(controller))
    }
    this.#bytes += chunk.length
    this.#onChunk(chunk)
    if (this.#turnAt !== undefined && performance.now() - this.#turnAt > sliceMs) controller.pause()
  }

  /** The answer is over, whichever way. */
  stop(): void {
    clearImmediate(this.#turnEnd)
    clearTimeout(this.#rest)
  }

  #endTurn(controller: Dispatcher.DispatchController): void {
    this.#turnAt = undefined
    const restMs = controller.paused ? 0 : this.#restMs()
    if (restMs === 0 || this.#comesAsFlood(restMs)) {
      controller.resume()
      return
    }
    controller.pause()
    this.#rest = setTimeout(() => {
      this.#rest = undefined
      controller.resume()
    }, restMs)
  }

  /** Whether more came than may be gathered, in the last time as long as a rest. */
  #comesAsFlood(restMs: number): boolean {
    const now = performance.now()
    const elapsedMs = now - this.#countedFrom
    if (elapsedMs >= restMs) {
      this.#isFlood = this.#bytes > floodRate * elapsedMs
      this.#bytes = 0
      this.#countedFrom = now
    }
    return this.#isFlood
  }
}
