import type { Clock } from './clock.ts'
import { LeaseTimeoutError } from './errors.ts'

export interface RequestLimits {
  readonly clock: Clock
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
}

/**
 * Sends one request and waits for no longer than its time or its signal, whether or not the API client honours either.
 *
 * @throws LeaseTimeoutError; the signal's reason; what the API client rejects with
 */
export function sendRequest<T>(
  verb: string,
  send: (signal: AbortSignal) => Promise<T>,
  limits: RequestLimits,
): Promise<T> {
  const { clock, timeoutMs, signal } = limits
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason)
      return
    }
    const controller = new AbortController()
    const giveUp = (error: unknown): void => {
      finish()
      reject(error)
      controller.abort(error)
    }
    const onAbort = (): void => giveUp(signal?.reason)
    const cancel = clock.timer(() => giveUp(new LeaseTimeoutError(verb, timeoutMs)), timeoutMs)
    const finish = (): void => {
      cancel()
      signal?.removeEventListener('abort', onAbort)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    const answer = (async () => await send(controller.signal))()
    answer.then(
      (value) => {
        finish()
        resolve(value)
      },
      (error: unknown) => {
        finish()
        reject(error)
      },
    )
  })
}

/** The HTTP status that an API client's error bears. */
export function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('status' in error)) return undefined
  return typeof error.status === 'number' ? error.status : undefined
}
