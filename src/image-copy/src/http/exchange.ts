import { offAbort, onAbort, type StopSignal } from '../abortable.ts'
import { now } from '../clock.ts'
import { StalledError } from './protocol-error.ts'
import type { RequestHead } from './request-head.ts'
import type { ResponseHead } from './response-parser.ts'
import type { Traffic } from './traffic.ts'

/** How long an exchange may take without anything moving. All in milliseconds. */
export interface ExchangeLimits {
  /** From the last byte of the request to the head of the answer. */
  readonly answerMs: number
  /** In this time at least {@link leastBytes} move while the peer is waited for; never a limit on the whole transfer. */
  readonly stallMs: number
  /** For small requests only: from start to the end of the answer. */
  readonly totalMs?: number | undefined
}

/** What is made of an answer's body. */
export interface Reading {
  /** Statuses that were hoped for; what others say is an error's text. */
  readonly expect: readonly number[]
  /** Largest body of a status that was hoped for, in bytes; a longer one of an error is cut. */
  readonly maxBytes?: number | undefined
  /** Where the body of a status that was hoped for goes, instead of being kept: asked when its head has come. */
  readonly sink?: ((head: ResponseHead, exchange: Exchange) => BodySink) | undefined
}

/** An answer with its body; of one that goes into a sink, nothing; of a long error, at most its beginning. */
export interface Answer extends ResponseHead {
  readonly body: Buffer
  readonly exchange: Exchange
}

/** An answer is larger than the reader allows. */
export class AnswerTooLargeError extends Error {
  override readonly name = 'AnswerTooLargeError'

  constructor(limit: number) {
    super(`the answer is larger than ${limit} bytes`)
  }
}

/** Of a body of which nothing else is said. */
const defaultMaxBytes = 64 * 1024
const nothing = Buffer.alloc(0)

/** Less in one stall time is no transfer but a trickle: 1 KiB in a minute would take two years for a gigabyte. */
const leastBytes = 1024

/** Takes a body's bytes. After `false` they stay as they are, and no more come, until {@link Exchange.resume}. */
export type BodySink = (bytes: Buffer) => boolean

/** What an exchange needs of the connection that carries it. */
export interface Carrier {
  write(bytes: Uint8Array, flushed: () => void): boolean
  resume(): void
  destroy(error: Error): void
}

interface ExchangeParts {
  readonly connection: Carrier
  readonly head: RequestHead
  readonly options: ExchangeOptions
}

/** What an exchange has to hold to. */
export interface ExchangeOptions extends Reading {
  readonly limits: ExchangeLimits
  readonly signal: StopSignal
  /** Where it is counted when it is over. */
  readonly traffic?: Traffic | undefined
}

/** One request and its answer. */
export class Exchange {
  readonly #connection: Carrier
  readonly #options: ExchangeOptions
  /** Made when it is asked for; what comes before waits in the next two. */
  #promised: PromiseWithResolvers<Answer> | undefined
  #answer: Answer | undefined
  #head: ResponseHead | undefined
  /** A body that is kept is the first so many bytes of it. */
  #kept = nothing
  /** Bytes of the answer's body so far, kept or given away. */
  #gathered = 0
  /** What a body that is kept may come to. */
  #maxBytes = 0
  #end: PromiseWithResolvers<void> | undefined
  #failure: Error | undefined
  readonly #started = now()
  /** Since when the answer is waited for. */
  #askedAt = Number.POSITIVE_INFINITY
  #sink: BodySink | undefined
  readonly #bodyBytes: number
  #unsent: number
  #unflushed = 0
  #moves = 0
  /** Moves when it was last looked whether anything moved, and when that was. */
  #seen = Number.NEGATIVE_INFINITY
  #lookedAt = this.#started
  #received = false
  #readPaused = false
  #settled = false

  constructor({ connection, head, options }: ExchangeParts) {
    this.#connection = connection
    this.#options = options
    this.#bodyBytes = head.bodyBytes
    this.#unsent = head.bodyBytes
    onAbort(options.signal, this.#onAbort)
    if (this.#unsent === 0) this.#askedAt = this.#started
  }

  /** Whether the request went out whole. */
  get requestSent(): boolean {
    return this.#unsent === 0 && this.#unflushed === 0
  }

  get answered(): boolean {
    return this.#head !== undefined
  }

  /** Whether any byte of an answer came. */
  get receivedBytes(): boolean {
    return this.#received
  }

  get settled(): boolean {
    return this.#settled
  }

  /** The final answer, before the end of a body that goes into a sink. @throws AnswerTooLargeError, or what the sink threw */
  answer(): Promise<Answer> {
    if (this.#answer !== undefined) return Promise.resolve(this.#answer)
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    this.#promised ??= Promise.withResolvers()
    return this.#promised.promise
  }

  /** When the answer has ended, and its sink has all of it. */
  whole(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (this.#settled) return Promise.resolve()
    this.#end ??= Promise.withResolvers()
    return this.#end.promise
  }

  /** Goes on after the sink said `false`. */
  resume(): void {
    this.#readPaused = false
    this.#connection.resume()
  }

  /**
   * Sends bytes of the request's body.
   *
   * @returns whether the kernel took them all, and their memory is free again; else `flushed` is called when that is so
   */
  write(bytes: Uint8Array, flushed?: () => void): boolean {
    if (this.#settled) return false
    if (bytes.length > this.#unsent) throw new RangeError('more body than was announced')
    this.#unsent -= bytes.length
    const taken = this.#connection.write(bytes, () => {
      this.#unflushed -= 1
      this.#wentOut(bytes.length)
      flushed?.()
    })
    if (taken) this.#wentOut(bytes.length)
    else this.#unflushed += 1
    return taken
  }

  #wentOut(bytes: number): void {
    this.#moves += Math.max(bytes, leastBytes)
    if (this.requestSent) this.#askedAt = now()
  }

  /** Ends the exchange and its connection. */
  abort(error: Error): void {
    if (!this.#settled) this.#connection.destroy(error)
  }

  /** For the connection: bytes came. */
  moved(bytes: number): void {
    this.#received = true
    this.#moves += bytes
  }

  /** For the connection; `bodyBytes` as far as announced. */
  takeHead(head: ResponseHead, bodyBytes: number): void {
    const { expect, sink, maxBytes = defaultMaxBytes } = this.#options
    this.#head = head
    const expected = expect.includes(head.status)
    if (expected && sink !== undefined) {
      this.#sink = sink(head, this)
      this.#give(head, nothing)
      return
    }
    this.#maxBytes = expected ? maxBytes : defaultMaxBytes
    if (bodyBytes > this.#maxBytes) this.#tooLarge()
    else if (bodyBytes > 0) this.#maxBytes = bodyBytes
  }

  /** For the connection. @returns whether to go on reading */
  takeBody(bytes: Buffer): boolean {
    const goOn = this.#sink === undefined ? this.#gather(bytes) : this.#giveAway(bytes, this.#sink)
    this.#readPaused = !goOn
    return goOn
  }

  #giveAway(bytes: Buffer, sink: BodySink): boolean {
    this.#gathered += bytes.length
    return sink(bytes)
  }

  #gather(bytes: Buffer): true {
    const before = this.#gathered
    const gathered = before + bytes.length
    if (gathered > this.#maxBytes) {
      this.#tooLarge()
      return true
    }
    // Most answers come in one piece.
    if (before === 0) this.#kept = Buffer.from(bytes)
    else {
      if (gathered > this.#kept.length) this.#grow(gathered)
      bytes.copy(this.#kept, before)
    }
    this.#gathered = gathered
    return true
  }

  /** Doubled, in place of an object for each piece: the peer says how small these are. */
  #grow(least: number): void {
    const kept = this.#kept
    this.#kept = Buffer.allocUnsafe(Math.min(Math.max(least, 2 * kept.length), this.#maxBytes))
    kept.copy(this.#kept)
  }

  /** Of an error the status counts, and of its text the beginning will do; but the connection is not read to its end. */
  #tooLarge(): void {
    const head = this.#head
    if (head !== undefined && !this.#options.expect.includes(head.status))
      this.#give(head, this.#body())
    this.abort(new AnswerTooLargeError(this.#maxBytes))
  }

  /** For the connection: the answer is whole. */
  complete(): void {
    this.#settle()
    this.#end?.resolve()
    if (this.#sink === undefined && this.#head !== undefined) this.#give(this.#head, this.#body())
  }

  /** What was gathered, in memory of that size: it may be held for long. */
  #body(): Buffer {
    const kept = this.#kept
    return kept.length === this.#gathered ? kept : Buffer.from(kept.subarray(0, this.#gathered))
  }

  #give({ status, headers }: ResponseHead, body: Buffer): void {
    const answer = { status, headers, body, exchange: this }
    this.#answer = answer
    this.#promised?.resolve(answer)
  }

  /** For the connection: the answer will not come, or not whole. */
  fail(error: Error): void {
    this.#settle()
    this.#failure = error
    this.#promised?.reject(error)
    this.#end?.reject(error)
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#options.signal.reason
    this.abort(reason instanceof Error ? reason : new Error('aborted', { cause: reason }))
  }

  #settle(): void {
    this.#settled = true
    const { traffic, signal } = this.#options
    const sent = this.#bodyBytes - this.#unsent
    traffic?.ended(this.#head?.status, signal.aborted, sent, this.#gathered)
    offAbort(this.#options.signal, this.#onAbort)
  }

  /** Holds the limits. */
  look(): void {
    const why = this.#overrun(now())
    if (why !== undefined) this.abort(new StalledError(why))
  }

  /**
   * Whether anything moved is looked at once per stallMs by a count of bytes. Waiting for our own side (a stopped sink, a body
   * not given yet) is no stall.
   */
  #overrun(now: number): string | undefined {
    const { answerMs, stallMs, totalMs = Number.POSITIVE_INFINITY } = this.#options.limits
    if (now - this.#started >= totalMs) return `the request took longer than it may (${totalMs} ms)`
    if (!this.answered && now - this.#askedAt >= answerMs) return `no answer within ${answerMs} ms`
    if (now - this.#lookedAt < stallMs) return undefined
    this.#lookedAt = now
    const waitsForPeer = this.#unflushed > 0 || (this.answered && !this.#readPaused)
    const stands = waitsForPeer && this.#moves - this.#seen < leastBytes
    this.#seen = waitsForPeer ? this.#moves : Number.NEGATIVE_INFINITY
    return stands ? `next to nothing moved for ${stallMs} ms` : undefined
  }
}
