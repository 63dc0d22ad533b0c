import type { Exchange, ExchangeLimits } from './exchange.ts'

/**
 * Holds the exchanges of a transport to their limits, all by one timer, since most end long before it looks. The timer is also
 * what keeps the process alive while an exchange is under way: sockets do not.
 */
export class ExchangeWatch {
  /** No Set, for the reason that {@link onAbort} has none. */
  readonly #exchanges: Exchange[] = []
  /** Seen last. */
  #limits: ExchangeLimits | undefined
  #timer: NodeJS.Timeout | undefined
  #lookMs = Number.POSITIVE_INFINITY

  add(exchange: Exchange, limits: ExchangeLimits): void {
    this.#exchanges.push(exchange)
    if (this.#exchanges.length === 1) this.#timer?.ref()
    // Those of one registry share their limits.
    if (limits === this.#limits) return
    this.#limits = limits
    const { answerMs, stallMs, totalMs = Number.POSITIVE_INFINITY } = limits
    // Each limit is noticed at most half the smallest late.
    const lookMs = Math.min(answerMs, stallMs, totalMs) / 2
    if (lookMs >= this.#lookMs) return
    clearInterval(this.#timer)
    this.#lookMs = lookMs
    this.#timer = setInterval(() => this.#look(), lookMs)
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
    this.#limits = undefined
    this.#lookMs = Number.POSITIVE_INFINITY
  }
}
