/** Who wants to be told of something; its functions may be handed on. */
export class Listeners<News extends readonly unknown[] = []> {
  readonly #all = new Set<(...news: News) => void>()

  /** Has it told from now on; gives how to stop. */
  readonly add = (listener: (...news: News) => void): (() => void) => {
    this.#all.add(listener)
    return () => this.#all.delete(listener)
  }

  readonly tell = (...news: News): void => {
    for (const listener of this.#all) listener(...news)
  }
}
