import type { IncomingHttpHeaders } from 'node:http'
import type { KubeRequest } from './client.ts'
import { KubeApiError } from './errors.ts'
import { protobufType, readProtobufStatus } from './protobuf-decoder.ts'
import type { Status } from './types.ts'

/** Refusals are words; what is longer is no Status. */
const maxErrorBytes = 64 * 1024

/** An answer that is a refusal, put together from its chunks. Errors name the request, the status and what the server said. */
export class Refusal {
  readonly #request: KubeRequest
  readonly #status: number
  readonly #headers: IncomingHttpHeaders
  readonly #parts: Buffer[] = []
  #bytes = 0

  constructor(request: KubeRequest, status: number, headers: IncomingHttpHeaders) {
    this.#request = request
    this.#status = status
    this.#headers = headers
  }

  add(chunk: Buffer): void {
    this.#parts.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > maxErrorBytes) throw this.error()
  }

  error(): KubeApiError {
    const body = Buffer.concat(this.#parts).subarray(0, maxErrorBytes)
    const status = parseStatus(this.#headers['content-type'] ?? '', body)
    const asked = Number(this.#headers['retry-after'] ?? status?.details?.retryAfterSeconds)
    const said = status?.message ?? (printable(body) || 'no message')
    return new KubeApiError({
      status: this.#status,
      reason: status?.reason || (reasons[this.#status] ?? 'Unknown'),
      message: `${nameOf(this.#request)}: ${this.#status}: ${said}`,
      retryAfterMs: Number.isFinite(asked) && asked >= 0 ? asked * 1000 : undefined,
      details: status,
    })
  }
}

/** Where the answer is no Status (a proxy's, or authentication's plain text). */
const reasons: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Gone',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

function parseStatus(type: string, body: Buffer): Status | undefined {
  try {
    if (type.startsWith(protobufType)) return readProtobufStatus(body)
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null && 'status' in value
      ? (value as Status)
      : undefined
  } catch {
    return undefined
  }
}

/** The beginning of an answer that is no Status, on one line. */
function printable(body: Buffer): string {
  return body
    .toString('utf8', 0, 200)
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
}

/** An error without an answer, told as the API client tells errors; configuration's own stay as they are. */
export function unreachable(request: KubeRequest, error: unknown): unknown {
  if (error instanceof KubeApiError || !(error instanceof Error)) return error
  if (error.name === 'KubeConfigError') return error
  return new KubeApiError({
    status: 0,
    reason: isConnectFailure(error) ? 'Unreachable' : 'Broken',
    message: `${nameOf(request)}: ${error.message || error.name}`,
    cause: error,
  })
}

const connectFailures: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** Nothing was sent: no connection came about, or it was shut amid the TLS handshake, as a balancer without servers does. */
function isConnectFailure(error: Error): boolean {
  if (/before secure TLS connection was established/.test(error.message)) return true
  // Of a name with several addresses, each has an error of its own.
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error]
  return errors.every(
    (each) => each instanceof Error && 'code' in each && connectFailures.has(each.code),
  )
}

/** As errors name it. */
export function nameOf(request: KubeRequest): string {
  return `${request.method} ${request.path}`
}
