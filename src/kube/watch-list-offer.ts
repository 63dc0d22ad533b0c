import { isUnreachable, KubeApiError } from './errors.ts'

/**
 * Whether to ask a server for the initial list as a stream (WatchList): one without it refuses, or sends what is no initial
 * list, and is not asked again.
 */
export class WatchListOffer {
  #isOpen: boolean
  #failures = 0

  constructor(isOpen: boolean) {
    this.#isOpen = isOpen
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  succeeded(): void {
    this.#failures = 0
  }

  /**
   * It did not come to its end.
   *
   * @param error - undefined: the stream ended before its initial events did
   * @returns whether the server was found to have no WatchList
   */
  failed(error: unknown): boolean {
    if (isUnreachable(error)) return false
    if (error instanceof KubeApiError && (error.reason === 'Broken' || error.status >= 401)) {
      if (error.status !== 422) return false
    }
    this.#failures += 1
    if (!isRefusedQuery(error) && this.#failures < 2) return false
    this.#isOpen = false
    return true
  }
}

/** The server does not take the parameters. */
export function isRefusedQuery(error: unknown): boolean {
  return error instanceof KubeApiError && (error.status === 400 || error.status === 422)
}
