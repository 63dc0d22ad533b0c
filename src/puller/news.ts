/** What people were told of and is still so: each is news once, and once when it is over. */
export class News {
  readonly #told = new Map<string, string>()

  /**
   * Whether it is news, of which the caller tells now.
   *
   * @param what is so now; told again as soon as it is something else
   */
  comes(key: string, what = ''): boolean {
    if (this.#told.get(key) === what) return false
    this.#told.set(key, what)
    return true
  }

  /** Forgets what is so no more; gives its keys. */
  ends(isStill: (key: string) => boolean): readonly string[] {
    const ended = [...this.#told.keys()].filter((key) => !isStill(key))
    for (const key of ended) this.#told.delete(key)
    return ended
  }
}
