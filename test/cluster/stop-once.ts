import { ClusterError } from './errors.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Aborted by the first SIGINT, SIGTERM or SIGHUP of this process; all that follow are taken too, and change nothing.
 *
 * One Ctrl-C, or one `timeout`, comes up to three times: by the process group, and once more from npm and from `start.mjs`,
 * which hand it on. Nobody may be killed by the second one while they take down what they brought up.
 */
export function stopOnce(): AbortSignal {
  const stop = new AbortController()
  for (const signal of SIGNALS)
    process.on(signal, () =>
      stop.abort(new ClusterError('KIP_CLUSTER_STOPPED', `stopped by ${signal}`)),
    )
  return stop.signal
}
