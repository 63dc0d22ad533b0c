import type { Clock } from './clock.ts'

/** A wait whose end can be moved while it lasts. One at a time. */
export class Pause {
  readonly #clock: Clock
  #again: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Waits until the clock has reached `at()`, which is asked again at each poke; resolves at once when aborted. */
  async until(at: () => number, signal?: AbortSignal): Promise<void> {
    while (signal?.aborted !== true) {
      const leftMs = at() - this.#clock.now()
      if (leftMs <= 0) return
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          cancel()
          signal?.removeEventListener('abort', wake)
          this.#again = undefined
          resolve()
        }
        const cancel = this.#clock.timer(wake, leftMs)
        signal?.addEventListener('abort', wake, { once: true })
        this.#again = wake
      })
    }
  }

  poke(): void {
    this.#again?.()
  }
}
