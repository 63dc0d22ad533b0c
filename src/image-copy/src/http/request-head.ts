import type { Origin } from './origin.ts'

/** What a request looks like on the wire, checked for injection. */
export interface RequestHead {
  readonly method: string
  /** Request line and header lines, with the empty line that ends them. */
  readonly text: string
  /** Bytes of body that will follow. */
  readonly bodyBytes: number
}

export interface RequestLine {
  readonly origin: Origin
  /** {@link hostOf} it. */
  readonly host: string
  readonly method: string
  /** Path and query, starting with `/`. */
  readonly path: string
  /** Headers that go with every request. */
  readonly common: CheckedHeaders
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly bodyBytes: number
}

const methodPattern = /^[A-Z]{1,16}$/
const pathPattern = /^\/[\x21-\x7e]*$/
const fieldPattern = /^[A-Za-z][A-Za-z0-9-]*: [\x20-\x7e]*$/

/** Header lines, each with its line break, that were checked once and may go with many requests. */
export class CheckedHeaders {
  readonly lines: string

  /** @throws TypeError as {@link requestHead} does */
  constructor(headers: Readonly<Record<string, string>>) {
    this.lines = linesOf(headers)
  }
}

/**
 * Writes a request's head.
 *
 * @throws TypeError when a part holds white space, line breaks or other bytes that could start a second header or request
 */
export function requestHead({
  origin,
  host,
  method,
  path,
  common,
  headers,
  bodyBytes,
}: RequestLine): RequestHead {
  if (!methodPattern.test(method)) throw new TypeError('malformed request method')
  if (!pathPattern.test(path)) throw new TypeError('malformed request path')
  const plainProxy = origin.scheme === 'http' ? origin.proxy : undefined
  const target = plainProxy === undefined ? path : `http://${host}${path}`
  let text = `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${common.lines}`
  if (plainProxy?.authorization !== undefined)
    text += `Proxy-Authorization: ${plainProxy.authorization}\r\n`
  if (headers !== undefined) text += linesOf(headers)
  if (bodyBytes > 0 || method === 'POST' || method === 'PUT' || method === 'PATCH') {
    text += `Content-Length: ${bodyBytes}\r\n`
  }
  return { method, text: `${text}\r\n`, bodyBytes }
}

function linesOf(headers: Readonly<Record<string, string>>): string {
  let lines = ''
  for (const name of Object.keys(headers)) {
    const field = `${name}: ${headers[name]}`
    if (!fieldPattern.test(field)) throw new TypeError(`malformed request header ${name}`)
    lines += `${field}\r\n`
  }
  return lines
}
