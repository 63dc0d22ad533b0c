/** Time, passed in so that tests can turn it by hand. */
export interface Clock {
  /** Milliseconds on a clock that never jumps; the only one that decides anything. */
  now(): number
  /** Milliseconds since 1970, for the times that are written for people to read. */
  date(): number
  /** Calls back once after `ms`; returns how to call it off. */
  timer(callback: () => void, ms: number): () => void
}

/** The machine's own: CLOCK_MONOTONIC, which goes on while the process is stopped. */
export const systemClock: Clock = Object.freeze({
  now: () => performance.now(),
  date: () => performance.timeOrigin + performance.now(),
  timer: (callback: () => void, ms: number) => {
    const timeout = setTimeout(callback, ms)
    return () => clearTimeout(timeout)
  },
})
