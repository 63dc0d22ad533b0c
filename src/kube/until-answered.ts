import { type Clock, sleep } from './clock.ts'
import type { Log } from './log.ts'

export interface UntilAnsweredOptions {
  readonly log: Pick<Log, 'warn'>
  readonly clock: Clock
  /** Said in the log of each failure, with the error and `waitMs`. */
  readonly complaint: string
  /** What the log says besides. */
  readonly fields?: object
  /** The longest wait, in milliseconds; default 30 s, as reflectors wait: a server that is long away is not pressed. */
  readonly longestMs?: number
  /** Whether a failure is tried again after; one that is not is thrown. Default: each is. */
  readonly isPassing?: (error: unknown) => boolean
}

const firstMs = 1_000

/**
 * Asks until there is an answer, waiting twice as long after each failure; undefined when the signal aborts first.
 *
 * @throws what `ask` throws and `isPassing` does not take for passing
 */
export async function untilAnswered<T>(
  ask: () => Promise<T>,
  options: UntilAnsweredOptions,
  signal: AbortSignal,
): Promise<T | undefined> {
  const { log, clock, complaint, fields, longestMs = 30_000, isPassing = () => true } = options
  for (let waitMs = firstMs; !signal.aborted; waitMs = Math.min(longestMs, waitMs * 2)) {
    try {
      return await ask()
    } catch (error) {
      if (signal.aborted) return undefined
      if (!isPassing(error)) throw error
      log.warn({ ...fields, err: error, waitMs }, complaint)
      await sleep(clock, waitMs, signal).catch(() => undefined)
    }
  }
  return undefined
}
