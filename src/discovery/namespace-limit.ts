/** What one namespace may make kip keep. */
export interface NamespaceLimits {
  readonly images: number
  /** Compressed bytes of all platforms; what two names share is counted once. */
  readonly bytes: number
}

/** What is known of an image's bytes; one that was not looked at yet weighs nothing. */
export interface Content {
  readonly digest: string
  readonly bytes: number
}

/**
 * Counts the images of each namespace and their bytes, first come, first served, and turns away what exceeds the limits. What
 * is kept for users to return counts too, and makes room for what is used.
 *
 * Sizes are known only after an image was taken, so that one which was may be turned away later; {@link drain} says which
 * are to be asked for again.
 */
export class NamespaceLimit {
  readonly #limits: NamespaceLimits
  readonly #contentOf: (reference: string) => Content | undefined
  readonly #held = new Map<string, Held>()
  readonly #waiting = new Map<string, Set<string>>()
  readonly #changed = new Set<string>()

  constructor(limits: NamespaceLimits, contentOf: (reference: string) => Content | undefined) {
    this.#limits = limits
    this.#contentOf = contentOf
  }

  /** Whether the namespace's use of the image counts; takes a place for it when there is one. */
  take(namespace: string, reference: string): boolean {
    const held = this.#held.get(namespace) ?? newHeld()
    this.#held.set(namespace, held)
    held.unused.delete(reference)
    const had = held.images.has(reference)
    const isFull = !had && held.images.size >= this.#limits.images
    if (isFull && !this.#dropUnused(held)) return this.#refuse(namespace, reference)
    weigh(held, reference, this.#contentOf(reference)?.bytes ?? 0)
    const beyond = this.#fit(held)
    for (const each of beyond) this.#changed.add(each)
    if (beyond.has(reference)) {
      this.#giveBack(namespace, held, reference)
      // Its place is another's now.
      if (had) for (const each of this.#waiting.get(namespace) ?? []) this.#changed.add(each)
      return this.#refuse(namespace, reference)
    }
    this.#leave(this.#waiting, namespace, reference)
    return true
  }

  /**
   * Whether the namespace may go on holding an image that it uses no more: until it needs the place, and then the one that
   * was used longest ago goes first.
   */
  keep(namespace: string, reference: string): boolean {
    const held = this.#held.get(namespace) ?? newHeld()
    const isFull = !held.images.has(reference) && held.images.size >= this.#limits.images
    if (isFull || this.#waiting.has(namespace)) return false
    const had = held.images.has(reference)
    this.#held.set(namespace, held)
    held.unused.add(reference)
    weigh(held, reference, this.#contentOf(reference)?.bytes ?? 0)
    if (had) this.#fit(held)
    // Nothing goes for what nobody uses: two of them would make room for each other for ever.
    else if (this.#beyond(held).size > 0) drop(held, reference)
    if (held.images.size === 0) this.#held.delete(namespace)
    return held.images.has(reference)
  }

  /** Namespaces that hold an image. */
  holders(reference: string): ReadonlySet<string> {
    const all = [...this.#held].filter(([, { images }]) => images.has(reference))
    return new Set(all.map(([namespace]) => namespace))
  }

  /** Gives back the places of an image in all namespaces but those that use or keep it now. */
  keepOnly(reference: string, namespaces: ReadonlySet<string>): void {
    for (const [namespace, held] of this.#held) {
      if (namespaces.has(namespace) || !held.images.has(reference)) continue
      this.#giveBack(namespace, held, reference)
      for (const each of this.#waiting.get(namespace) ?? []) this.#changed.add(each)
    }
    for (const [namespace, waiting] of this.#waiting) {
      if (!namespaces.has(namespace) && waiting.has(reference)) {
        this.#leave(this.#waiting, namespace, reference)
      }
    }
  }

  /** Images for which the answer may be another now; told once. */
  drain(): readonly string[] {
    const changed = [...this.#changed]
    this.#changed.clear()
    return changed
  }

  /** Images of a namespace that found no place. */
  exceeding(namespace: string): ReadonlySet<string> {
    return this.#waiting.get(namespace) ?? nothing
  }

  #refuse(namespace: string, reference: string): false {
    setOf(this.#waiting, namespace).add(reference)
    return false
  }

  /** Drops what is unused as long as bytes are too many; those that even then do not fit. */
  #fit(held: Held): ReadonlySet<string> {
    let beyond = this.#beyond(held)
    while (beyond.size > 0 && this.#dropUnused(held)) beyond = this.#beyond(held)
    return beyond
  }

  /** The one that was used longest ago; false: all are in use. */
  #dropUnused(held: Held): boolean {
    const [oldest] = held.unused
    if (oldest === undefined) return false
    drop(held, oldest)
    this.#changed.add(oldest)
    return true
  }

  /** Those of the held that do not fit beside all that came before them. */
  #beyond(held: Held): ReadonlySet<string> {
    if (held.bytes <= this.#limits.bytes) return nothing
    const beyond = new Set<string>()
    const counted = new Set<string>()
    let bytes = 0
    for (const reference of held.images.keys()) {
      const content = this.#contentOf(reference)
      if (content === undefined || counted.has(content.digest)) continue
      if (bytes + content.bytes > this.#limits.bytes) {
        beyond.add(reference)
        continue
      }
      bytes += content.bytes
      counted.add(content.digest)
    }
    return beyond
  }

  #giveBack(namespace: string, held: Held, reference: string): void {
    drop(held, reference)
    if (held.images.size === 0) this.#held.delete(namespace)
  }

  #leave(sets: Map<string, Set<string>>, namespace: string, reference: string): void {
    const set = sets.get(namespace)
    set?.delete(reference)
    if (set?.size === 0) sets.delete(namespace)
  }
}

/** What one namespace holds: bytes by image, in the order of their coming, and their sum, two names of one digest twice. */
interface Held {
  readonly images: Map<string, number>
  /** Those of them that are merely kept, in the order in which their last users went. */
  readonly unused: Set<string>
  bytes: number
}

function newHeld(): Held {
  return { images: new Map(), unused: new Set(), bytes: 0 }
}

function drop(held: Held, reference: string): void {
  weigh(held, reference, 0)
  held.images.delete(reference)
  held.unused.delete(reference)
}

function weigh(held: Held, reference: string, bytes: number): void {
  held.bytes += bytes - (held.images.get(reference) ?? 0)
  held.images.set(reference, bytes)
}

const nothing: ReadonlySet<string> = new Set()

function setOf(sets: Map<string, Set<string>>, key: string): Set<string> {
  const known = sets.get(key)
  if (known !== undefined) return known
  const made = new Set<string>()
  sets.set(key, made)
  return made
}
