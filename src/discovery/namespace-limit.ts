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
 * Counts the images of each namespace and their bytes, first come, first served, and turns away what exceeds the limits.
 *
 * Sizes are known only after an image was taken, so that one which was may be turned away later; {@link drain} says which
 * are to be asked for again.
 */
export class NamespaceLimit {
  readonly #limits: NamespaceLimits
  readonly #contentOf: (reference: string) => Content | undefined
  /** In the order of their coming. */
  readonly #held = new Map<string, Set<string>>()
  readonly #waiting = new Map<string, Set<string>>()
  readonly #changed = new Set<string>()

  constructor(limits: NamespaceLimits, contentOf: (reference: string) => Content | undefined) {
    this.#limits = limits
    this.#contentOf = contentOf
  }

  /** Whether the namespace's use of the image counts; takes a place for it when there is one. */
  take(namespace: string, reference: string): boolean {
    const held = setOf(this.#held, namespace)
    const had = held.has(reference)
    if (!had && held.size >= this.#limits.images) return this.#refuse(namespace, reference)
    held.add(reference)
    const beyond = this.#beyond(held)
    for (const each of beyond) this.#changed.add(each)
    if (beyond.has(reference)) {
      this.#leave(this.#held, namespace, reference)
      // Its place is another's now.
      if (had) for (const each of this.#waiting.get(namespace) ?? []) this.#changed.add(each)
      return this.#refuse(namespace, reference)
    }
    this.#leave(this.#waiting, namespace, reference)
    return true
  }

  /** Gives back the places of an image in all namespaces but those that use it now. */
  keepOnly(reference: string, namespaces: ReadonlySet<string>): void {
    for (const [namespace, held] of this.#held) {
      if (namespaces.has(namespace) || !held.has(reference)) continue
      this.#leave(this.#held, namespace, reference)
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

  /** Those of the held that do not fit beside all that came before them. */
  #beyond(held: ReadonlySet<string>): ReadonlySet<string> {
    const beyond = new Set<string>()
    const counted = new Set<string>()
    let bytes = 0
    for (const reference of held) {
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

  #leave(sets: Map<string, Set<string>>, namespace: string, reference: string): void {
    const set = sets.get(namespace)
    set?.delete(reference)
    if (set?.size === 0) sets.delete(namespace)
  }
}

const nothing: ReadonlySet<string> = new Set()

function setOf(sets: Map<string, Set<string>>, key: string): Set<string> {
  const known = sets.get(key)
  if (known !== undefined) return known
  const made = new Set<string>()
  sets.set(key, made)
  return made
}
