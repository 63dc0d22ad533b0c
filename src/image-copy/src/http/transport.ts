import { abortable, Stop } from '../abortable.ts'
import type { DialPurpose } from './address.ts'
import { Connection } from './connection.ts'
import { type Dialer, needsGathering } from './dial.ts'
import { DialError } from './dial-errors.ts'
import type { Answer, Exchange, ExchangeOptions } from './exchange.ts'
import { ExchangeWatch } from './exchange-watch.ts'
import { hostOf, type Origin, originKey } from './origin.ts'
import { ConnectionLostError } from './protocol-error.ts'
import { ReadBuffer } from './read-buffer.ts'
import { ReadStops } from './read-stops.ts'
import { CheckedHeaders, type RequestHead, requestHead } from './request-head.ts'

export interface TransportOptions {
  readonly dialer: Dialer
  /** How long an unused connection is kept, in milliseconds; at most half as long again. */
  readonly idleMs: number
  /** Value of User-Agent. */
  readonly userAgent: string
}

export interface TransportRequest extends ExchangeOptions {
  readonly origin: Origin
  readonly purpose: DialPurpose
  readonly method: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: Uint8Array | undefined
  /** Size of a body that is written by the caller, instead of `body`. */
  readonly bodyBytes?: number | undefined
}

interface Pool {
  /** {@link hostOf} the origin. */
  readonly host: string
  /** The longest idle first. */
  readonly idle: Connection[]
  /** Connections that were asked for ahead of the requests which will take them. */
  readonly warming: Promise<Connection>[]
  /** Connections that are open or being opened, busy ones too. */
  count: number
  /** There was a connection once. */
  reached: boolean
}

/** Where a registry is, for rules about what it may point to. */
interface Whereabouts {
  address: string | undefined
}

/** A request that was sent. */
interface Opened {
  readonly exchange: Exchange
  /** On a connection that was there, and may have been closed by the peer as the request went out. */
  readonly reused: boolean
}

/** Where a request goes, and what for. */
export type TransportPeer = Pick<TransportRequest, 'origin' | 'purpose' | 'signal' | 'traffic'>

/**
 * HTTP/1.1 over pooled connections: the one transport for every request this package makes.
 *
 * Why its own: piping blobs through streams or fetch costs 1.5 to 3.6 times the CPU of reading into one fixed buffer and
 * writing out of it. And why for small requests too: a HEAD warms the connection that the blob then takes, and address
 * rule, proxy, TLS identity and parser exist once, where tests attack them, instead of once per client. Loading a general
 * client would also cost more memory than all copies together use.
 *
 * Connections are shared only within scheme, host, port, TLS identity and proxy; one that is taken again is held against
 * the address rule for its new purpose.
 */
export class Transport {
  readonly #options: TransportOptions
  readonly #pools = new Map<string, Pool>()
  /** The same, found without putting the key together: whoever sends many requests gives the same object with each. */
  readonly #poolOf = new WeakMap<Origin, Pool>()
  readonly #open = new Set<Connection>()
  readonly #common: CheckedHeaders
  readonly #watch = new ExchangeWatch()
  readonly #stops = new ReadStops()
  readonly #whereabouts = new Map<string, Whereabouts>()
  readonly #stop = new Stop()
  #sweeper: NodeJS.Timeout | undefined
  #sweeps = 0
  #closed = false

  constructor(options: TransportOptions) {
    this.#options = options
    this.#common = new CheckedHeaders({
      'Accept-Encoding': 'identity',
      'User-Agent': options.userAgent,
    })
  }

  /** Where the registry `host` was reached last. */
  whereabouts(host: string): Readonly<Whereabouts> {
    let whereabouts = this.#whereabouts.get(host)
    if (whereabouts === undefined) {
      whereabouts = { address: undefined }
      this.#whereabouts.set(host, whereabouts)
    }
    return whereabouts
  }

  /**
   * Sends a request; a body of `bodyBytes` is then written by the caller.
   *
   * @param fresh on a connection of its own
   * @returns at once where a connection is free: the many small requests of a copy wait for their answers only
   */
  open(request: TransportRequest, fresh = false): Opened | Promise<Opened> {
    const { origin, body } = request
    const bodyBytes = body?.length ?? request.bodyBytes ?? 0
    const pool = this.#pool(origin)
    const head = requestHead({
      origin,
      host: pool.host,
      method: request.method,
      path: request.path,
      common: this.#common,
      headers: request.headers,
      bodyBytes,
    })
    if (this.#closed) throw new Error('the registry client is closed')
    if (request.signal.aborted) throw request.signal.reason
    const idle = fresh ? undefined : this.#takeIdle(pool, request)
    if (idle !== undefined) return { exchange: idle.start(head, body, request), reused: true }
    return this.#openNew(pool, request, head, fresh)
  }

  async #openNew(
    pool: Pool,
    request: TransportRequest,
    head: RequestHead,
    fresh: boolean,
  ): Promise<Opened> {
    const warm =
      fresh || pool.warming.length === 0 ? undefined : await this.#takeWarm(pool, request)
    const connection = warm ?? (await this.#connect(pool, request))
    return {
      exchange: connection.start(head, request.body, request),
      reused: warm !== undefined,
    }
  }

  /** Sends a request and waits for its answer. @throws at once what {@link open} throws */
  send(request: TransportRequest): Promise<Answer> {
    const opened = this.open(request)
    if (opened instanceof Promise) return opened.then((it) => this.#answerOf(it, request))
    return this.#answerOf(opened, request)
  }

  #answerOf({ exchange, reused }: Opened, request: TransportRequest): Promise<Answer> {
    const answer = exchange.answer()
    if (!reused) return answer
    return answer.catch(async (error) => {
      // A kept connection may have been closed by the peer just as the request went out (RFC 9112 §9.3.1). Everything sent
      // this way is safe to send twice: reads, whole PUTs, and POSTs whose repetition starts an upload that is never used.
      if (!(error instanceof ConnectionLostError && error.beforeResponse)) throw error
      const again = await this.open(request, true)
      return await again.exchange.answer()
    })
  }

  /**
   * Opens connections ahead of requests that will want `count` at a time, so that their handshakes take no time of the
   * requests. Those that are open already count. A failure is left to the request that meets it.
   */
  warm(peer: TransportPeer, count: number): void {
    const pool = this.#pool(peer.origin)
    while (!this.#closed && pool.count < count) {
      const warming = this.#connect(pool, peer)
      pool.warming.push(warming)
      const over = (): boolean => {
        const at = pool.warming.indexOf(warming)
        if (at >= 0) pool.warming.splice(at, 1)
        return at >= 0
      }
      warming.then((connection) => over() && this.#keep(pool, connection), over)
    }
  }

  /** Ends every connection. */
  close(): void {
    this.#closed = true
    this.#stop.abort(new Error('the registry client is closed'))
    clearInterval(this.#sweeper)
    this.#pools.clear()
    for (const connection of [...this.#open])
      connection.destroy(new Error('the registry client is closed'))
  }

  #takeIdle(pool: Pool, request: TransportRequest): Connection | undefined {
    for (let idle = pool.idle.pop(); idle !== undefined; idle = pool.idle.pop())
      if (idle.closed === undefined) return this.#allowed(idle, request)
    return undefined
  }

  /** Takes a connection that is being opened. @returns undefined when there is none, or none came of it */
  async #takeWarm(pool: Pool, request: TransportRequest): Promise<Connection | undefined> {
    const { signal } = request
    const warming = pool.warming.shift()
    if (warming === undefined) return undefined
    try {
      const connection = await abortable(
        warming.catch(() => undefined),
        signal,
      )
      if (connection === undefined || connection.closed !== undefined) return undefined
      return this.#allowed(connection, request)
    } catch (error) {
      if (signal.aborted) warming.then((connection) => this.#keep(pool, connection)).catch(() => {})
      throw error
    }
  }

  /** Holds a connection's address against the rule for what it is taken for. */
  #allowed(connection: Connection, { origin, purpose }: TransportRequest): Connection {
    if (connection.allowedFor === purpose) return connection
    try {
      this.#options.dialer.require(connection.remoteAddress, origin, purpose)
    } catch (error) {
      connection.destroy()
      throw error
    }
    connection.allowedFor = purpose
    return connection
  }

  #pool(origin: Origin): Pool {
    const known = this.#poolOf.get(origin)
    if (known !== undefined) return known
    const key = originKey(origin)
    let pool = this.#pools.get(key)
    if (pool === undefined) {
      pool = { host: hostOf(origin), idle: [], warming: [], count: 0, reached: false }
      this.#pools.set(key, pool)
    }
    this.#poolOf.set(origin, pool)
    return pool
  }

  async #connect(pool: Pool, request: TransportPeer): Promise<Connection> {
    const { origin, purpose, traffic } = request
    const buffer = new ReadBuffer(needsGathering(origin))
    const connection = new Connection({
      buffer,
      watch: this.#watch,
      stops: this.#stops,
      onIdle: (idle, reusable) => {
        if (reusable) this.#keep(pool, idle)
        else if (this.#open.delete(idle)) pool.count -= 1
      },
    })
    pool.count += 1
    try {
      const socket = await this.#options.dialer.dial(
        origin,
        purpose,
        { room: buffer.room, onBytes: connection.onBytes },
        [request.signal, this.#stop],
      )
      connection.attach(socket)
    } catch (error) {
      pool.count -= 1
      if (traffic && !request.signal.aborted && !this.#closed) traffic.failedConnections += 1
      // A name that was there comes back: in clusters it is gone while what it names is restarted.
      throw pool.reached && error instanceof DialError ? error.passing() : error
    }
    pool.reached = true
    if (traffic) traffic.connections += 1
    this.#open.add(connection)
    if (!purpose.derived && connection.remoteAddress !== undefined && origin.proxy === undefined) {
      const whereabouts: Whereabouts = this.whereabouts(purpose.registry)
      whereabouts.address = connection.remoteAddress
    }
    return connection
  }

  #keep(pool: Pool, connection: Connection): void {
    connection.idleSince = this.#sweeps
    pool.idle.push(connection)
    this.#sweeper ??= setInterval(() => this.#sweep(), this.#options.idleMs / 2).unref()
  }

  /** Ends connections that were not used for long; one timer for all, since most are taken again at once. */
  #sweep(): void {
    this.#sweeps += 1
    let left = 0
    for (const { idle } of this.#pools.values()) {
      // Two whole stretches between sweeps, and the part of one that it was idle before them.
      while (idle[0] !== undefined && this.#sweeps - idle[0].idleSince > 2) idle.shift()?.destroy()
      left += idle.length
    }
    if (left > 0) return
    clearInterval(this.#sweeper)
    this.#sweeper = undefined
  }
}
