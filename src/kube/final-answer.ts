import type { KubeClient } from './client.ts'
import { type Clock, sleep } from './clock.ts'
import { KubeApiError } from './errors.ts'

export interface FinalAnswerOptions<T> {
  readonly client: KubeClient
  /** Asks the API server something. */
  readonly ask: () => Promise<T>
  /** Whether the answer may be due to nothing but a server that has just started. */
  readonly isDoubtful: (answer: T) => boolean
  readonly signal: AbortSignal
  readonly clock: Clock
}

/** Many times what a server takes to read its roles; a start waits so long only where it is not told that the server is ready. */
const doubtMs = 10_000
const askAgainMs = 1_000

/**
 * The answer to what is asked once and then believed for good. A server that has just started refuses what it allows until it
 * has read its roles: a doubtful answer counts when the server was ready before it was asked for, or when it stays for 10 s.
 *
 * @throws what `ask` throws; the signal's reason when aborted
 * @see https://kubernetes.io/docs/reference/using-api/health-checks/ `informer-sync` is a part of `readyz`
 */
export async function finalAnswer<T>(options: FinalAnswerOptions<T>): Promise<T> {
  const { client, ask, isDoubtful, signal, clock } = options
  const believedAt = clock.now() + doubtMs
  for (let wasReady = false; ; ) {
    const answer = await ask()
    if (!isDoubtful(answer) || wasReady || clock.now() >= believedAt) return answer
    wasReady = await isReady(client, signal)
    if (!wasReady) await sleep(clock, askAgainMs, signal)
  }
}

/** Roles let everybody ask by default (`system:public-info-viewer`), as soon as they are read. */
async function isReady(client: KubeClient, signal: AbortSignal): Promise<boolean> {
  try {
    await client.raw({ method: 'GET', path: '/readyz', accept: '*/*', signal })
    return true
  } catch (error) {
    if (error instanceof KubeApiError) return false
    throw error
  }
}
