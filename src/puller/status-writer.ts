import { isDeepStrictEqual } from 'node:util'
import { type Clock, sleep } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import type { Nodes } from '../state/cached-image.ts'
import { ConflictError, type ImageStore } from '../state/store.ts'

/** Least time between two writes of one image's node counts. */
const statusIntervalMs = 5000

/** Writes at a time: enough for 2,000 images within seconds, too few to be felt by an API server. */
const concurrency = 4

/** How often what changed is written; an image's first news is at most this old. */
const tickMs = 500

/** Writes node counts to the store: only what changed, and of each image at most every five seconds. */
export class StatusWriter {
  readonly #store: ImageStore
  readonly #log: Log
  readonly #clock: Clock
  readonly #due = new Map<string, Nodes>()
  readonly #notBefore = new Map<string, number>()
  #wake = Promise.withResolvers<void>()

  constructor(options: { readonly store: ImageStore; readonly log: Log; readonly clock: Clock }) {
    this.#store = options.store
    this.#log = options.log
    this.#clock = options.clock
  }

  /** The newest counts of an image; what was offered before and is not written yet is forgotten. */
  offer(image: string, nodes: Nodes): void {
    if (isDeepStrictEqual(this.#store.get(image)?.nodes, nodes)) {
      this.#due.delete(image)
      return
    }
    this.#due.set(image, nodes)
    this.#wake.resolve()
  }

  /** Writes until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    void untilAborted(signal).then(() => this.#wake.resolve())
    while (!signal.aborted) {
      await this.#wake.promise
      if (signal.aborted) return
      this.#wake = Promise.withResolvers()
      await this.#flush(signal)
      if (this.#due.size > 0) this.#wake.resolve()
      await sleep(this.#clock, tickMs, signal).catch(() => undefined)
    }
  }

  async #flush(signal: AbortSignal): Promise<void> {
    const now = this.#clock.now()
    const ready = [...this.#due.keys()].filter((image) => (this.#notBefore.get(image) ?? 0) <= now)
    const worker = async (): Promise<void> => {
      for (let image = ready.pop(); image !== undefined; image = ready.pop()) {
        if (signal.aborted) return
        await this.#write(image, signal)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    for (const [image, until] of this.#notBefore) {
      if (until <= now) this.#notBefore.delete(image)
    }
  }

  async #write(image: string, signal: AbortSignal): Promise<void> {
    const nodes = this.#due.get(image)
    const state = this.#store.get(image)
    this.#due.delete(image)
    if (nodes === undefined || state === undefined) return
    if (isDeepStrictEqual(state.nodes, nodes)) return
    this.#notBefore.set(image, this.#clock.now() + statusIntervalMs)
    try {
      await this.#store.putNodes(state, nodes, signal)
    } catch (error) {
      if (signal.aborted) return
      // Offered anew meanwhile is newer than this; else it is tried again.
      if (!this.#due.has(image)) this.#due.set(image, nodes)
      if (error instanceof ConflictError) this.#notBefore.delete(image)
      else this.#log.warn({ image, err: error }, 'node counts were not written, trying again')
    }
  }
}
