import type { Exchange } from './exchange.ts'

/**
 * Holds the exchanges of a transport to their limits, all by one timer, since most end long before it looks. The timer is also
 * what keeps the process alive while an exchange is under way: sockets do not.
 */
export class ExchangeWatch {
  /** No Set, for the reason that {@link onAbort} has none. */
  readonly #exchanges: Exchange[] = []
  #timer: NodeJS.Timeout | undefined
  #lookMs = Number.POSITIVE_INFINITY

  add(exchange: Exchange): void {
    this.#exchanges.push(exchange)
    if (exchange.lookMs < this.#lookMs) {
      clearInterval(this.#timer)
      this.#lookMs = exchange.lookMs
      this.#timer = setInterval(() => this.#look(), this.#lookMs)
    } else if (this.#exchanges.length === 1) this.#timer?.ref()
  }

  delete(exchange: Exchange): void {
    const at = this.#exchanges.indexOf(exchange)
    const last = at < 0 ? undefined : this.#exchanges.pop()
    if (last === undefined) return
    if (last !== exchange) this.#exchanges[at] = last
    if (this.#exchanges.length === 0) this.#timer?.unref()
  }

  #look(): void {
    for (const exchange of [...this.#exchanges]) exchange.look()
    if (this.#exchanges.length > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#lookMs = Number.POSITIVE_INFINITY
  }
}
