import { abortable, Stop, type StopSignal } from '../abortable.ts'

/** Items that one write takes together. */
interface Group<T> {
  readonly items: T[]
  readonly stop: Stop
  /** Callers that still wait for it. */
  wanted: number
  readonly done: Promise<void>
}

/**
 * Writes of one name run one after the other, and each takes along all that was added while the one before it ran: a hundred
 * additions to one list cost a few writes, and none of them is lost between reading and writing.
 */
export class SharedWrites<T> {
  readonly #open = new Map<string, Group<T>>()
  readonly #last = new Map<string, Promise<void>>()

  /**
   * Adds an item to what is written under a name.
   *
   * @param write reads what is there, adds the items, and writes; its signal aborts when nobody waits for it any more
   * @returns when a write with the item ended
   */
  async add(
    name: string,
    item: T,
    signal: StopSignal,
    write: (items: readonly T[], signal: StopSignal) => Promise<void>,
  ): Promise<void> {
    signal.throwIfAborted()
    const group = this.#open.get(name) ?? this.#begin(name, write)
    group.items.push(item)
    group.wanted += 1
    try {
      await abortable(group.done, signal)
    } finally {
      group.wanted -= 1
      if (group.wanted === 0) {
        group.stop.abort(signal.reason)
        // Who comes now wants another one.
        if (this.#open.get(name) === group) this.#open.delete(name)
      }
    }
  }

  #begin(
    name: string,
    write: (items: readonly T[], signal: StopSignal) => Promise<void>,
  ): Group<T> {
    const items: T[] = []
    const stop = new Stop()
    const before = this.#last.get(name)
    const done = (async () => {
      await before?.catch(() => {})
      // What comes from here on is for the next write.
      this.#open.delete(name)
      stop.throwIfAborted()
      await write(items, stop)
    })()
    const group = { items, stop, wanted: 0, done }
    this.#open.set(name, group)
    this.#last.set(name, done)
    const ended = (): void => {
      if (this.#last.get(name) === done) this.#last.delete(name)
    }
    done.then(ended, ended)
    return group
  }
}
