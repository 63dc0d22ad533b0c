import { createHash, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { TestRegistryClient } from '../cluster/registry/client.ts'
import { FakeTokenServer } from './fake-token-server.ts'

export interface FakeRegistryOptions {
  readonly tls?: {
    readonly cert: string
    readonly key: string
    readonly ca: string
    readonly clientCa?: string
    /** Ends the handshake with who has no certificate of `clientCa`; default: serves them too. */
    readonly mutual?: boolean
  }
  readonly auth?: {
    readonly kind: 'basic' | 'bearer'
    readonly users: Readonly<Record<string, string>>
  }
  /** Keeps lists of referrers itself, as zot does. Default false, as distribution. */
  readonly referrersApi?: boolean
  /** `self` and from others (distribution), only from others, not at all (202), or an error (Quay without `from`). */
  readonly mount?: 'all' | 'others' | 'ignored' | 'error'
  /** Takes manifests whose parts are missing. Default false. */
  readonly sparse?: boolean
  /** Largest body of one request that carries a blob; 413 above. */
  readonly maxBody?: number
  /**
   * Refuses what its URL takes an upload to be further or less far than it is: all but the question how far it is
   * (distribution 3), or that too (distribution 2.8). Default: does not look.
   */
  readonly uploadState?: 'distribution 3' | 'distribution 2.8'
  /** Stores blobs under whatever digest it is told, and says so, as some registries do. */
  readonly believes?: boolean
  /** What it deletes: tags and images (distribution 3), images only (distribution 2.8), nothing. Default: distribution 3. */
  readonly deletions?: 'distribution 3' | 'distribution 2.8' | 'none'
  /** Every answer waits this long, in milliseconds. */
  readonly delayMs?: number
  readonly host?: string
}

export interface LoggedRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  status: number
}

/** Takes a request in place of the registry. @returns whether it did */
export type Interceptor = (
  request: IncomingMessage,
  response: ServerResponse,
) => boolean | Promise<boolean>

interface Upload {
  readonly repository: string
  bytes: Buffer
}

interface Repository {
  readonly manifests: Map<string, { readonly bytes: Buffer; readonly mediaType: string }>
  readonly tags: Map<string, string>
  readonly blobs: Map<string, Buffer>
}

/** A registry in this process that speaks the distribution protocol over real sockets, with the manners of several. */
export class FakeRegistry implements AsyncDisposable {
  readonly options: FakeRegistryOptions
  readonly repositories = new Map<string, Repository>()
  readonly uploads = new Map<string, Upload>()
  readonly requests: LoggedRequest[] = []
  readonly tokens: FakeTokenServer | undefined
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  interceptor: Interceptor | undefined
  /** Alters bytes that are served or taken. */
  mangle: ((bytes: Buffer, what: 'blob' | 'manifest' | 'upload') => Buffer) | undefined
  connections = 0
  #client: TestRegistryClient | undefined

  private constructor(options: FakeRegistryOptions) {
    this.options = options
    const { tls, auth } = options
    this.tokens = auth === undefined ? undefined : new FakeTokenServer(auth)
    const handle = (request: IncomingMessage, response: ServerResponse): void => {
      this.#handle(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : undefined)
      })
    }
    this.#server = tls
      ? createTlsServer(
          {
            cert: tls.cert,
            key: tls.key,
            ...(tls.clientCa && {
              ca: tls.clientCa,
              requestCert: true,
              rejectUnauthorized: tls.mutual === true,
            }),
          },
          handle,
        )
      : createServer(handle)
    // A busy machine must not make it close connections that are just being taken again.
    this.#server.keepAliveTimeout = 120_000
    this.#server.on('connection', (socket: Socket) => {
      this.connections += 1
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
    })
  }

  static async start(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
    const registry = new FakeRegistry(options)
    await new Promise<void>((resolve) => {
      registry.#server.listen(0, options.host ?? '127.0.0.1', resolve)
    })
    return registry
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get host(): string {
    const host = this.options.host ?? '127.0.0.1'
    return `${host.includes(':') ? `[${host}]` : host}:${this.port}`
  }

  get url(): string {
    return `${this.options.tls ? 'https' : 'http'}://${this.host}`
  }

  /** Fills it and looks into it, independent of the copier. */
  get client(): TestRegistryClient {
    const user = Object.entries(this.options.auth?.users ?? {})[0]
    this.#client ??= new TestRegistryClient({
      url: this.url,
      ...(this.options.tls && { authority: this.options.tls.ca }),
      ...(user && { user: { username: user[0], password: user[1] } }),
    })
    return this.#client
  }

  repository(name: string): Repository {
    let found = this.repositories.get(name)
    if (found === undefined) {
      found = { manifests: new Map(), tags: new Map(), blobs: new Map() }
      this.repositories.set(name, found)
    }
    return found
  }

  /** `GET /v2/… 200`, without state and signatures, since the last call. */
  takeLog(): string[] {
    return this.requests
      .splice(0)
      .map(
        ({ method, path, status }) =>
          `${method} ${path.replace(/uploads\/[0-9a-f-]{36}.*/, 'uploads/ID')} ${status}`,
      )
  }

  cutConnections(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    await this.#client?.close()
    this.cutConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #handle(request: IncomingMessage, response: ServerResponse) {
    const path = request.url ?? ''
    const logged: LoggedRequest = {
      method: request.method ?? '',
      path,
      headers: request.headers,
      status: 0,
    }
    this.requests.push(logged)
    response.on('close', () => {
      logged.status = response.statusCode
    })
    if (this.options.delayMs)
      await new Promise((resolve) => setTimeout(resolve, this.options.delayMs))
    if (this.interceptor !== undefined && (await this.interceptor(request, response))) return
    if (path.startsWith('/token')) return this.tokens?.answer(request, response)
    const challenge = this.tokens?.challenge(request, this.url)
    if (challenge !== undefined) {
      request.resume()
      return fail(response, 401, 'UNAUTHORIZED', { 'www-authenticate': challenge })
    }
    const url = new URL(path, this.url)
    const route = /^\/v2\/(.+?)\/(blobs\/uploads|blobs|manifests|tags|referrers)\/(.*)$/.exec(
      url.pathname,
    )
    if (url.pathname === '/v2/') return end(response, 200)
    if (route === null) return fail(response, 404, 'NOT_FOUND')
    const [, repository = '', kind, rest = ''] = route
    if (kind === 'manifests') return this.#manifest(request, response, repository, rest)
    if (kind === 'blobs') return this.#blob(request, response, repository, rest)
    if (kind === 'blobs/uploads') return this.#upload(request, response, repository, rest, url)
    if (kind === 'tags') {
      const found = this.repositories.get(repository)
      if (found === undefined) return fail(response, 404, 'NAME_UNKNOWN')
      return json(response, { name: repository, tags: [...found.tags.keys()] })
    }
    return this.#referrers(response, repository, rest)
  }

  async #manifest(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string,
    reference: string,
  ) {
    const found = this.repository(repository)
    if (request.method === 'PUT') {
      const bytes = await readBody(request)
      const algorithm = reference.startsWith('sha512:') ? 'sha512' : 'sha256'
      const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
      if (reference.includes(':') && reference !== digest)
        return fail(response, 400, 'DIGEST_INVALID')
      const body = JSON.parse(bytes.toString())
      const missing = this.options.sparse ? [] : this.#missingParts(found, body)
      if (missing.length > 0) return fail(response, 400, 'MANIFEST_BLOB_UNKNOWN', {}, missing)
      found.manifests.set(digest, { bytes, mediaType: request.headers['content-type'] ?? '' })
      if (!reference.includes(':')) found.tags.set(reference, digest)
      const subject =
        this.options.referrersApi && body.subject ? { 'oci-subject': body.subject.digest } : {}
      return end(response, 201, { 'docker-content-digest': digest, ...subject })
    }
    if (request.method === 'DELETE') return this.#delete(response, found, reference)
    const digest = found.tags.get(reference) ?? reference
    // As distribution does: without a look at the manifest.
    if (request.headers['if-none-match'] === `"${digest}"`) return end(response, 304)
    const manifest = found.manifests.get(digest)
    if (manifest === undefined) return fail(response, 404, 'MANIFEST_UNKNOWN')
    const { bytes, mediaType } = manifest
    const headers = {
      'content-type': mediaType,
      'docker-content-digest': digest,
      etag: `"${digest}"`,
      'content-length': bytes.length,
    }
    const body = this.mangle?.(bytes, 'manifest') ?? bytes
    response.writeHead(200, headers).end(request.method === 'HEAD' ? undefined : body)
  }

  #delete(response: ServerResponse, found: Repository, reference: string) {
    const { deletions = 'distribution 3' } = this.options
    if (deletions === 'none') return fail(response, 405, 'UNSUPPORTED')
    if (!reference.includes(':')) {
      if (deletions === 'distribution 2.8') return fail(response, 400, 'DIGEST_INVALID')
      if (!found.tags.delete(reference)) return fail(response, 404, 'MANIFEST_UNKNOWN')
      return end(response, 202)
    }
    if (!found.manifests.delete(reference)) return fail(response, 404, 'MANIFEST_UNKNOWN')
    for (const [tag, of] of found.tags) if (of === reference) found.tags.delete(tag)
    return end(response, 202)
  }

  #missingParts(
    found: Repository,
    body: Record<string, { digest: string; urls?: string[] }[]>,
  ): string[] {
    const config = body.config
      ? [body.config as unknown as { digest: string; urls?: string[] }]
      : []
    const blobs = [...config, ...(body.layers ?? [])].filter(({ urls }) => !urls)
    const missing = blobs.filter(({ digest }) => !found.blobs.has(digest))
    const children = (body.manifests ?? []).filter(({ digest }) => !found.manifests.has(digest))
    return [...missing, ...children].map(({ digest }) => digest)
  }

  #blob(request: IncomingMessage, response: ServerResponse, repository: string, digest: string) {
    const held = this.repository(repository).blobs.get(digest)
    const bytes = held && (this.mangle?.(held, 'blob') ?? held)
    if (bytes === undefined) return fail(response, 404, 'BLOB_UNKNOWN')
    const headers = { 'docker-content-digest': digest, 'content-type': 'application/octet-stream' }
    const range = /^bytes=(\d+)-(?:\d+)?$/.exec(request.headers.range ?? '')
    if (range !== null) {
      const from = Number(range[1])
      const part = {
        'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
        'content-length': bytes.length - from,
      }
      response.writeHead(206, { ...headers, ...part }).end(bytes.subarray(from))
      return
    }
    response.writeHead(200, { ...headers, 'content-length': bytes.length })
    response.end(request.method === 'HEAD' ? undefined : bytes)
  }

  async #upload(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string,
    id: string,
    url: URL,
  ) {
    const found = this.repository(repository)
    const place = `/v2/${repository}/blobs/uploads/`
    if (request.method === 'POST') {
      await readBody(request)
      return this.#startUpload(response, repository, url, place)
    }
    const upload = this.uploads.get(id)
    if (upload === undefined || upload.repository !== repository) {
      request.resume()
      return fail(response, 404, 'BLOB_UPLOAD_UNKNOWN')
    }
    const state = (status: number) =>
      end(response, status, {
        location: `${this.options.tls ? 'https' : 'http'}://${request.headers.host}${place}${id}?_state=${upload.bytes.length}`,
        range: `0-${Math.max(0, upload.bytes.length - 1)}`,
      })
    const { uploadState } = this.options
    const isThere = Number(url.searchParams.get('_state')) === upload.bytes.length
    if (request.method === 'GET' && (isThere || uploadState !== 'distribution 2.8'))
      return state(204)
    if (!isThere && uploadState !== undefined) {
      request.resume()
      return uploadState === 'distribution 3'
        ? fail(response, 416, 'RANGE_INVALID')
        : fail(response, 404, 'BLOB_UPLOAD_INVALID')
    }
    if (request.method === 'DELETE') {
      this.uploads.delete(id)
      return end(response, 204)
    }
    if (
      Number(request.headers['content-length'] ?? 0) >
      (this.options.maxBody ?? Number.POSITIVE_INFINITY)
    ) {
      request.resume()
      return fail(response, 413, 'SIZE_INVALID')
    }
    const start = /^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1]
    if (start !== undefined && Number(start) !== upload.bytes.length) {
      request.resume()
      return fail(response, 416, 'BLOB_UPLOAD_INVALID')
    }
    // What came before a break is kept, as registries do.
    const parts: Buffer[] = [upload.bytes]
    try {
      for await (const part of request) parts.push(part as Buffer)
    } finally {
      const bytes = Buffer.concat(parts)
      upload.bytes = this.mangle?.(bytes, 'upload') ?? bytes
    }
    if (request.method === 'PATCH') return state(202)
    const digest = url.searchParams.get('digest') ?? ''
    const algorithm = digest.split(':')[0] === 'sha512' ? 'sha512' : 'sha256'
    const actual = `${algorithm}:${createHash(algorithm).update(upload.bytes).digest('hex')}`
    if (actual !== digest && !this.options.believes) {
      return fail(response, 400, 'DIGEST_INVALID')
    }
    this.uploads.delete(id)
    found.blobs.set(digest, upload.bytes)
    return end(response, 201, {
      location: `/v2/${repository}/blobs/${digest}`,
      'docker-content-digest': digest,
    })
  }

  #startUpload(response: ServerResponse, repository: string, url: URL, place: string) {
    const mount = url.searchParams.get('mount')
    const from = url.searchParams.get('from')
    const way = this.options.mount ?? 'all'
    if (mount !== null && way === 'error') return fail(response, 400, 'UNSUPPORTED')
    const held = mount === null ? undefined : this.repositories.get(from ?? '')?.blobs.get(mount)
    if (
      mount !== null &&
      held !== undefined &&
      (way === 'all' || (way === 'others' && from !== repository))
    ) {
      this.repository(repository).blobs.set(mount, held)
      return end(response, 201, {
        location: `/v2/${repository}/blobs/${mount}`,
        'docker-content-digest': mount,
      })
    }
    return end(response, 202, { location: place + this.openUpload(repository), range: '0-0' })
  }

  /** @returns its id */
  openUpload(repository: string): string {
    const id = randomUUID()
    this.uploads.set(id, { repository, bytes: Buffer.alloc(0) })
    return id
  }

  #referrers(response: ServerResponse, repository: string, subject: string) {
    if (!this.options.referrersApi) return fail(response, 404, 'NOT_FOUND')
    const manifests = [...this.repository(repository).manifests].flatMap(
      ([digest, { bytes, mediaType }]) => {
        const body = JSON.parse(bytes.toString())
        if (body.subject?.digest !== subject) return []
        const { artifactType, annotations } = body
        return [{ mediaType, digest, size: bytes.length, artifactType, annotations }]
      },
    )
    const mediaType = 'application/vnd.oci.image.index.v1+json'
    return json(response, { schemaVersion: 2, mediaType, manifests }, mediaType)
  }
}

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

function end(
  response: ServerResponse,
  status: number,
  headers: Record<string, string | number> = {},
): void {
  response.writeHead(status, status === 204 ? headers : { ...headers, 'content-length': 0 }).end()
}

export function json(response: ServerResponse, body: unknown, type = 'application/json'): void {
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(200, { 'content-type': type, 'content-length': bytes.length }).end(bytes)
}

export function fail(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
  details: readonly string[] = [''],
): void {
  const errors = details.map((digest) => ({
    code,
    message: code.toLowerCase().replaceAll('_', ' '),
    detail: { digest },
  }))
  const bytes = Buffer.from(JSON.stringify({ errors }))
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': bytes.length,
      ...headers,
    })
    .end(bytes)
}
