import type { Decoded } from './decoder.ts'

/** A change of one object, as callbacks get it. */
export interface ReflectorEvent<T> {
  readonly type: 'added' | 'updated' | 'deleted'
  /** `namespace/name`, or `name`. */
  readonly key: string
  readonly uid: string
  /** What stands now; of a deleted object, what stood last. */
  readonly value: T
  /** What stood before an update. */
  readonly previous?: T
}

interface Entry<T> {
  uid: string
  resourceVersion: string
  value: T
}

/**
 * The objects of one reflector, by key. Turns what the server says into changes: repeated news is none, and a namesake
 * with another uid is a deletion and an addition.
 */
export class ObjectStore<T> {
  readonly #entries = new Map<string, Entry<T>>()
  readonly #emit: (event: ReflectorEvent<T>) => void
  /** Keys met by the list under way. */
  #seen: Set<string> | undefined

  constructor(emit: (event: ReflectorEvent<T>) => void) {
    this.#emit = emit
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): T | undefined {
    return this.#entries.get(key)?.value
  }

  *values(): IterableIterator<T> {
    for (const entry of this.#entries.values()) yield entry.value
  }

  *entries(): IterableIterator<[string, T]> {
    for (const [key, entry] of this.#entries) yield [key, entry.value]
  }

  /** A full list begins: what it does not name by its end is gone. */
  beginReplace(): void {
    this.#seen = new Set()
  }

  endReplace(): void {
    const seen = this.#seen
    this.#seen = undefined
    if (seen === undefined) return
    for (const key of this.#entries.keys()) if (!seen.has(key)) this.#drop(key)
  }

  /** An object as it stands; value undefined: it is none of ours. */
  put(object: Decoded<T | undefined>): void {
    const { key, uid, resourceVersion, value } = object
    if (value === undefined) {
      this.#drop(key)
      return
    }
    this.#seen?.add(key)
    const entry = this.#entries.get(key)
    if (entry !== undefined && entry.uid === uid) {
      if (entry.resourceVersion === resourceVersion && resourceVersion !== '') return
      const previous = entry.value
      entry.resourceVersion = resourceVersion
      entry.value = value
      this.#emit({ type: 'updated', key, uid, value, previous })
      return
    }
    if (entry !== undefined) this.#drop(key)
    this.#entries.set(key, { uid, resourceVersion, value })
    this.#emit({ type: 'added', key, uid, value })
  }

  /** The server says that an object is gone. */
  remove(object: Decoded<T | undefined>): void {
    const entry = this.#entries.get(object.key)
    if (entry !== undefined && entry.uid === object.uid) this.#drop(object.key)
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#emit({ type: 'deleted', key, uid: entry.uid, value: entry.value })
  }
}
