/** Time, passed in so that tests can turn it by hand. */
export interface Clock {
  /** Milliseconds on a clock that never jumps. */
  now(): number
  /** Calls back once after `ms`, however long; returns how to call it off. */
  timer(callback: () => void, ms: number): () => void
}

/** 24.8 days: a longer wait overflows a timer of Node's, which then fires at once. */
const longestTimerMs = 2 ** 31 - 1

/** The machine's monotonic clock. */
export const systemClock: Clock = Object.freeze({
  now: () => performance.now(),
  timer: (callback: () => void, ms: number) => {
    let timeout: NodeJS.Timeout
    const wait = (leftMs: number): void => {
      timeout =
        leftMs > longestTimerMs
          ? setTimeout(wait, longestTimerMs, leftMs - longestTimerMs)
          : setTimeout(callback, leftMs)
    }
    wait(ms)
    return () => clearTimeout(timeout)
  },
})

/** Waits `ms`; rejects with the signal's reason as soon as it aborts. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const onAbort = (): void => {
      cancel()
      reject(signal.reason)
    }
    const cancel = clock.timer(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
