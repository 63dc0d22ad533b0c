import { Agent, type Dispatcher, ProxyAgent, Socks5ProxyAgent } from 'undici'
import type { ClusterAccess, Credentials, TlsMaterial } from './access.ts'
import type { KubeClient, KubeRequest, RawAnswer, StreamAnswer } from './client.ts'
import { KubeApiError } from './errors.ts'
import { protobufType, readProtobufStatus } from './protobuf-decoder.ts'
import type { Status } from './types.ts'

export interface HttpClientOptions {
  readonly access: ClusterAccess
  readonly userAgent?: string
  /** Connections to the server. Default 128: each watch holds one, and few requests run besides. */
  readonly connections?: number
}

/** Refusals are words; what is longer is no Status. */
const maxErrorBytes = 64 * 1024
const defaultTimeoutMs = 30_000

/** The API server over HTTP/1.1 and one agent whose connections are kept and shared by all requests and watches. */
export class HttpKubeClient implements KubeClient {
  readonly server: string
  readonly namespace: string
  readonly #access: ClusterAccess
  readonly #basePath: string
  readonly #origin: string
  readonly #userAgent: string
  readonly #connections: number
  #dispatcher: Dispatcher | undefined
  #tls: TlsMaterial | undefined
  #closed = false

  constructor(options: HttpClientOptions) {
    const url = new URL(options.access.server)
    this.server = options.access.server
    this.namespace = options.access.namespace
    this.#access = options.access
    this.#origin = url.origin
    this.#basePath = url.pathname.replace(/\/+$/, '')
    this.#userAgent = options.userAgent ?? 'kip'
    this.#connections = options.connections ?? 128
  }

  async request<T>(request: KubeRequest): Promise<T> {
    const { body } = await this.raw(request)
    try {
      return JSON.parse(body.toString('utf8')) as T
    } catch (error) {
      throw new KubeApiError({
        status: 0,
        reason: 'InvalidAnswer',
        message: `${describe(request)}: the answer is no JSON`,
        cause: error,
      })
    }
  }

  raw(request: KubeRequest): Promise<RawAnswer> {
    return this.#withDeadline(request, async (signal) => {
      const answer = await this.#send(request, signal)
      const body = Buffer.from(await answer.body.arrayBuffer())
      return { contentType: contentType(answer), body }
    })
  }

  async stream(request: KubeRequest): Promise<StreamAnswer> {
    const stop = new AbortController()
    const onAbort = (): void => stop.abort(request.signal.reason)
    request.signal.throwIfAborted()
    request.signal.addEventListener('abort', onAbort, { once: true })
    const finish = (): void => request.signal.removeEventListener('abort', onAbort)
    try {
      const answer = await this.#withDeadline(request, async (deadline) => {
        const onDeadline = (): void => stop.abort(deadline.reason)
        deadline.addEventListener('abort', onDeadline, { once: true })
        try {
          return await this.#send(request, stop.signal)
        } finally {
          deadline.removeEventListener('abort', onDeadline)
        }
      })
      return { contentType: contentType(answer), chunks: readChunks(answer, request, finish) }
    } catch (error) {
      finish()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    const dispatcher = this.#dispatcher
    this.#dispatcher = undefined
    await dispatcher?.destroy()
  }

  /** Runs `work` under the request's signal and time; whatever breaks becomes a KubeApiError or the abort's reason. */
  async #withDeadline<T>(
    request: KubeRequest,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { signal, timeoutMs = defaultTimeoutMs } = request
    signal.throwIfAborted()
    const controller = new AbortController()
    const onAbort = (): void => controller.abort(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const dispatcher = this.#dispatcher
    const timer = setTimeout(() => {
      this.#retire(dispatcher)
      controller.abort(
        new KubeApiError({
          status: 0,
          reason: 'Timeout',
          message: `${describe(request)}: no answer in ${timeoutMs} ms`,
        }),
      )
    }, timeoutMs)
    try {
      return await work(controller.signal)
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason
      throw unreachable(request, error)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Sends, and sends once more when the credentials were refused and newer ones are there. */
  async #send(request: KubeRequest, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const credentials = await abortable(this.#access.credentials(), signal)
    const answer = await this.#dispatch(request, credentials, signal)
    if (answer.statusCode !== 401) return await checked(request, answer)
    const refusal = await refused(request, answer)
    const fresh = await abortable(this.#access.credentials(credentials), signal)
    if (fresh === credentials) throw refusal
    return await checked(request, await this.#dispatch(request, fresh, signal))
  }

  async #dispatch(
    request: KubeRequest,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    signal.throwIfAborted()
    const query: Record<string, string> = {}
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) query[name] = value
    }
    const hasBody = request.body !== undefined
    const agent = this.#agent(credentials.tls)
    const { beforeSending } = request
    const dispatcher =
      beforeSending === undefined ? agent : agent.compose(callBeforeSending(beforeSending))
    return await dispatcher.request({
      origin: this.#origin,
      path: this.#basePath + request.path,
      method: request.method,
      query,
      headers: {
        ...credentials.headers,
        'user-agent':
          request.remark === undefined ? this.#userAgent : `${this.#userAgent} (${request.remark})`,
        accept: request.accept ?? 'application/json',
        ...(hasBody ? { 'content-type': request.contentType ?? 'application/json' } : {}),
      },
      ...(hasBody ? { body: JSON.stringify(request.body) } : {}),
      // Times are kept above, for headers and body alike; a watch may be silent for long.
      headersTimeout: 0,
      bodyTimeout: 0,
      signal,
    })
  }

  /**
   * Where one connection got no answer the others that are kept may be as dead, and each would cost the next request its
   * whole time: from now on new ones are made. What is under way on the old ones goes on.
   */
  #retire(dispatcher: Dispatcher | undefined): void {
    if (dispatcher === undefined || this.#dispatcher !== dispatcher) return
    this.#dispatcher = undefined
    void dispatcher.close()
  }

  #agent(tls: TlsMaterial): Dispatcher {
    if (this.#closed) throw new Error('the client is closed')
    if (this.#dispatcher !== undefined && isSameTls(this.#tls, tls)) {
      this.#tls = tls
      return this.#dispatcher
    }
    const before = this.#dispatcher
    this.#dispatcher = makeDispatcher(this.#access.proxyUrl, tls, this.#connections)
    this.#tls = tls
    // Requests under way end on their old connections; long watches end by themselves within minutes.
    void before?.close()
    return this.#dispatcher
  }
}

/** A request may wait for a connection, and the process may have been stopped meanwhile: the last moment counts. */
function callBeforeSending(check: () => void): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) =>
    dispatch(options, {
      onRequestStart(controller, context) {
        check()
        handler.onRequestStart?.(controller, context)
      },
      onRequestUpgrade: (...args) => handler.onRequestUpgrade?.(...args),
      onResponseStart: (...args) => handler.onResponseStart?.(...args),
      onResponseData: (...args) => handler.onResponseData?.(...args),
      onResponseEnd: (...args) => handler.onResponseEnd?.(...args),
      onResponseError: (...args) => handler.onResponseError?.(...args),
    })
}

function isSameTls(a: TlsMaterial | undefined, b: TlsMaterial): boolean {
  if (a === b) return true
  return a !== undefined && JSON.stringify(a) === JSON.stringify(b)
}

function makeDispatcher(
  proxyUrl: string | undefined,
  tls: TlsMaterial,
  connections: number,
): Dispatcher {
  const material = {
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.cert === undefined ? {} : { cert: tls.cert }),
    ...(tls.key === undefined ? {} : { key: tls.key }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    ...(tls.insecure === true ? { rejectUnauthorized: false } : {}),
  }
  const pool = {
    connections,
    pipelining: 1,
    allowH2: false,
    // Below the 90 s after which the API server ends an idle connection: the client ends it first.
    keepAliveTimeout: 60_000,
    keepAliveMaxTimeout: 80_000,
  }
  if (proxyUrl === undefined) {
    return new Agent({
      ...pool,
      connect: { ...material, timeout: 10_000, keepAlive: true, keepAliveInitialDelay: 30_000 },
    })
  }
  if (proxyUrl.startsWith('socks')) {
    return new Socks5ProxyAgent(proxyUrl, { ...pool, requestTls: material })
  }
  return new ProxyAgent({ ...pool, uri: proxyUrl, requestTls: material })
}

async function* readChunks(
  answer: Dispatcher.ResponseData,
  request: KubeRequest,
  finish: () => void,
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of answer.body) yield chunk as Buffer
  } catch (error) {
    if (request.signal.aborted) throw request.signal.reason
    throw unreachable(request, error)
  } finally {
    finish()
    answer.body.destroy()
  }
}

async function checked(
  request: KubeRequest,
  answer: Dispatcher.ResponseData,
): Promise<Dispatcher.ResponseData> {
  if (answer.statusCode >= 200 && answer.statusCode < 300) return answer
  throw await refused(request, answer)
}

async function refused(
  request: KubeRequest,
  answer: Dispatcher.ResponseData,
): Promise<KubeApiError> {
  const body = await readBounded(answer)
  const status = parseStatus(contentType(answer), body)
  const asked = Number(answer.headers['retry-after'] ?? status?.details?.retryAfterSeconds)
  return new KubeApiError({
    status: answer.statusCode,
    reason: status?.reason || (reasons[answer.statusCode] ?? 'Unknown'),
    message: `${describe(request)}: ${answer.statusCode}: ${status?.message ?? (printable(body) || 'no message')}`,
    retryAfterMs: Number.isFinite(asked) && asked >= 0 ? asked * 1000 : undefined,
    details: status,
  })
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

async function readBounded(answer: Dispatcher.ResponseData): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer.body) {
    chunks.push(chunk as Buffer)
    bytes += (chunk as Buffer).length
    if (bytes > maxErrorBytes) break
  }
  return Buffer.concat(chunks).subarray(0, maxErrorBytes)
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

function unreachable(request: KubeRequest, error: unknown): unknown {
  if (error instanceof KubeApiError || !(error instanceof Error)) return error
  if (error.name === 'KubeConfigError') return error
  return new KubeApiError({
    status: 0,
    reason: isConnectFailure(error) ? 'Unreachable' : 'Broken',
    message: `${describe(request)}: ${error.message || error.name}`,
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

function describe(request: KubeRequest): string {
  return `${request.method} ${request.path}`
}

function contentType(answer: Dispatcher.ResponseData): string {
  const value = answer.headers['content-type']
  return (Array.isArray(value) ? value[0] : value) ?? ''
}

/** Waits for a promise that cannot be cancelled, only as long as the signal lets. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
