import type { IncomingHttpHeaders } from 'node:http'
import { Agent, type Dispatcher, ProxyAgent, Socks5ProxyAgent } from 'undici'
import type { ClusterAccess, Credentials, TlsMaterial } from './access.ts'
import type { KubeClient, KubeRequest, RawAnswer, StreamSink } from './client.ts'
import { KubeApiError } from './errors.ts'
import { exchange } from './exchange.ts'
import { nameOf, Refusal, unreachable } from './request-errors.ts'

export interface HttpClientOptions {
  readonly access: ClusterAccess
  readonly userAgent?: string
  /** Connections to the server. Default 128: each watch holds one, and few requests run besides. */
  readonly connections?: number
}

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
  /** With requests under way still. */
  readonly #retired = new Set<Dispatcher>()
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
        message: `${nameOf(request)}: the answer is no JSON`,
        cause: error,
      })
    }
  }

  raw(request: KubeRequest): Promise<RawAnswer> {
    return this.#withDeadline(request, async (signal) => {
      const parts: Buffer[] = []
      let contentType = ''
      await this.#send(request, signal, {
        begin: (type) => {
          contentType = type
        },
        chunk: (chunk) => parts.push(chunk),
      })
      return { contentType, body: Buffer.concat(parts) }
    })
  }

  async stream(request: KubeRequest, sink: StreamSink): Promise<void> {
    await this.#withDeadline(request, (signal, lift) =>
      this.#send(request, signal, {
        begin: (contentType) => {
          lift()
          sink.begin(contentType)
        },
        chunk: (chunk) => sink.chunk(chunk),
        restMs: () => sink.restMs?.() ?? 0,
      }),
    )
  }

  async close(): Promise<void> {
    this.#closed = true
    const all = [...this.#retired, ...(this.#dispatcher ? [this.#dispatcher] : [])]
    this.#dispatcher = undefined
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()))
  }

  /**
   * Runs `work` under the request's signal and, until it lifts it, the request's time; whatever breaks becomes a KubeApiError
   * or the abort's reason.
   */
  async #withDeadline<T>(
    request: KubeRequest,
    work: (signal: AbortSignal, lift: () => void) => Promise<T>,
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
          message: `${nameOf(request)}: no answer in ${timeoutMs} ms`,
        }),
      )
    }, timeoutMs)
    try {
      return await work(controller.signal, () => clearTimeout(timer))
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason
      throw error
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Sends, and sends once more when the credentials were refused and newer ones are there. */
  async #send(request: KubeRequest, signal: AbortSignal, sink: StreamSink): Promise<void> {
    const credentials = await this.#credentials(request, signal)
    const refusal = await this.#dispatch(request, credentials, signal, sink)
    if (refusal === undefined) return
    if (refusal.status !== 401) throw refusal
    const fresh = await this.#credentials(request, signal, credentials)
    if (fresh === credentials) throw refusal
    const again = await this.#dispatch(request, fresh, signal, sink)
    if (again !== undefined) throw again
  }

  async #credentials(
    request: KubeRequest,
    signal: AbortSignal,
    refused?: Credentials,
  ): Promise<Credentials> {
    try {
      return await abortable(this.#access.credentials(refused), signal)
    } catch (error) {
      throw unreachable(request, error)
    }
  }

  /** Sends once; resolves to the refusal, if it was one. What the sink throws is thrown on. */
  async #dispatch(
    request: KubeRequest,
    credentials: Credentials,
    signal: AbortSignal,
    sink: StreamSink,
  ): Promise<KubeApiError | undefined> {
    signal.throwIfAborted()
    const query: Record<string, string> = {}
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) query[name] = value
    }
    const hasBody = request.body !== undefined
    let refusal: Refusal | undefined
    /** What the sink threw is its own, and no fault of the connection. */
    let thrown: { readonly error: unknown } | undefined
    const guarded = (chunk: Buffer): void => {
      try {
        sink.chunk(chunk)
      } catch (error) {
        thrown = { error }
        throw error
      }
    }
    const answer = exchange({
      dispatcher: this.#agent(credentials.tls),
      beforeSending: request.beforeSending,
      restMs: sink.restMs,
      request: {
        origin: this.#origin,
        path: this.#basePath + request.path,
        method: request.method,
        query,
        headers: {
          ...credentials.headers,
          'user-agent':
            request.remark === undefined
              ? this.#userAgent
              : `${this.#userAgent} (${request.remark})`,
          accept: request.accept ?? 'application/json',
          ...(hasBody ? { 'content-type': request.contentType ?? 'application/json' } : {}),
        },
        ...(hasBody ? { body: JSON.stringify(request.body) } : {}),
        // Times are kept above, for headers and body alike; a watch may be silent for long.
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      signal,
      onHead: (status, headers) => {
        if (status < 300) {
          sink.begin(contentTypeOf(headers))
          return guarded
        }
        const refused = new Refusal(request, status, headers)
        refusal = refused
        return (chunk) => refused.add(chunk)
      },
    })
    try {
      await answer
    } catch (error) {
      if (thrown !== undefined) throw thrown.error
      throw unreachable(request, error)
    }
    return refusal?.error()
  }

  /**
   * Where one connection got no answer the others that are kept may be as dead, and each would cost the next request its
   * whole time: from now on new ones are made. What is under way on the old ones goes on.
   */
  #retire(dispatcher: Dispatcher | undefined): void {
    if (dispatcher === undefined || this.#dispatcher !== dispatcher) return
    this.#dispatcher = undefined
    this.#retired.add(dispatcher)
    const left = (): void => void this.#retired.delete(dispatcher)
    dispatcher.close().then(left, left)
  }

  #agent(tls: TlsMaterial): Dispatcher {
    if (this.#closed) throw new Error('the client is closed')
    if (this.#dispatcher !== undefined && isSameTls(this.#tls, tls)) {
      this.#tls = tls
      return this.#dispatcher
    }
    // Requests under way end on their old connections; long watches end by themselves within minutes.
    this.#retire(this.#dispatcher)
    this.#dispatcher = makeDispatcher(this.#access.proxyUrl, tls, this.#connections)
    this.#tls = tls
    return this.#dispatcher
  }
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

function contentTypeOf(headers: IncomingHttpHeaders): string {
  return headers['content-type'] ?? ''
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
