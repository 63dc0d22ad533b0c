import { offAbort, onAbort, type StopSignal } from '../abortable.ts'

/** How often and how patiently a request is tried again. */
export interface RetryOptions {
  /**
   * Tries of one request in all. Default 6: with the delays below, a restart of a registry (about 10 s) is outlived. When a host
   * that never answered has used up those of one request, each of the others is tried once, until it does answer.
   */
  readonly attempts: number
  /** Longest delay before the second try, in milliseconds; doubles from try to try. Default 400. */
  readonly baseMs: number
  /** Longest delay of all, in milliseconds. Default 15,000, to which only uploads come, with more tries. */
  readonly maxMs: number
  /**
   * A registry that asks for more than this (Retry-After) is not waited for. In milliseconds. Default 60,000: limits by the
   * minute are outlived, and one by the hour is for the caller to judge.
   */
  readonly maxRetryAfterMs: number
}

/** How often and after what waits a request is tried where nobody says otherwise. */
export const defaultRetry: RetryOptions = Object.freeze({
  attempts: 6,
  baseMs: 400,
  maxMs: 15_000,
  maxRetryAfterMs: 60_000,
})

/** Exponential, with the upper half random: clients that failed together do not come back together. */
export function backoffMs(
  attempt: number,
  { baseMs, maxMs }: RetryOptions,
  random: () => number,
): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** (attempt - 1))
  return ceiling * (0.5 + random() / 2)
}

/** Retry-After in milliseconds, from seconds or a date (RFC 9110 §10.2.3). */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
  // Date.parse takes much for a date, "-5" too; RFC 9110 has the weekday first.
  const at = /^[A-Z][a-z]{2,8},? /.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

/** Waits; rejects with the signal's reason as soon as that aborts, and leaves no timer behind. */
export function delay(ms: number, signal: StopSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const aborted = (): void => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      offAbort(signal, aborted)
      resolve()
    }, ms)
    onAbort(signal, aborted)
  })
}
