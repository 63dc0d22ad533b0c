import type { Exchange } from './exchange.ts'

/**
 * Holds the exchanges of a transport to their limits, all by one timer, since most end long before it looks. The timer is also
 * what keeps the process alive while an exchange is under way: sockets do not.
 */
export class ExchangeWatch {
  readonly #exchanges = new Set<Exchange>()
  #timer: NodeJS.Timeout | undefined
  #lookMs = Number.POSITIVE_INFINITY

  add(exchange: Exchange): void {
    this.#exchanges.add(exchange)
    if (exchange.lookMs < this.#lookMs) {
      clearInterval(this.#timer)
      this.#lookMs = exchange.lookMs
      this.#timer = setInterval(() => this.#look(), this.#lookMs)
    } else if (this.#exchanges.size === 1) this.#timer?.ref()
  }

  delete(exchange: Exchange): void {
    if (this.#exchanges.delete(exchange) && this.#exchanges.size === 0) this.#timer?.unref()
  }

  #look(): void {
    for (const exchange of this.#exchanges) exchange.look()
    if (this.#exchanges.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#lookMs = Number.POSITIVE_INFINITY
  }
}
