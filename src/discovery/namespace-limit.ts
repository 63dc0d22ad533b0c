/** Counts the images of each namespace, first come, first served, and turns away what exceeds the limit. */
export class NamespaceLimit {
  readonly #limit: number
  readonly #held = new Map<string, Set<string>>()
  readonly #waiting = new Map<string, Set<string>>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Whether the namespace's use of the image counts; takes a place for it when there is one. */
  take(namespace: string, reference: string): boolean {
    const held = setOf(this.#held, namespace)
    if (held.has(reference)) return true
    if (held.size >= this.#limit) {
      setOf(this.#waiting, namespace).add(reference)
      return false
    }
    held.add(reference)
    this.#leave(this.#waiting, namespace, reference)
    return true
  }

  /**
   * Gives back the places of an image in all namespaces but those that use it now.
   *
   * @returns images that were turned away for want of those places
   */
  keepOnly(reference: string, namespaces: ReadonlySet<string>): readonly string[] {
    const freed: string[] = []
    for (const [namespace, held] of this.#held) {
      if (namespaces.has(namespace) || !held.has(reference)) continue
      this.#leave(this.#held, namespace, reference)
      freed.push(...(this.#waiting.get(namespace) ?? []))
    }
    for (const [namespace, waiting] of this.#waiting) {
      if (!namespaces.has(namespace) && waiting.has(reference)) {
        this.#leave(this.#waiting, namespace, reference)
      }
    }
    return freed
  }

  /** Images of a namespace that found no place. */
  exceeding(namespace: string): number {
    return this.#waiting.get(namespace)?.size ?? 0
  }

  #leave(sets: Map<string, Set<string>>, namespace: string, reference: string): void {
    const set = sets.get(namespace)
    set?.delete(reference)
    if (set?.size === 0) sets.delete(namespace)
  }
}

function setOf(sets: Map<string, Set<string>>, key: string): Set<string> {
  const known = sets.get(key)
  if (known !== undefined) return known
  const made = new Set<string>()
  sets.set(key, made)
  return made
}
