import type { ImageStore } from '../state/store.ts'
import { mirrorOf } from './plan.ts'

type Follower = (isOpen: boolean) => void

/** Knows whether any copy to one backup waits or is being made. */
export class OpenCopies {
  readonly #open = new Set<string>()
  readonly #followers = new Set<Follower>()
  readonly #stop: () => void

  /** @param registry key of the entries: the backup registry as configured */
  constructor({ store, registry }: { readonly store: ImageStore; readonly registry: string }) {
    const look = (reference: string): void => {
      const image = store.get(reference)
      const state = image && mirrorOf(image, registry)?.state
      const before = this.#open.size > 0
      // The claim of a worker that is gone counts: only another worker's coming gives it back.
      if (state === 'Pending' || state === 'Copying') this.#open.add(reference)
      else this.#open.delete(reference)
      const isOpen = this.#open.size > 0
      if (isOpen !== before) for (const follower of this.#followers) follower(isOpen)
    }
    this.#stop = store.onChange(look)
    for (const image of store.list()) look(image.reference)
  }

  /** Tells how it is, now and whenever that changes, until the function that it returns is called. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower)
    follower(this.#open.size > 0)
    return () => this.#followers.delete(follower)
  }

  close(): void {
    this.#stop()
    this.#followers.clear()
  }
}
