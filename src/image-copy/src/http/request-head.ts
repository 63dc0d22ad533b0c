import { hostOf, type Origin } from './origin.ts'

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
  readonly method: string
  /** Path and query, starting with `/`. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly bodyBytes: number
}

const methodPattern = /^[A-Z]{1,16}$/
const pathPattern = /^\/[\x21-\x7e]*$/
const fieldPattern = /^[A-Za-z][A-Za-z0-9-]*: [\x20-\x7e]*$/

/**
 * Writes a request's head.
 *
 * @throws TypeError when a part holds white space, line breaks or other bytes that could start a second header or request
 */
export function requestHead({
  origin,
  method,
  path,
  headers = {},
  bodyBytes,
}: RequestLine): RequestHead {
  if (!methodPattern.test(method)) throw new TypeError('malformed request method')
  if (!pathPattern.test(path)) throw new TypeError('malformed request path')
  const plainProxy = origin.scheme === 'http' ? origin.proxy : undefined
  const target = plainProxy === undefined ? path : `http://${hostOf(origin)}${path}`
  let text = `${method} ${target} HTTP/1.1\r\nHost: ${hostOf(origin)}\r\nAccept-Encoding: identity\r\n`
  if (plainProxy?.authorization !== undefined)
    text += `Proxy-Authorization: ${plainProxy.authorization}\r\n`
  for (const name of Object.keys(headers)) {
    const field = `${name}: ${headers[name]}`
    if (!fieldPattern.test(field)) throw new TypeError(`malformed request header ${name}`)
    text += `${field}\r\n`
  }
  if (bodyBytes > 0 || method === 'POST' || method === 'PUT' || method === 'PATCH') {
    text += `Content-Length: ${bodyBytes}\r\n`
  }
  return { method, text: `${text}\r\n`, bodyBytes }
}
