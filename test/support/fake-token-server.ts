import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface FakeAuth {
  readonly kind: 'basic' | 'bearer'
  readonly users: Readonly<Record<string, string>>
}

interface Issued {
  readonly user: string | undefined
  readonly scopes: readonly string[]
}

/** Who may do what at a fake registry: Basic, or Bearer tokens of a realm at `/token` on the same server. */
export class FakeTokenServer {
  readonly #auth: FakeAuth
  readonly #issued = new Map<string, Issued>()
  /** Questions asked at `/token`, as `user scope scope`. */
  readonly asked: string[] = []
  /** Refresh tokens and whom they stand for. */
  readonly refreshTokens = new Map<string, string>()
  /** Anybody may pull. */
  anonymousPull = false
  /** Whoever has a name may delete, too. */
  deletions = true
  lifeSeconds = 300

  constructor(auth: FakeAuth) {
    this.#auth = auth
  }

  /** Makes every token that was issued useless. */
  revokeAll(): void {
    this.#issued.clear()
  }

  /** @returns the challenge for a request that is not let in */
  challenge(request: IncomingMessage, url: string): string | undefined {
    const authorization = request.headers.authorization ?? ''
    if (this.#auth.kind === 'basic') {
      return this.#userOf(authorization) === undefined ? 'Basic realm="fake"' : undefined
    }
    // The client that fills registries for tests shows its password where it pleases.
    if (this.#userOf(authorization) !== undefined && request.headers['user-agent'] === 'kip-test')
      return undefined
    const token = this.#issued.get(authorization.replace(/^Bearer /, ''))
    const { repository, action, from } = needOf(request)
    const has = (name: string, wanted: string): boolean =>
      token?.scopes.some((scope) => {
        const [type, of, actions = ''] = scope.split(':')
        return type === 'repository' && of === name && actions.split(',').includes(wanted)
      }) === true
    if (
      repository === undefined
        ? token !== undefined
        : has(repository, action) && (from === undefined || has(from, 'pull'))
    ) {
      return undefined
    }
    return `Bearer realm="${url}/token",service="fake.registry",scope="repository:${repository}:${action}"`
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://fake')
    let body = ''
    for await (const part of request) body += part
    const form = new URLSearchParams(body)
    const user =
      request.method === 'POST'
        ? this.refreshTokens.get(form.get('refresh_token') ?? '')
        : this.#userOf(request.headers.authorization ?? '')
    const asked =
      request.method === 'POST'
        ? (form.get('scope') ?? '').split(' ')
        : url.searchParams.getAll('scope')
    const anonymous =
      user === undefined && request.headers.authorization === undefined && request.method === 'GET'
    this.asked.push([user ?? 'anonymous', ...asked].join(' '))
    if (user === undefined && !(anonymous && this.anonymousPull)) {
      response.writeHead(401, { 'content-length': 0 }).end()
      return
    }
    // What is not allowed is left out of the token, and is no error.
    const allowed = asked.map((scope) => (this.deletions ? scope : scope.replace(/,delete$/, '')))
    const scopes =
      user === undefined ? allowed.map((scope) => scope.replace(/:pull,push$/, ':pull')) : allowed
    const token = randomUUID()
    this.#issued.set(token, { user, scopes })
    const bytes = Buffer.from(JSON.stringify({ token, expires_in: this.lifeSeconds }))
    response
      .writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length })
      .end(bytes)
  }

  #userOf(authorization: string): string | undefined {
    const [name = '', password] = Buffer.from(authorization.replace(/^Basic /, ''), 'base64')
      .toString()
      .split(':')
    return authorization.startsWith('Basic ') &&
      password !== undefined &&
      this.#auth.users[name] === password
      ? name
      : undefined
  }
}

function needOf(request: IncomingMessage): {
  repository: string | undefined
  action: 'pull' | 'push' | 'delete'
  from: string | undefined
} {
  const url = new URL(request.url ?? '', 'http://fake')
  const repository = /^\/v2\/(.+?)\/(?:blobs|manifests|tags|referrers)\//.exec(url.pathname)?.[1]
  const reads = request.method === 'GET' || request.method === 'HEAD'
  const deletes = request.method === 'DELETE' && /\/manifests\/[^/]+$/.test(url.pathname)
  const action = reads ? 'pull' : deletes ? 'delete' : 'push'
  return { repository, action, from: url.searchParams.get('from') ?? undefined }
}
