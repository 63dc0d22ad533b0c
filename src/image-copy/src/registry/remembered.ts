/** Two megabytes with their names; a cluster has some hundreds of repositories and tags. */
const maxNames = 4096

/** What was last seen of names at a registry; of too many, the first are forgotten. */
export class Remembered<T> {
  readonly #seen = new Map<string, T>()

  /** @param name a repository, or one of its tags: `library/nginx:1` */
  get(name: string): T | undefined {
    return this.#seen.get(name)
  }

  /** @param what undefined: it is not there, or not in a way that it can be asked for again by */
  set(name: string, what: T | undefined): void {
    this.#seen.delete(name)
    if (what === undefined) return
    this.#seen.set(name, what)
    if (this.#seen.size <= maxNames) return
    for (const oldest of this.#seen.keys()) {
      this.#seen.delete(oldest)
      return
    }
  }
}
