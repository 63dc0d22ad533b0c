import type { KubeClient } from './client.ts'
import { type Clock, sleep, systemClock } from './clock.ts'
import { KubeApiError, unlessForbidden } from './errors.ts'

export interface DoubtOptions {
  readonly client: KubeClient
  readonly clock?: Clock
}

export interface Question<T> {
  /** Asks the API server something. */
  readonly ask: () => Promise<T>
  /** Whether the answer may be due to nothing but a server that has just started. */
  readonly isDoubtful: (answer: T) => boolean
  readonly signal: AbortSignal
}

/** Many times what a server takes to read its roles; a start waits so long only where it is not told that the server is ready. */
const doubtMs = 10_000
const askAgainMs = 1_000

/**
 * Doubt in a server that has just started: it refuses what it allows until it has read its roles, and some questions are asked
 * once, and their answers believed for good.
 *
 * Questions that follow each other share one doubt. Where nobody says whether the server is ready, refusing many of them costs
 * no longer a wait than refusing one.
 */
export class Doubt {
  readonly #client: KubeClient
  readonly #clock: Clock
  /** When doubtful answers count. */
  #believedAt = Number.NEGATIVE_INFINITY
  /** When there was one last. */
  #raisedAt = Number.NEGATIVE_INFINITY

  constructor({ client, clock = systemClock }: DoubtOptions) {
    this.#client = client
    this.#clock = clock
  }

  /**
   * The answer to believe: a doubtful one counts when the server was ready before it was asked for, or 10 s after the doubt
   * began, be it with another question.
   *
   * @throws what `ask` throws; the signal's reason when aborted
   * @see https://kubernetes.io/docs/reference/using-api/health-checks/ `informer-sync` is a part of `readyz`
   */
  async finalAnswer<T>({ ask, isDoubtful, signal }: Question<T>): Promise<T> {
    const askedAt = this.#clock.now()
    if (askedAt - this.#raisedAt > doubtMs) this.#believedAt = askedAt + doubtMs
    for (let wasReady = false; ; ) {
      const answer = await ask()
      if (!isDoubtful(answer)) return answer
      this.#raisedAt = this.#clock.now()
      if (wasReady || this.#raisedAt >= this.#believedAt) return answer
      wasReady = await isReady(this.#client, signal)
      if (!wasReady) await sleep(this.#clock, askAgainMs, signal)
    }
  }

  /** What `ask` answers, or `otherwise` where kip may not ask, which is doubted. */
  async unlessForbidden<T, U>(
    ask: () => Promise<T>,
    otherwise: U,
    signal: AbortSignal,
  ): Promise<T | U> {
    const answer = await this.finalAnswer({
      ask: () =>
        unlessForbidden(
          ask().then((value) => ({ value })),
          undefined,
        ),
      isDoubtful: (answer) => answer === undefined,
      signal,
    })
    return answer === undefined ? otherwise : answer.value
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
