/** What happens during a copy. `image` is the target reference of the image that the event belongs to. */
export type CopyEvent =
  /** Work on an image began. */
  | { readonly type: 'image-started'; readonly image: string; readonly source: string }
  /** A manifest is there now: sent, or found there already. */
  | {
      readonly type: 'manifest-done'
      readonly image: string
      readonly digest: string
      readonly mediaType: string
      readonly bytes: number
      readonly how: 'copied' | 'present'
    }
  /** A blob of this many bytes belongs to the image; what happens to it follows. */
  | {
      readonly type: 'blob-found'
      readonly image: string
      readonly digest: string
      readonly bytes: number
    }
  /** Bytes of a blob were handed to the target; `sent` of `bytes` so far. May go back after a broken upload. */
  | {
      readonly type: 'blob-progress'
      readonly image: string
      readonly digest: string
      readonly sent: number
      readonly bytes: number
    }
  /** A blob is there now. `skipped`: a foreign layer, which stays where its URLs point. */
  | {
      readonly type: 'blob-done'
      readonly image: string
      readonly digest: string
      readonly bytes: number
      readonly how: 'copied' | 'present' | 'mounted' | 'skipped'
    }
  /** A request failed and is tried again after `delayMs`. */
  | {
      readonly type: 'retry'
      readonly image: string
      readonly host: string
      readonly reason: string
      readonly attempt: number
      readonly delayMs: number
    }
  /** A registry told how many pulls are left, as Docker Hub does. */
  | {
      readonly type: 'rate-limit'
      readonly image: string
      readonly host: string
      readonly limit: RateLimit
    }
  /** The image is complete in the target, tag included; of a plan, it is known what that takes. */
  | { readonly type: 'image-done'; readonly image: string; readonly digest: string }
  /** The image was given up; its tag in the target was not moved. */
  | { readonly type: 'image-failed'; readonly image: string; readonly error: Error }

/** Pulls that a registry still allows, by its own headers. */
export interface RateLimit {
  /** Pulls per window, if told. */
  readonly limit?: number | undefined
  readonly remaining: number
  /** Length of the window in seconds, if told. */
  readonly windowSeconds?: number | undefined
}

/** A promise of a result whose progress can be iterated at the same time. */
export type Job<T> = Promise<T> & AsyncIterable<CopyEvent>

/** Events that a slow reader may leave unread; progress of one blob counts once. */
const maxWaiting = 10_000

/**
 * Joins work and the events it emits into one {@link Job}. Events are kept only for readers that started before them: a
 * job nobody iterates keeps none.
 */
export function createJob<T>(
  work: (emit: (event: CopyEvent) => void) => Promise<T>,
  onEvent: ((event: CopyEvent) => void) | undefined,
): Job<T> {
  let readers: readonly EventQueue[] = []
  const emit = (event: CopyEvent): void => {
    onEvent?.(event)
    if (readers.length > 0) for (const reader of readers) reader.push(event)
  }
  // The work starts a turn later, so that a reader that is made at once misses nothing.
  const result = Promise.resolve().then(() => work(emit))
  return Object.assign(result, {
    [Symbol.asyncIterator](): AsyncIterator<CopyEvent> {
      const queue = new EventQueue(() => {
        readers = readers.filter((reader) => reader !== queue)
      })
      const end = (): void => queue.end()
      readers = [...readers, queue]
      result.then(end, end)
      return queue
    },
  })
}

/** A bounded queue: the newest progress of a blob replaces the one before, and beyond the bound progress is dropped. */
class EventQueue implements AsyncIterator<CopyEvent> {
  readonly #waiting: CopyEvent[] = []
  readonly #onClosed: () => void
  #wanted: ((result: IteratorResult<CopyEvent>) => void)[] = []
  #ended = false

  constructor(onClosed: () => void) {
    this.#onClosed = onClosed
  }

  push(event: CopyEvent): void {
    const taker = this.#wanted.shift()
    if (taker !== undefined) {
      taker({ value: event, done: false })
      return
    }
    if (event.type === 'blob-progress') {
      const same = this.#waiting.findLastIndex(
        (it) => it.type === 'blob-progress' && it.digest === event.digest,
      )
      if (same >= 0) {
        this.#waiting[same] = event
        return
      }
      if (this.#waiting.length >= maxWaiting) return
    }
    this.#waiting.push(event)
  }

  end(): void {
    this.#ended = true
    for (const taker of this.#wanted) taker({ value: undefined, done: true })
    this.#wanted = []
  }

  next(): Promise<IteratorResult<CopyEvent>> {
    const event = this.#waiting.shift()
    if (event !== undefined) return Promise.resolve({ value: event, done: false })
    if (this.#ended) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve) => {
      this.#wanted.push(resolve)
    })
  }

  return(): Promise<IteratorResult<CopyEvent>> {
    this.#onClosed()
    this.end()
    this.#waiting.length = 0
    return Promise.resolve({ value: undefined, done: true })
  }
}
