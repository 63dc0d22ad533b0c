import type { Decoded } from './decoder.ts'
import type { CompactUid } from './uid.ts'

/** A change of one object, as callbacks get it. */
export interface ReflectorEvent<T> {
  readonly type: 'added' | 'updated' | 'deleted'
  /** `namespace/name`, or `name`. */
  readonly key: string
  /** `uidText` reads it. */
  readonly uid: CompactUid
  /** What stands now; of a deleted object, what stood last. */
  readonly value: T
  /** What stood before an update. */
  readonly previous?: T
}

/** All that is kept of an object besides its key: with that, some 170 bytes beyond the value. */
interface Entry<T> {
  readonly uid: CompactUid
  version: Version
  value: T
}

/** A resourceVersion; as a number, where it is one that is held exactly, it takes no memory of its own. */
type Version = number | string

/**
 * The objects of one reflector, by key. Turns what the server says into changes: repeated news is none, nor is a change of what
 * is not kept, and a namesake with another uid is a deletion and an addition.
 */
export class ObjectStore<T> {
  readonly #entries = new Map<string, Entry<T>>()
  readonly #emit: (event: ReflectorEvent<T>) => void
  readonly #isSame: (a: T, b: T) => boolean
  /** Keys met by the list under way; undefined when none can be missed. */
  #seen: Set<string> | undefined

  /** @param isSame - default: no two values are */
  constructor(
    emit: (event: ReflectorEvent<T>) => void,
    isSame: (a: T, b: T) => boolean = () => false,
  ) {
    this.#emit = emit
    this.#isSame = isSame
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
    this.#seen = this.#entries.size === 0 ? undefined : new Set()
  }

  endReplace(): void {
    const seen = this.#seen
    this.#seen = undefined
    if (seen === undefined) return
    for (const key of this.#entries.keys()) if (!seen.has(key)) this.#drop(key)
  }

  /** An object as it stands; value undefined: it is none of ours. */
  put(object: Decoded<T>): void {
    const { key, uid, resourceVersion, value } = object
    const version = versionOf(resourceVersion)
    if (value === undefined) {
      this.#drop(key)
      return
    }
    this.#seen?.add(key)
    const entry = this.#entries.get(key)
    if (entry !== undefined && entry.uid === uid) {
      if (entry.version === version && version !== '') return
      const previous = entry.value
      entry.version = version
      if (this.#isSame(previous, value)) return
      entry.value = value
      this.#emit({ type: 'updated', key, uid, value, previous })
      return
    }
    if (entry !== undefined) this.#drop(key)
    this.#entries.set(key, { uid, version, value })
    this.#emit({ type: 'added', key, uid, value })
  }

  /** The server says that an object is gone. */
  remove(object: Decoded<T>): void {
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

function versionOf(text: string): Version {
  const number = Number(text)
  return Number.isSafeInteger(number) && String(number) === text ? number : text
}
