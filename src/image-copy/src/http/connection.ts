import type { Socket } from 'node:net'
import type { DialPurpose } from './address.ts'
import { type Carrier, Exchange, type ExchangeOptions } from './exchange.ts'
import type { ExchangeWatch } from './exchange-watch.ts'
import { ConnectionLostError, ProtocolError } from './protocol-error.ts'
import type { ReadBuffer } from './read-buffer.ts'
import type { ReadStops } from './read-stops.ts'
import type { RequestHead } from './request-head.ts'
import { ResponseParser } from './response-parser.ts'
import { certificateRefusal } from './socket-events.ts'

const nothing = Buffer.alloc(0)
/** The peer sent all it meant to: only by that is a body whole which has no other end (RFC 9112 §8). */
const ended = new Error('the peer closed the connection')
const gone = new Error('the socket was closed')

export interface ConnectionParts {
  readonly buffer: ReadBuffer
  readonly watch: ExchangeWatch
  readonly stops: ReadStops
  /** Called when an exchange has ended, and when the connection has; `reusable` tells them apart. */
  readonly onIdle: (connection: Connection, reusable: boolean) => void
}

/**
 * One socket and the exchange that is under way on it.
 *
 * All reads go to a buffer that lives as long as the connection. A body's bytes are lent to the exchange's sink out of it; a
 * sink that cannot take more says `false`, and the bytes stay where they are until {@link Connection.resume}. Meanwhile a plain
 * socket is not read, and others fill a second block of the buffer before they are stopped. Reads are not copied, but for what
 * comes through a proxy, and a read that was under way when its block was lent.
 */
export class Connection implements Carrier {
  readonly #parser = new ResponseParser()
  readonly #buffer: ReadBuffer
  #socket: Socket | undefined
  #exchange: Exchange | undefined
  /** Of a request whose body has not begun to come: until then the peer could do nothing with it, and so both leave together. */
  #head: string | undefined
  #rest: Buffer | undefined
  /** The sink takes no more for now; see also {@link #stopped}. */
  #paused = false
  /** The socket is not read: what the kernel holds for it stays there. */
  #stopped = false
  /** Why it can carry no more. */
  closed: Error | undefined
  /** The purpose for which the address was found right last. */
  allowedFor: DialPurpose | undefined
  /** For the pool: which of its sweeps was the last before the connection became idle. */
  idleSince = 0
  readonly #watch: ExchangeWatch
  readonly #stops: ReadStops
  readonly #onIdle: (connection: Connection, reusable: boolean) => void

  constructor({ buffer, watch, stops, onIdle }: ConnectionParts) {
    this.#buffer = buffer
    this.#watch = watch
    this.#stops = stops
    this.#onIdle = onIdle
  }

  /** Takes over a connected socket. */
  attach(socket: Socket): void {
    this.#socket = socket
    // Of heads, which then need not say it each.
    socket.setDefaultEncoding('latin1')
    // Exchanges keep the process alive, by their watch; an idle socket does not.
    socket.unref()
    socket.on('error', (error) => this.#lost(error))
    socket.on('end', () => this.#lost(ended))
    socket.on('close', () => this.#lost(gone))
    // A TLS socket that is read into a buffer of ours has to be told to flow.
    if (this.#buffer.gathers) socket.resume()
  }

  get remoteAddress(): string | undefined {
    return this.#socket?.remoteAddress
  }

  /** Sends a request's head, with a small body if there is one. */
  start(head: RequestHead, body: Uint8Array | undefined, options: ExchangeOptions): Exchange {
    const socket = this.#socket
    if (socket === undefined || this.#exchange !== undefined)
      throw new Error('connection is not free')
    this.#parser.begin(head.method)
    const exchange = new Exchange({ connection: this, head, options })
    this.#exchange = exchange
    if (this.closed !== undefined) {
      exchange.fail(lossOf(this.closed, 'the connection was closed', true))
      return exchange
    }
    this.#watch.add(exchange, options.limits)
    if (head.bodyBytes === 0) socket.write(head.text)
    else this.#head = head.text
    if (body !== undefined && body.length > 0) exchange.write(body)
    return exchange
  }

  /** @returns whether the kernel took all of it already; else `done` is called when it has */
  write(bytes: Uint8Array, done: () => void): boolean {
    const socket = this.#socket
    if (socket === undefined || socket.destroyed) return false
    const head = this.#head
    if (head !== undefined) {
      this.#head = undefined
      socket.cork()
      socket.write(head)
    }
    // The kernel mostly takes it at once, and to be told so costs a turn of its own.
    socket.write(bytes)
    if (head !== undefined) socket.uncork()
    if (socket.writableLength === 0) return true
    // Flushed after it.
    socket.write(nothing, (error) => {
      if (!error) done()
    })
    return false
  }

  /** For the dialer: so many bytes came to the room that the buffer gave. @returns false to stop reading */
  readonly onBytes = (length: number): boolean => {
    const exchange = this.#exchange
    if (exchange === undefined) {
      this.destroy(new ProtocolError('bytes came without a request'))
      return true
    }
    exchange.moved(length)
    const buffer = this.#buffer
    buffer.brought(length)
    if (!this.#paused) return this.#worthATurn() ? this.#handOn() : true
    // A plain socket reads into what the sink was lent. It cannot be: reading stops before.
    if (!buffer.gathers || buffer.overflows) {
      this.destroy(new ConnectionLostError('bytes came that nobody had asked for', false))
      return true
    }
    this.#stopped = buffer.nearlyEnough
    return !this.#stopped
  }

  /** Of a body whose bytes come in small reads, many make one piece. */
  #worthATurn(): boolean {
    const buffer = this.#buffer
    return !buffer.gathers || buffer.enough || this.#parser.bodyLeft <= buffer.filled
  }

  /** @returns whether to read on */
  #handOn(): boolean {
    const buffer = this.#buffer
    const length = buffer.filled
    const block = buffer.take()
    if (this.#advance(block, length)) return true
    if (buffer.gathers) {
      buffer.lend()
      return true
    }
    // A buffer that was not filled is not read into again in this turn of the event loop, at whose end most sinks go on.
    this.#stopped = length === block.length
    if (!this.#stopped) this.#stops.add(this)
    return !this.#stopped
  }

  /** At the end of a turn: does not read on, if the sink still takes no more. */
  stopReading(): void {
    if (!this.#paused || this.#stopped) return
    this.#stopped = true
    this.#socket?.pause()
  }

  #readOn(): void {
    if (!this.#stopped) return
    this.#stopped = false
    this.#socket?.resume()
  }

  /** Goes on reading after a sink said `false`. */
  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    const rest = this.#rest
    this.#rest = undefined
    if (!this.#advance(rest ?? nothing, rest?.length ?? 0)) return
    const buffer = this.#buffer
    buffer.reclaim()
    if (this.closed !== undefined) this.#conclude(this.closed)
    else if (buffer.filled === 0 || !this.#worthATurn() || this.#handOn()) this.#readOn()
  }

  destroy(error?: Error): void {
    this.closed ??= error ?? new Error('closed')
    const exchange = this.#exchange
    this.#exchange = undefined
    this.#head = undefined
    this.#rest = undefined
    this.#socket?.destroy()
    if (exchange !== undefined) {
      this.#watch.delete(exchange)
      exchange.fail(error ?? new ConnectionLostError('the connection was closed', false))
    }
    this.#onIdle(this, false)
  }

  /**
   * Reads answers out of the first `length` bytes of `input` until they are used up, the sink stops, or the answer is whole.
   * Only bytes of a body are worth a view of their own.
   */
  #advance(input: Buffer, length: number): boolean {
    let at = 0
    try {
      for (;;) {
        const exchange = this.#exchange
        if (exchange === undefined) return true
        const step = this.#parser.read(input, at, length)
        if (step.kind === 'more') return true
        at = step.at
        let goOn = true
        if (step.kind === 'head') {
          if (step.bodyBytes > 0) this.#buffer.expect(step.bodyBytes)
          exchange.takeHead(step.head, step.bodyBytes)
        } else if (step.kind === 'body') {
          const whole = step.from === 0 && at === input.length
          goOn = exchange.takeBody(whole ? input : input.subarray(step.from, at))
        }
        if (this.#exchange === undefined) return true
        if (!goOn) {
          this.#paused = true
          this.#rest = at < length ? input.subarray(at, length) : undefined
          return false
        }
        if (step.last) {
          this.#finish(exchange, at === length && this.#buffer.filled === 0)
          return true
        }
      }
    } catch (error) {
      this.destroy(error as Error)
      return true
    }
  }

  #finish(exchange: Exchange, clean: boolean): void {
    this.#exchange = undefined
    this.#watch.delete(exchange)
    const reusable =
      clean && this.#parser.keepAlive && exchange.requestSent && this.closed === undefined
    if (!reusable) {
      this.closed ??= new Error('not reusable')
      this.#socket?.destroy()
    }
    this.#onIdle(this, reusable)
    exchange.complete()
  }

  #lost(error: Error): void {
    if (this.closed !== undefined) return
    this.closed = error
    if (this.#paused) return
    this.#conclude(error)
  }

  #conclude(error: Error): void {
    // What came before the end counts.
    if (this.#exchange !== undefined && this.#buffer.filled > 0) this.#handOn()
    if (this.#paused) return
    const exchange = this.#exchange
    this.#socket?.destroy()
    if (exchange === undefined) {
      this.#onIdle(this, false)
      return
    }
    if (error === ended && this.#parser.finish()) {
      this.#finish(exchange, true)
      return
    }
    this.#exchange = undefined
    this.#watch.delete(exchange)
    this.#onIdle(this, false)
    const where = exchange.answered ? 'inside the answer' : 'before an answer'
    const before = !exchange.answered && !exchange.receivedBytes
    exchange.fail(lossOf(error, `the connection broke ${where}`, before))
  }
}

function lossOf(error: Error, message: string, beforeResponse: boolean): Error {
  return certificateRefusal(error) ?? new ConnectionLostError(message, beforeResponse, error)
}
