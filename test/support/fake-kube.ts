import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { HttpKubeClient } from '../../src/kube/http-client.ts'
import { type ResourcePath, resourcePath } from '../../src/kube/resource.ts'
import { type Change, type FakeObject, FakeStore, Refusal, type Write } from './fake-kube-store.ts'

export type { FakeObject } from './fake-kube-store.ts'

export interface FakeRequest {
  readonly method: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
}

/** What a lever makes of a request; undefined: nothing, it goes its way. */
export type Fault =
  | {
      readonly status: number
      readonly reason?: string
      readonly message?: string
      readonly headers?: Record<string, string>
    }
  /** No answer, ever. */
  | 'hang'
  /** The connection is cut. */
  | 'reset'
  /** The request is carried out, and its answer is lost. */
  | 'lose-answer'

export interface FakeKubeOptions {
  /** Default 60 s, as the real one. */
  readonly bookmarkEveryMs?: number
  /** Whether `sendInitialEvents` is known. Default true. */
  readonly watchList?: boolean
  /** Bearer token asked for. Default: none. */
  readonly token?: string
}

/**
 * An API server for unit tests: real HTTP, and the real rules of resourceVersion, watches, bookmarks, paging, 410,
 * preconditions and server-side apply. Any group and kind is stored; there are no controllers and no admission.
 */
export class FakeKube {
  readonly store: FakeStore = new FakeStore()
  readonly requests: FakeRequest[] = []
  /** Decides on every request before it is carried out. */
  fault: ((request: FakeRequest) => Fault | undefined) | undefined
  /** Open connections stay open and nothing more is written to watches. */
  silent = false
  token: string | undefined
  watchList: boolean
  readonly #bookmarkEveryMs: number
  readonly #sockets = new Set<Socket>()
  readonly #watches = new Set<ServerResponse>()
  #server: Server | undefined
  #port = 0

  constructor(options: FakeKubeOptions = {}) {
    this.#bookmarkEveryMs = options.bookmarkEveryMs ?? 60_000
    this.watchList = options.watchList ?? true
    this.token = options.token
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  get sockets(): Iterable<Socket> {
    return this.#sockets
  }

  /** Open connections. */
  get connections(): number {
    return this.#sockets.size
  }

  get watches(): number {
    return this.#watches.size
  }

  /** Listens, after a stop on the same port and with the same objects. */
  async start(): Promise<this> {
    const server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy())
    })
    server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
    return this
  }

  /** As killed: every connection breaks at once. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  client(token: string | undefined = this.token): HttpKubeClient {
    const headers: Record<string, string> =
      token === undefined ? {} : { authorization: `Bearer ${token}` }
    return new HttpKubeClient({
      access: {
        server: this.url,
        namespace: 'default',
        credentials: async () => ({ headers, tls: {} }),
      },
    })
  }

  /** Creates or replaces an object from the server's side. */
  put(resource: ResourcePath, object: FakeObject): FakeObject {
    const collection = collectionOf(resource)
    const key = keyOf(object.metadata?.namespace ?? resource.namespace, object.metadata?.name ?? '')
    const write: Write = { manager: 'fake-kube' }
    const live = this.store.get(collection, key)
    if (live === undefined) {
      const created = this.store.create(collection, key, object, write)
      if (object.status === undefined) return created
      return this.store.update(
        collection,
        key,
        { ...created, status: object.status },
        {
          ...write,
          subresource: 'status',
        },
      )
    }
    const updated = this.store.update(collection, key, object, write)
    if (object.status === undefined) return updated
    return this.store.update(
      collection,
      key,
      { ...updated, status: object.status },
      {
        ...write,
        subresource: 'status',
      },
    )
  }

  get(resource: ResourcePath, name: string): FakeObject | undefined {
    return this.store.get(collectionOf(resource), keyOf(resource.namespace, name))
  }

  list(resource: ResourcePath): readonly FakeObject[] {
    const all = this.store.list(collectionOf(resource))
    const { namespace } = resource
    return namespace === undefined ? all : all.filter((o) => o.metadata?.namespace === namespace)
  }

  delete(resource: ResourcePath, name: string): void {
    this.store.delete(collectionOf(resource), keyOf(resource.namespace, name))
  }

  /** Ends every open watch, as the server's own time-out does. */
  endWatches(): void {
    for (const response of this.#watches) response.end()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake')
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    const seen: FakeRequest = {
      method: request.method ?? 'GET',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: text === '' ? undefined : JSON.parse(text),
    }
    this.requests.push(seen)
    const fault = this.fault?.(seen)
    if (fault === 'hang') return
    if (fault === 'reset') {
      response.destroy()
      return
    }
    try {
      if (typeof fault === 'object') {
        const { status, reason = '', message = 'a fault', headers } = fault
        throw new Refusal(status, reason, message, undefined, headers)
      }
      if (this.token !== undefined && request.headers.authorization !== `Bearer ${this.token}`) {
        throw new Refusal(401, 'Unauthorized', 'Unauthorized')
      }
      if (seen.path === '/readyz') {
        response.writeHead(200, { 'content-type': 'text/plain' }).end('ok')
        return
      }
      const route = parseRoute(seen.path)
      if (route === undefined) throw new Refusal(404, 'NotFound', 'the server could not find it')
      if (seen.method === 'GET' && route.name === undefined && isTrue(seen.query.watch)) {
        this.#watch(route, seen, response)
        return
      }
      const answer = this.#answer(route, seen)
      if (fault === 'lose-answer') response.destroy()
      else send(response, seen.method === 'POST' ? 201 : 200, answer)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (fault === 'lose-answer') response.destroy()
      else send(response, error.status.code ?? 500, error.status, error.headers)
    }
  }

  #answer(route: Route, request: FakeRequest): unknown {
    const { collection, namespace, name, subresource } = route
    const { query } = request
    const write: Write = {
      manager:
        query.fieldManager ?? (request.headers['user-agent'] ?? 'unknown').split('/')[0] ?? '',
      dryRun: query.dryRun === 'All',
      force: isTrue(query.force),
      ...(subresource === undefined ? {} : { subresource }),
    }
    const body = (request.body ?? {}) as FakeObject
    const key = keyOf(namespace, name ?? '')
    switch (request.method) {
      case 'GET': {
        if (name === undefined) return this.#list(route, request)
        const object = this.store.get(collection, key)
        if (object === undefined)
          throw new Refusal(404, 'NotFound', `${collection} "${name}" not found`)
        return object
      }
      case 'POST': {
        const { generateName } = body.metadata ?? {}
        const given =
          body.metadata?.name ??
          (generateName === undefined
            ? undefined
            : generateName + Math.random().toString(36).slice(2, 7))
        if (given === undefined)
          throw new Refusal(422, 'Invalid', 'name or generateName is required')
        return this.store.create(
          collection,
          keyOf(namespace, given),
          {
            ...body,
            metadata: {
              ...body.metadata,
              name: given,
              ...(namespace === undefined ? {} : { namespace }),
            },
          },
          write,
        )
      }
      case 'PUT':
        return this.store.update(collection, key, body, write)
      case 'PATCH': {
        const type = request.headers['content-type'] ?? ''
        if (type.startsWith('application/apply-patch')) {
          if (query.fieldManager === undefined) {
            throw new Refusal(
              422,
              'Invalid',
              'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value',
            )
          }
          return this.store.apply(collection, key, body, write)
        }
        if (type.includes('merge-patch')) {
          return this.store.mergePatch(collection, key, body as never, write)
        }
        throw new Refusal(415, 'UnsupportedMediaType', `the fake knows no ${type}`)
      }
      case 'DELETE': {
        const preconditions = (
          body as { preconditions?: { uid?: string; resourceVersion?: string } }
        ).preconditions
        return this.store.delete(collection, key, preconditions)
      }
      default:
        throw new Refusal(405, 'MethodNotAllowed', `no ${request.method}`)
    }
  }

  #list(route: Route, { query }: FakeRequest): unknown {
    let version = this.store.version
    let after = ''
    const token = query.continue
    if (token !== undefined) {
      const [at, last] = JSON.parse(Buffer.from(token, 'base64').toString()) as [number, string]
      if (at < this.store.oldest) {
        throw new Refusal(410, 'Expired', 'The provided continue parameter is too old')
      }
      version = at
      after = last
    }
    const selects = selectorOf(route, query)
    // A continued list is not of the version it began with here: the real one is, and no client can tell what it missed.
    const items = this.store.list(route.collection).filter((object) => {
      const { namespace, name } = object.metadata ?? {}
      return selects(object) && keyOf(namespace, name ?? '') > after
    })
    const limit = Number(query.limit ?? 0)
    const page = limit > 0 ? items.slice(0, limit) : items
    const last = page.at(-1)?.metadata
    const more = page.length < items.length && last !== undefined
    return {
      kind: 'List',
      apiVersion: 'v1',
      metadata: {
        resourceVersion: String(version),
        ...(more
          ? {
              continue: Buffer.from(
                JSON.stringify([version, keyOf(last.namespace, last.name ?? '')]),
              ).toString('base64'),
              remainingItemCount: items.length - page.length,
            }
          : {}),
      },
      items: page,
    }
  }

  #watch(route: Route, { query }: FakeRequest, response: ServerResponse): void {
    const initial = isTrue(query.sendInitialEvents)
    if (initial && (!this.watchList || query.resourceVersionMatch !== 'NotOlderThan')) {
      throw new Refusal(
        422,
        'Invalid',
        'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden',
      )
    }
    const from = query.resourceVersion === undefined ? undefined : Number(query.resourceVersion)
    const selects = selectorOf(route, query)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    const write = (type: string, object: unknown): void => {
      if (!this.silent) response.write(`${JSON.stringify({ type, object })}\n`)
    }
    if (from !== undefined && from > 0 && from < this.store.oldest) {
      write('ERROR', new Refusal(410, 'Expired', `too old resource version: ${from}`).status)
      response.end()
      return
    }
    const tell = (change: Change): void => {
      // A watch from a version that is yet to come stands, and hears of nothing before it.
      if (change.collection !== route.collection || change.version <= (from ?? 0)) return
      const was = change.before !== undefined && selects(change.before)
      const is = change.type !== 'DELETED' && selects(change.object)
      if (is) write(was ? 'MODIFIED' : 'ADDED', change.object)
      else if (was) write('DELETED', change.object)
    }
    const bookmark = (end: boolean): void => {
      if (this.store.version < (from ?? 0)) return
      write('BOOKMARK', {
        kind: 'Bookmark',
        metadata: {
          resourceVersion: String(this.store.version),
          ...(end ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
        },
      })
    }
    if (from === undefined || from === 0) {
      for (const object of this.store.list(route.collection)) {
        if (selects(object)) write('ADDED', object)
      }
      if (initial) bookmark(true)
    } else for (const change of this.store.since(from)) tell(change)
    const stopTelling = this.store.onChange(tell)
    const bookmarks = isTrue(query.allowWatchBookmarks)
      ? setInterval(() => bookmark(false), this.#bookmarkEveryMs)
      : undefined
    const end = setTimeout(() => response.end(), Number(query.timeoutSeconds ?? 1800) * 1000)
    this.#watches.add(response)
    response.on('close', () => {
      stopTelling()
      clearInterval(bookmarks)
      clearTimeout(end)
      this.#watches.delete(response)
    })
  }
}

/** A fake API server that listens on loopback. */
export function startFakeKube(options: FakeKubeOptions = {}): Promise<FakeKube> {
  return new FakeKube(options).start()
}

interface Route {
  readonly collection: string
  readonly namespace?: string
  readonly name?: string
  readonly subresource?: string
}

function parseRoute(path: string): Route | undefined {
  const match = /^\/(?:api|apis\/([^/]+))\/([^/]+)\/(.+)$/.exec(path)
  if (match === null) return undefined
  const [, group = '', version = ''] = match
  const parts = (match[3] ?? '').split('/').map(decodeURIComponent)
  const namespace = parts[0] === 'namespaces' && parts.length > 2 ? parts[1] : undefined
  // `namespaces/x/status` is a namespace's own subresource; `namespaces/x/pods` is what lives in it.
  const own = parts[2] === 'status' || parts[2] === 'finalize'
  const [plural = '', name, subresource] = namespace === undefined || own ? parts : parts.slice(2)
  return {
    collection: `${group}/${version}/${plural}`,
    ...(namespace === undefined || own ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  }
}

function collectionOf({ group, version, plural }: ResourcePath): string {
  // By the same way as a request would come, so that the two cannot differ.
  return parseRoute(resourcePath({ group, version, plural }))?.collection ?? ''
}

function keyOf(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
}

function isTrue(value: string | undefined): boolean {
  return value === 'true' || value === '1'
}

/** Namespace of the path, `fieldSelector` by equality, `labelSelector` by equality and existence. */
function selectorOf(route: Route, query: FakeRequest['query']): (object: FakeObject) => boolean {
  const fields = terms(query.fieldSelector)
  const labels = terms(query.labelSelector)
  return (object) => {
    if (route.namespace !== undefined && object.metadata?.namespace !== route.namespace)
      return false
    return (
      fields.every(({ name, not, value }) => (fieldAt(object, name) === value) !== not) &&
      labels.every(({ name, not, value }) => {
        const label = object.metadata?.labels?.[name]
        return (value === undefined ? label !== undefined : label === value) !== not
      })
    )
  }
}

function terms(
  selector = '',
): readonly { name: string; not: boolean; value: string | undefined }[] {
  return selector
    .split(',')
    .filter((term) => term !== '')
    .map((term) => {
      const match = /^(!?)([^=!]+)(?:(!?)={1,2}(.*))?$/.exec(term)
      if (match === null) throw new Refusal(400, 'BadRequest', `the fake reads no selector ${term}`)
      const [, absent, name = '', not, value] = match
      return { name, not: absent === '!' || not === '!', value }
    })
}

function fieldAt(object: FakeObject, path: string): string {
  let value: unknown = object
  for (const part of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[part]
  return value === undefined ? '' : String(value)
}

function send(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}
