import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  type RequestListener,
  request as requestPlain,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer, request as requestTls } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

/** What becomes of chosen requests to a registry. */
export interface Trouble {
  /** Default: every method. */
  readonly method?: string
  /** Regular expression for the path with its query; default: every path. */
  readonly path?: string
  /** Only requests whose body is said to have more bytes than this. */
  readonly bodyOver?: number
  /** Not for requests that show these, by Basic authentication. */
  readonly unless?: { readonly username: string; readonly password: string }
  /** How many requests; default: all that match. */
  readonly times?: number
  /** Waits before anything else happens. */
  readonly delayMs?: number
  /** Answers so in the registry's place: 401, 413, 429, 503. */
  readonly status?: number
  /** Of that answer. */
  readonly headers?: Readonly<Record<string, string>>
  /** Cuts the connection after so many bytes of the request's body; the registry has seen it when the client does. */
  readonly cutRequestAfter?: number
  /** Cuts the connection after so many bytes of the answer's body. */
  readonly truncateAfter?: number
  /** Flips a bit in this byte of the answer's body. */
  readonly corruptAt?: number
}

export interface TroubledServerOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** The registry itself; it is spoken to as this server is. */
  readonly upstream: { readonly host: string; readonly port: number }
  /** PEM of a certificate and its key; default: plain http. */
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly troubles: readonly Trouble[]
}

/** Stands before a registry, hands on what it is asked, and makes trouble for chosen requests. */
export class TroubledServer implements AsyncDisposable {
  readonly #options: TroubledServerOptions
  readonly #left: number[]
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #passed = 0

  private constructor(options: TroubledServerOptions) {
    this.#options = options
    this.#left = options.troubles.map(({ times = Number.POSITIVE_INFINITY }) => times)
    const answer: RequestListener = (request, response) => {
      this.#answer(request, response).catch(() => response.destroy())
    }
    this.#server = options.tls ? createTlsServer(options.tls, answer) : createServer(answer)
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  static async start(options: TroubledServerOptions): Promise<TroubledServer> {
    const server = new TroubledServer(options)
    const { host, port } = options.listen
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject)
      server.#server.listen(port, host, resolve)
    })
    return server
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Requests that each of the troubles may still come over. */
  get left(): readonly number[] {
    return this.#left
  }

  /** Bytes of requests' bodies that the registry was given. */
  get passed(): number {
    return this.#passed
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const trouble = this.#draw(request)
    if (trouble?.delayMs !== undefined) await delay(trouble.delayMs)
    if (trouble?.status !== undefined) {
      request.resume()
      response.writeHead(trouble.status, { 'content-length': 0, ...trouble.headers }).end()
      return
    }
    await this.#handOn(request, response, trouble)
  }

  #draw({ method, url = '', headers }: IncomingMessage): Trouble | undefined {
    // So the bed asks whether it is up.
    if (url === '/v2/' && headers['user-agent'] === 'kip-test') return undefined
    const at = this.#options.troubles.findIndex(
      (trouble, i) =>
        (this.#left[i] ?? 0) > 0 &&
        (trouble.method ?? method) === method &&
        Number(headers['content-length'] ?? 0) > (trouble.bodyOver ?? -1) &&
        new RegExp(trouble.path ?? '').test(url) &&
        !shows(headers.authorization, trouble.unless),
    )
    if (at < 0) return undefined
    this.#left[at] = (this.#left[at] ?? 0) - 1
    return this.#options.troubles[at]
  }

  #handOn(
    request: IncomingMessage,
    response: ServerResponse,
    trouble: Trouble | undefined,
  ): Promise<void> {
    const { upstream, tls } = this.#options
    const { method = 'GET', url, headers } = request
    const target = { ...upstream, method, path: url, headers }
    return new Promise((resolve, reject) => {
      const asked = tls
        ? requestTls({ ...target, rejectUnauthorized: false })
        : requestPlain(target)
      asked.on('error', reject)
      response.on('close', () => asked.destroy())
      asked.on('response', (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        this.#body(answer, response, trouble).then(resolve, reject)
      })
      const { cutRequestAfter } = trouble ?? {}
      if (cutRequestAfter !== undefined) {
        this.#cut(request, asked, cutRequestAfter).then(() => response.destroy(), reject)
        return
      }
      request.on('data', (part: Buffer) => {
        this.#passed += part.length
      })
      request.pipe(asked)
    })
  }

  /** Hands on the first bytes of a body and no more. Resolves when the registry has let go of the connection. */
  async #cut(request: IncomingMessage, asked: ClientRequest, after: number): Promise<void> {
    let left = after
    // The client's connection is to stay until the registry's is gone.
    for await (const part of request.iterator({ destroyOnReturn: false })) {
      const bytes = (part as Buffer).subarray(0, left)
      left -= bytes.length
      this.#passed += bytes.length
      await written(asked, bytes)
      if (left === 0) break
    }
    const gone = new Promise((resolve) => asked.on('close', resolve))
    // Some registries answer what they got no end of.
    asked.removeAllListeners('response').on('error', () => {})
    asked.socket?.end()
    await gone
  }

  async #body(
    answer: IncomingMessage,
    response: ServerResponse,
    { truncateAfter = Number.POSITIVE_INFINITY, corruptAt = -1 }: Trouble = {},
  ): Promise<void> {
    let passed = 0
    for await (const part of answer) {
      const bytes = Buffer.from(part as Buffer)
      const at = corruptAt - passed
      if (at >= 0 && at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ 1
      const kept = bytes.subarray(0, Math.max(0, truncateAfter - passed))
      passed += bytes.length
      if (kept.length > 0) await written(response, kept)
      if (passed > truncateAfter) {
        response.destroy()
        return
      }
    }
    response.end()
  }
}

/** Waits until the bytes are on their way, so that a cut after them cuts nothing of them. */
function written(to: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    to.write(bytes, (error) => (error ? reject(error) : resolve()))
  })
}

function shows(authorization: string | undefined, user: Trouble['unless']): boolean {
  if (user === undefined) return false
  const text = Buffer.from(`${user.username}:${user.password}`).toString('base64')
  return authorization === `Basic ${text}`
}
