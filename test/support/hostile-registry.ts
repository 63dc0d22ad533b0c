import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { FakeRegistry, type FakeRegistryOptions } from './fake-registry.ts'

/** Takes a request when its method and path match. */
export interface Trick {
  readonly method?: string
  readonly path: RegExp
  readonly answer: (request: IncomingMessage, response: ServerResponse) => void
}

/** A registry that does its job, except where a trick says otherwise. */
export class HostileRegistry {
  readonly registry: FakeRegistry
  readonly #tricks: Trick[] = []

  private constructor(registry: FakeRegistry) {
    this.registry = registry
    registry.interceptor = (request, response) => {
      if (request.headers['user-agent'] === 'kip-test') return false
      const trick = this.#tricks.find(
        ({ method, path }) =>
          (method ?? request.method) === request.method && path.test(request.url ?? ''),
      )
      trick?.answer(request, response)
      return trick !== undefined
    }
  }

  static async start(options: FakeRegistryOptions = {}): Promise<HostileRegistry> {
    return new HostileRegistry(await FakeRegistry.start(options))
  }

  get host(): string {
    return this.registry.host
  }

  play(trick: Trick): void {
    this.#tricks.unshift(trick)
  }

  /** Sends to `url` whoever asks for `path`. */
  redirect(path: RegExp, url: string, status = 307, method = 'GET'): void {
    this.play({
      path,
      method,
      answer: (_, response) =>
        response.writeHead(status, { location: url, 'content-length': 0 }).end(),
    })
  }

  /** Answers with these bytes as they are. */
  raw(path: RegExp, bytes: string | Buffer, method = 'GET'): void {
    this.play({ path, method, answer: (request) => request.socket.write(bytes) })
  }

  /** Answers with this body. */
  body(
    path: RegExp,
    type: string,
    bytes: Buffer,
    headers: Readonly<Record<string, string>> = {},
    method = 'GET',
  ): void {
    const all = { 'content-type': type, 'content-length': String(bytes.length), ...headers }
    this.play({ path, method, answer: (_, response) => response.writeHead(200, all).end(bytes) })
  }

  /** Demands a token of this realm for everything. */
  realm(realm: string): void {
    this.play({
      path: /^\/v2\//,
      answer: (request, response) => {
        request.resume()
        response
          .writeHead(401, {
            'www-authenticate': `Bearer realm="${realm}",service="x"`,
            'content-length': 0,
          })
          .end()
      },
    })
  }

  async close(): Promise<void> {
    await this.registry.close()
  }
}

export interface TrappedRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
}

/** A server that no request should reach, or none with a credential: it keeps all it is sent. */
export class Trap {
  readonly requests: TrappedRequest[] = []
  readonly #server: Server
  answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"from-the-trap"}')
  }

  private constructor() {
    this.#server = createServer((request, response) => {
      this.requests.push({
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
      })
      request.resume()
      request.on('end', () => this.answer(request, response))
    })
  }

  static async start(): Promise<Trap> {
    const trap = new Trap()
    await new Promise<void>((resolve) => {
      trap.#server.listen(0, '127.0.0.1', resolve)
    })
    return trap
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Headers by which a secret could have come. */
  secrets(): string[] {
    return this.requests.flatMap(({ headers, url }) => [
      ...[headers.authorization, headers.cookie].filter((value) => value !== undefined),
      ...(/secret|password|account=/.test(url) ? [url] : []),
    ])
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
