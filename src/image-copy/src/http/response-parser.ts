import { HeaderFields, requireFields } from './header-fields.ts'
import { ProtocolError } from './protocol-error.ts'

/** Status and headers of one answer. */
export interface ResponseHead {
  readonly status: number
  readonly headers: HeaderFields
}

/**
 * What {@link ResponseParser.read} found at the front of its input. Offsets are into that input; with the `last` step the answer
 * is whole, and bytes from `at` on belong to nothing that was asked for.
 */
export type ParserStep =
  /** All of the input was taken; the answer goes on. */
  | { readonly kind: 'more' }
  | {
      readonly kind: 'head'
      readonly head: ResponseHead
      /** Bytes of its body, as far as their number was announced; else 0. */
      readonly bodyBytes: number
      readonly at: number
      readonly last: boolean
    }
  /** Bytes of the body from `from` up to `at`. */
  | { readonly kind: 'body'; readonly from: number; readonly at: number; readonly last: boolean }
  /** Nothing was left but the end. */
  | { readonly kind: 'end'; readonly at: number; readonly last: true }

/** 32 KiB of head is four times what nginx and Go's defaults send at most in practice (CDN cookies included). */
const maxHeadBytes = 32 * 1024
/** Registries send none; proxies send 100 or 103 once. */
const maxInterim = 8
/** A chunk's size line with extensions, or one trailer line. */
const maxLineBytes = 1024
const maxTrailerBytes = 8 * 1024
/**
 * What chunks may bring besides body over what their sizes explain: 16 bytes each, and twice their body. So Go bounds it, since
 * CVE-2023-39326: by extensions a blob could be made a thousand times as long on the wire, within every other limit.
 */
const maxExcessBytes = 16 * 1024

/** Registries' heads have 200 to 600 bytes. */
const usualHeadBytes = 1024
const more: ParserStep = { kind: 'more' }
const headEnd = Buffer.from('\r\n\r\n')
/** Its version ends in the 8th character, and its status takes the 10th to 12th. */
const statusLine = /^HTTP\/1\.[01] [1-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?$/
const chunkSize = /^([0-9A-Fa-f]{1,13})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/

/** `close` among the options of Connection (RFC 9110 §7.6.1). */
const closing = /(?:^|,)\s*close\s*(?:,|$)/i

type State =
  | 'idle'
  | 'head'
  | 'fixed'
  | 'until-close'
  | 'chunk-size'
  | 'chunk-data'
  | 'chunk-end'
  | 'trailer'
  | 'done'

/**
 * Reads HTTP/1.1 answers from bytes as they come, without copying bodies.
 *
 * It is strict where leniency lets two readers disagree about where an answer ends (RFC 9112 §6, §11): both
 * Content-Length and Transfer-Encoding, repeated or malformed lengths, folded headers, bare CR or LF, white space before
 * a colon, codings other than `chunked`, and NUL are all refused. Interim (1xx) answers are passed over.
 */
export class ResponseParser {
  #state: State = 'idle'
  #bodyless = false
  #partial = ''
  #line = ''
  #left = 0
  #interim = 0
  #trailerBytes = 0
  #excessBytes = 0
  /** Whether the connection may carry another request once this answer is whole. */
  keepAlive = false

  /** Makes ready for the answer to a request of this method. */
  begin(method: string): void {
    this.#state = 'head'
    this.#bodyless = method === 'HEAD'
    this.#partial = ''
    this.#interim = 0
    this.#trailerBytes = 0
    this.#excessBytes = 0
    this.keepAlive = false
  }

  /** Takes what it can of `input` from `at` up to `end`. @throws ProtocolError */
  read(input: Buffer, at: number, end: number): ParserStep {
    switch (this.#state) {
      case 'head':
        return this.#readHead(input, at, end)
      case 'fixed':
        return this.#body(at, end)
      case 'until-close':
        return at < end ? { kind: 'body', from: at, at: end, last: false } : more
      case 'done':
        return { kind: 'end', at, last: true }
      case 'idle':
        throw new ProtocolError('bytes came without a request')
      default:
        return this.#readChunked(input, at, end)
    }
  }

  /** Bytes up to which all that comes is body: of the answer, or of its chunk. */
  get bodyLeft(): number {
    if (this.#state === 'until-close') return Number.POSITIVE_INFINITY
    return this.#state === 'fixed' || this.#state === 'chunk-data' ? this.#left : 0
  }

  /** Tells that the connection ended. @returns whether the answer is whole by that */
  finish(): boolean {
    if (this.#state === 'until-close') this.#state = 'done'
    return this.#state === 'done'
  }

  /** Of a length that is known. */
  #body(from: number, end: number): ParserStep {
    if (from >= end) return more
    const at = Math.min(end, from + this.#left)
    this.#left -= at - from
    if (this.#left > 0) return { kind: 'body', from, at, last: false }
    const last = this.#state === 'fixed'
    this.#state = last ? 'done' : 'chunk-end'
    return { kind: 'body', from, at, last }
  }

  #readHead(input: Buffer, start: number, stop: number): ParserStep {
    let from = start
    for (;;) {
      const known = this.#partial.length
      // Much comes only where a body begins behind the head, which need not become text too.
      const found = stop - from > usualHeadBytes ? input.indexOf(headEnd, from) : -1
      const enough = from + maxHeadBytes
      const upTo = Math.min(stop, (found < 0 ? enough : Math.min(found, enough)) + headEnd.length)
      const fresh = input.toString('latin1', from, upTo)
      const text = this.#partial + fresh
      const end = text.indexOf('\r\n\r\n', Math.max(0, known - 3))
      if (end > maxHeadBytes || (end < 0 && text.length > maxHeadBytes)) {
        throw new ProtocolError(`the head of the answer is larger than ${maxHeadBytes} bytes`)
      }
      if (end < 0) {
        // Refuse early what can never become an answer, so that a peer of another protocol is named at once.
        if (text.length >= 5 && !text.startsWith('HTTP/')) throw notHttp(text)
        this.#partial = text
        return more
      }
      this.#partial = ''
      from += end + 4 - known
      const head = this.#interpret(text.slice(0, end))
      if (head === undefined) continue
      const counted = this.#state === 'fixed'
      const bodyBytes = counted ? this.#left : 0
      const last = counted && bodyBytes === 0
      if (last) this.#state = 'done'
      return { kind: 'head', head, bodyBytes, at: from, last }
    }
  }

  /** @returns undefined for an interim answer */
  #interpret(text: string): ResponseHead | undefined {
    const end = text.indexOf('\r\n')
    const first = end < 0 ? text : text.slice(0, end)
    if (!statusLine.test(first)) throw notHttp(first)
    const headers = new HeaderFields(text.slice(first.length))
    const code = Number(first.slice(9, 12))
    if (code < 200) {
      if (code === 101) throw new ProtocolError('101 Switching Protocols was not asked for')
      this.#interim += 1
      if (this.#interim > maxInterim) throw new ProtocolError('too many interim (1xx) answers')
      return undefined
    }
    this.#frame(code, headers, first[7] === '0')
    return { status: code, headers }
  }

  /** Decides where the body ends (RFC 9112 §6.3). */
  #frame(status: number, headers: HeaderFields, http10: boolean): void {
    const coding = headers.get('transfer-encoding')
    const length = headers.get('content-length')
    const connection = headers.get('connection')
    this.keepAlive = !http10 && (connection === undefined || !closing.test(connection))
    if (coding !== undefined && length !== undefined) {
      throw new ProtocolError('both Content-Length and Transfer-Encoding')
    }
    if (length !== undefined && !/^[0-9]{1,16}$/.test(length)) {
      throw new ProtocolError('Content-Length is no plain number')
    }
    const size = Number(length ?? 0)
    if (!Number.isSafeInteger(size)) throw new ProtocolError('Content-Length is too large')
    if (coding !== undefined && (http10 || coding.toLowerCase() !== 'chunked')) {
      throw new ProtocolError('a Transfer-Encoding other than chunked')
    }
    if (this.#bodyless || status === 204 || status === 304) {
      this.#state = 'fixed'
      this.#left = 0
    } else if (coding !== undefined) {
      this.#state = 'chunk-size'
      this.#line = ''
    } else if (length !== undefined) {
      this.#state = 'fixed'
      this.#left = size
    } else {
      this.#state = 'until-close'
      this.keepAlive = false
    }
  }

  #readChunked(input: Buffer, start: number, end: number): ParserStep {
    let at = start
    for (;;) {
      if (this.#state === 'chunk-data') return this.#body(at, end)
      const line = this.#readLine(input, at, end)
      if (line === undefined) return more
      at = line.at
      if (this.#state === 'chunk-end') {
        if (line.text !== '') throw new ProtocolError('a chunk is longer than its size')
        this.#state = 'chunk-size'
      } else if (this.#state === 'chunk-size') {
        this.#beginChunk(line.text)
      } else {
        if (line.text === '') {
          this.#state = 'done'
          return { kind: 'end', at, last: true }
        }
        this.#trailerBytes += line.text.length + 2
        if (this.#trailerBytes > maxTrailerBytes) throw new ProtocolError('trailers are too large')
        requireFields(`\r\n${line.text}`)
      }
    }
  }

  #beginChunk(line: string): void {
    const size = chunkSize.exec(line)?.[1]
    if (size === undefined) throw new ProtocolError('a chunk size that is no hex number')
    this.#left = Number.parseInt(size, 16)
    this.#state = this.#left === 0 ? 'trailer' : 'chunk-data'
    this.#excessBytes = Math.max(0, this.#excessBytes + line.length + 2 - 16 - 2 * this.#left)
    if (this.#excessBytes > maxExcessBytes)
      throw new ProtocolError('the chunks have far more extensions than body')
  }

  #readLine(input: Buffer, at: number, limit: number): { text: string; at: number } | undefined {
    const end = input.subarray(0, limit).indexOf(10, at)
    const stop = end < 0 ? limit : end + 1
    if (this.#line.length + stop - at > maxLineBytes)
      throw new ProtocolError('a chunk line is too long')
    this.#line += input.toString('latin1', at, stop)
    if (end < 0) return undefined
    const line = this.#line
    this.#line = ''
    if (!line.endsWith('\r\n')) throw new ProtocolError('a line ends in a bare LF')
    return { text: line.slice(0, -2), at: stop }
  }
}

function notHttp(text: string): ProtocolError {
  const tls = text.startsWith('\x15') || text.startsWith('\x16')
  return new ProtocolError(
    tls
      ? 'the answer is TLS, and plain http was spoken'
      : 'the answer does not start like HTTP/1.1',
  )
}
