import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import {
  copyImage,
  createRegistryClient,
  type RegistryClient,
  type RegistryClientOptions,
  resolveDigest,
  type TokenExchange,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry, type FakeRegistryOptions, fail, json } from '../../support/fake-registry.ts'
import type { FakeTokenServer } from '../../support/fake-token-server.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const bearer = { auth: { kind: 'bearer', users: { kip: 'secret' } } } as const
const basic = { auth: { kind: 'basic', users: { kip: 'secret' } } } as const
const image = sampleImage({ layers: Array.from({ length: 6 }, (_, i) => noise(`access${i}`, 900)) })
const open: (FakeRegistry | RegistryClient)[] = []

afterEach(async () => {
  for (const it of open.splice(0)) await it.close()
})

async function filled(options: FakeRegistryOptions): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start(options)
  open.push(registry)
  await registry.client.push(image, 'a/b', 'v1')
  registry.requests.length = 0
  return registry
}

function clientWith(options: RegistryClientOptions): RegistryClient {
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { attempts: 2, baseMs: 1, maxMs: 1 },
    ...options,
  })
  open.push(client)
  return client
}

function tokensOf(registry: FakeRegistry): FakeTokenServer {
  return registry.tokens ?? assert.fail('the registry has no token server')
}

const image1 = (registry: FakeRegistry, repository = 'a/b') => ({
  registry: registry.host,
  repository,
  tag: 'v1',
})

const authorizations = (registry: FakeRegistry, path: RegExp): Set<string | undefined> =>
  new Set(
    registry.requests
      .filter((request) => path.test(request.path) && request.headers['user-agent'] !== 'kip-test')
      .map(({ headers }) => headers.authorization),
  )

describe('tokens', () => {
  test('are asked for once for each set of scopes, however many requests wait for one', async () => {
    const registry = await filled(bearer)
    const client = clientWith({
      credentials: async () => [{ username: 'kip', password: 'secret' }],
    })
    await Promise.all(Array.from({ length: 20 }, () => resolveDigest(client, image1(registry))))
    await copyImage(client, image1(registry), image1(registry, 'x/y'))
    assert.deepEqual(tokensOf(registry).asked.sort(), [
      'kip repository:a/b:pull',
      'kip repository:a/b:pull repository:x/y:pull,push',
      'kip repository:x/y:pull,push',
    ])
  })

  test('are renewed before they end, without being turned down', async () => {
    const registry = await filled(bearer)
    tokensOf(registry).lifeSeconds = 0.05
    const client = clientWith({
      credentials: async () => [{ username: 'kip', password: 'secret' }],
    })
    await resolveDigest(client, image1(registry))
    await new Promise((resolve) => setTimeout(resolve, 60))
    registry.requests.length = 0
    await resolveDigest(client, image1(registry))
    assert.equal(tokensOf(registry).asked.length, 2)
    assert.deepEqual(
      registry.requests.map(({ status }) => status),
      [200, 200],
    )
  })

  describe('that end while a blob is on its way', () => {
    const layer = noise('revoked', 2 * 1024 * 1024)
    const large = sampleImage({ layers: [layer] })
    const digest = large.blobs[1]?.digest ?? ''
    const begin = async (): Promise<readonly [FakeRegistry, FakeRegistry, RegistryClient]> => {
      const source = await filled(bearer)
      await source.client.push(large, 'a/b', 'v1')
      source.requests.length = 0
      const client = clientWith({
        credentials: async () => [{ username: 'kip', password: 'secret' }],
      })
      return [source, await filled(bearer), client]
    }
    const requireCopied = (target: FakeRegistry): void => {
      assert.ok(target.repository('c/d').blobs.get(digest)?.equals(layer))
      assert.equal(target.repository('c/d').tags.get('v1'), large.digest)
      assert.equal(target.uploads.size, 0, 'an upload was left open')
    }

    test('are asked for anew by a download that broke, which goes on where it was', async () => {
      const [source, target, client] = await begin()
      let broken = false
      source.interceptor = (request, response) => {
        if (broken || request.method !== 'GET' || !request.url?.endsWith(digest)) return false
        broken = true
        response.writeHead(200, { 'content-length': layer.length })
        response.write(layer.subarray(0, 700_000), () =>
          setTimeout(() => {
            tokensOf(source).revokeAll()
            request.socket.destroy()
          }, 10),
        )
        return true
      }
      await copyImage(client, image1(source), image1(target, 'c/d'))
      requireCopied(target)
      const resumed = source.requests.filter(({ headers }) => headers.range !== undefined)
      assert.deepEqual(
        resumed.map(({ status, headers }) => `${status} ${headers.range}`),
        [401, 206].map((status) => `${status} bytes=700000-${layer.length - 1}`),
      )
    })

    test('are asked for anew by an upload that was turned down', async () => {
      const [source, target, client] = await begin()
      let revoked = false
      target.interceptor = (request) => {
        if (
          revoked ||
          request.method !== 'PUT' ||
          !request.url?.includes(encodeURIComponent(digest))
        )
          return false
        revoked = true
        tokensOf(target).revokeAll()
        return false
      }
      await copyImage(client, image1(source), image1(target, 'c/d'))
      requireCopied(target)
      const puts = target.requests.filter(
        ({ method, path }) => method === 'PUT' && path.includes(encodeURIComponent(digest)),
      )
      assert.deepEqual(
        puts.map(({ status }) => status),
        [401, 201],
      )
    })
  })

  test('are asked for anonymously where nobody has a credential', async () => {
    const registry = await filled(bearer)
    tokensOf(registry).anonymousPull = true
    const client = clientWith({ credentials: async () => [] })
    await resolveDigest(client, image1(registry))
    assert.deepEqual(tokensOf(registry).asked, ['anonymous repository:a/b:pull'])
    await assert.rejects(copyImage(client, image1(registry), image1(registry, 'x/y')), {
      code: 'COPY_UNAUTHORIZED',
    })
    assert.equal(registry.repository('x/y').tags.size, 0)
  })
})

describe('a registry is asked anew whom to ask for tokens', () => {
  const challenge = (registry: FakeRegistry, realm: string) => ({
    'www-authenticate': `Bearer realm="http://${registry.host}/${realm}",service="x"`,
  })

  test('when it has another token server for each repository', async () => {
    const registry = await filled({})
    await registry.client.push(image, 'closed/b', 'v1')
    registry.interceptor = (request, response) => {
      const closed = request.url?.startsWith('/v2/closed/')
      if (!closed && !request.url?.startsWith('/refuses')) return false
      if (closed) fail(response, 401, 'UNAUTHORIZED', challenge(registry, 'refuses'))
      else fail(response, 401, 'UNAUTHORIZED')
      return true
    }
    const client = clientWith({})
    await assert.rejects(resolveDigest(client, image1(registry, 'closed/b')), {
      code: 'COPY_UNAUTHORIZED',
    })
    const { digest } = await resolveDigest(client, image1(registry))
    assert.equal(digest, image.digest)
  })

  test('when its token server was moved', async () => {
    const registry = await filled({})
    await registry.client.push(image, 'e/f', 'v1')
    let place = 'old'
    registry.interceptor = (request, response) => {
      const { url = '', headers } = request
      if (url.startsWith(`/${place}`)) json(response, { token: place, expires_in: 1 })
      else if (url.startsWith('/old')) fail(response, 404, 'UNKNOWN')
      else if (headers.authorization === `Bearer ${place}`) return false
      else fail(response, 401, 'UNAUTHORIZED', challenge(registry, place))
      return true
    }
    const client = clientWith({})
    await resolveDigest(client, image1(registry))
    place = 'new'
    const { digest } = await resolveDigest(client, image1(registry, 'e/f'))
    assert.equal(digest, image.digest)
  })
})

describe('a token server that fails for a moment', () => {
  const seeing = async (): Promise<FakeRegistry> => {
    const registry = await filled(bearer)
    await registry.client.push(image, 'e/f', 'v1')
    registry.requests.length = 0
    return registry
  }
  const credentials = async () => [{ username: 'kip', password: 'secret' }]

  test('is asked once for each try', async () => {
    const registry = await seeing()
    const client = clientWith({ credentials })
    await resolveDigest(client, image1(registry))
    let asked = 0
    registry.interceptor = (request, response) => {
      if (!request.url?.startsWith('/token')) return false
      asked += 1
      fail(response, 503, 'UNAVAILABLE')
      return true
    }
    await assert.rejects(resolveDigest(client, image1(registry, 'e/f')), {
      code: 'COPY_SERVER_ERROR',
    })
    assert.equal(asked, 2, 'two tries')
  })

  test('is not taken for an image that is not there', async () => {
    const registry = await seeing()
    const client = clientWith({ credentials })
    await resolveDigest(client, image1(registry))
    let failures = 1
    registry.interceptor = (request, response) => {
      const { url = '', headers } = request
      if (url.startsWith('/token') && failures-- > 0) fail(response, 503, 'UNAVAILABLE')
      else if (!url.startsWith('/token') && headers.authorization === undefined)
        fail(response, 404, 'NAME_UNKNOWN')
      else return false
      return true
    }
    const { digest } = await resolveDigest(client, image1(registry, 'e/f'))
    assert.equal(digest, image.digest)
  })
})

describe('identity tokens', () => {
  test('go to the token server by POST, and nowhere else', async () => {
    const registry = await filled(bearer)
    tokensOf(registry).refreshTokens.set('refresh-me', 'kip')
    const client = clientWith({ credentials: async () => [{ identityToken: 'refresh-me' }] })
    await resolveDigest(client, image1(registry))
    const asked = registry.requests.filter(({ path }) => path.startsWith('/token'))
    assert.deepEqual(
      asked.map(({ method, path, headers }) => [method, path, headers.authorization]),
      [['POST', '/token', undefined]],
    )
    for (const value of authorizations(registry, /^\/v2\//))
      assert.doesNotMatch(value ?? '', /refresh-me/)
  })

  test('that are unknown are an error without the token', async () => {
    const registry = await filled(bearer)
    const client = clientWith({ credentials: async () => [{ identityToken: 'refresh-me' }] })
    await assert.rejects(resolveDigest(client, image1(registry)), (error: Error) => {
      assert.match(error.message, /POST .*\/token.*401/)
      assert.doesNotMatch(error.message, /refresh-me/)
      return true
    })
  })
})

describe('a source of credentials that is slow, or fails', () => {
  test('holds up no call that was stopped', async () => {
    const registry = await filled(basic)
    const asked = Promise.withResolvers<void>()
    const client = clientWith({
      credentials: () => {
        asked.resolve()
        return new Promise(() => {})
      },
    })
    const stop = new AbortController()
    const reason = new Error('enough')
    const { signal } = stop
    const calls = [
      resolveDigest(client, image1(registry), { signal }),
      copyImage(client, image1(registry), { ...image1(registry, 'x/y'), tag: 'v2' }, { signal }),
    ]
    await asked.promise
    stop.abort(reason)
    for (const call of calls) await assert.rejects(call, reason)
  })

  test('does not matter where nobody asks for a credential', async () => {
    const registry = await filled({})
    const client = clientWith({ credentials: () => Promise.reject(new Error('no helper')) })
    const to = { ...image1(registry, 'x/y'), tag: 'v2' }
    assert.equal((await copyImage(client, image1(registry), to)).digest, image.digest)
  })
})

test('a registry token is shown to the registry as it is', async () => {
  const registry = await filled({})
  registry.interceptor = (request, response) => {
    if (request.headers.authorization === 'Bearer given') return false
    const challenge = `Bearer realm="${registry.url}/token",service="x"`
    response.writeHead(401, { 'www-authenticate': challenge, 'content-length': 0 }).end()
    return true
  }
  const client = clientWith({ credentials: async () => [{ registryToken: 'given' }] })
  await resolveDigest(client, image1(registry))
  assert.ok(registry.requests.every(({ path }) => !path.startsWith('/token')))
})

for (const [kind, options] of Object.entries({ basic, bearer })) {
  describe(`credentials of ${kind} authentication`, () => {
    test('are tried in turn until one is let in, which is then kept', async () => {
      const registry = await filled(options)
      const client = clientWith({
        credentials: async () => [
          { username: 'kip', password: 'old' },
          { username: 'stranger', password: 'secret' },
          { username: 'kip', password: 'secret' },
        ],
      })
      await resolveDigest(client, image1(registry))
      registry.requests.length = 0
      await resolveDigest(client, image1(registry))
      assert.equal(registry.requests.length, 1)
    })

    test('that all fail are an error that names none of them', async () => {
      const registry = await filled(options)
      const client = clientWith({
        credentials: async () => [
          { username: 'kip', password: 'wrong-one' },
          { username: 'nobody', password: 'wrong-two' },
        ],
      })
      await assert.rejects(resolveDigest(client, image1(registry)), (error: Error) => {
        assert.match(error.message, /401/)
        assert.doesNotMatch(error.message, /wrong-|nobody/)
        return true
      })
    })
  })
}

describe("a cloud's own exchange of tokens", () => {
  const asked: TokenExchange[] = []
  afterEach(() => void asked.splice(0))

  test('takes the place of the token server, with scopes and credential', async () => {
    const registry = await filled({})
    registry.interceptor = (request, response) => {
      if (request.headers.authorization === 'Bearer exchanged') return false
      const challenge = `Bearer realm="${registry.url}/token",service="x"`
      response.writeHead(401, { 'www-authenticate': challenge, 'content-length': 0 }).end()
      return true
    }
    const client = clientWith({
      credentials: async () => [{ username: 'kip', password: 'secret' }],
      exchangeToken: async (question) => {
        asked.push(question)
        return { token: 'exchanged', expiresInSeconds: 60 }
      },
    })
    await resolveDigest(client, image1(registry))
    await resolveDigest(client, image1(registry))
    assert.deepEqual(
      asked.map(({ host, realm, service, scopes }) => ({ host, realm, service, scopes })),
      [
        {
          host: registry.host,
          realm: `${registry.url}/token`,
          service: 'x',
          scopes: ['repository:a/b:pull'],
        },
      ],
    )
    assert.ok(registry.requests.every(({ path }) => !path.startsWith('/token')))
  })

  test('holds up no call that was stopped', async () => {
    const registry = await filled(bearer)
    const exchanging = Promise.withResolvers<void>()
    const client = clientWith({
      exchangeToken: () => {
        exchanging.resolve()
        return new Promise(() => {})
      },
    })
    const stop = new AbortController()
    const reason = new Error('enough')
    const call = resolveDigest(client, image1(registry), { signal: stop.signal })
    await exchanging.promise
    stop.abort(reason)
    await assert.rejects(call, reason)
  })

  test('may leave a registry to its own token server', async () => {
    const registry = await filled(bearer)
    const client = clientWith({
      credentials: async () => [{ username: 'kip', password: 'secret' }],
      exchangeToken: async () => undefined,
    })
    await resolveDigest(client, image1(registry))
    assert.deepEqual(tokensOf(registry).asked, ['kip repository:a/b:pull'])
  })

  test('is not told a credential for a realm of strangers', async () => {
    const registry = await filled({})
    registry.interceptor = (_, response) => {
      const challenge = `Bearer realm="http://localhost:${registry.port}/token",service="x"`
      response.writeHead(401, { 'www-authenticate': challenge, 'content-length': 0 }).end()
      return true
    }
    const client = clientWith({
      credentials: async () => [{ username: 'kip', password: 'secret' }],
      exchangeToken: async (question) => {
        asked.push(question)
        return { token: 'exchanged', expiresInSeconds: 60 }
      },
    })
    await assert.rejects(resolveDigest(client, image1(registry)), { code: 'COPY_UNAUTHORIZED' })
    assert.deepEqual(asked, [])
  })
})
