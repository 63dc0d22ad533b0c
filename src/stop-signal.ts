/** One Ctrl-C comes up to three times: to the process group, and once more from npm and from `start.mjs`, which hand it on. */
const SAME_STOP_MS = 1_000

/**
 * Aborted by the first SIGTERM or SIGINT of this process. What comes with it changes nothing; a later one is from somebody who
 * waits no longer, and ends the process at once.
 *
 * @param sameMs for how long a signal is taken for the same one; default: 1 s
 */
export function stopSignal(sameMs: number = SAME_STOP_MS): AbortSignal {
  const stop = new AbortController()
  const signals = ['SIGTERM', 'SIGINT'] as const
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) return
    stop.abort(new Error(`stopped by ${signal}`))
    const leaveToDefault = (): void => {
      for (const each of signals) process.off(each, onSignal)
    }
    setTimeout(leaveToDefault, sameMs).unref()
  }
  for (const each of signals) process.on(each, onSignal)
  return stop.signal
}
