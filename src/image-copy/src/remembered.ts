/** Two megabytes with their names; a cluster has some hundreds of repositories and tags. */
const maxNames = 4096

/** What was last seen of names: of repositories, tags, origins; of too many, the first are forgotten. */
export class Remembered<T> {
  readonly #seen = new Map<string, T>()
  readonly #most: number

  constructor(most: number = maxNames) {
    this.#most = most
  }

  get(name: string): T | undefined {
    return this.#seen.get(name)
  }

  /** @param what undefined: it is not there, or not in a way that it can be used again */
  set(name: string, what: T | undefined): void {
    this.#seen.delete(name)
    if (what === undefined) return
    this.#seen.set(name, what)
    const [oldest] = this.#seen.keys()
    if (this.#seen.size > this.#most && oldest !== undefined) this.#seen.delete(oldest)
  }
}
