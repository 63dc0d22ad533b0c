import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { parseProxy } from '../../../src/image-copy/src/http/proxy.ts'
import { CheckedHeaders, requestHead } from '../../../src/image-copy/src/http/request-head.ts'
import {
  copyImage,
  createRegistryClient,
  proxyFromVariables,
  type RegistryClientOptions,
  resolveDigest,
} from '../../../src/image-copy/src/index.ts'
import { openAuthority } from '../../cluster/pki.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const image = sampleImage({ layers: [noise('transport', 300_000)] })

async function filled(registry: FakeRegistry): Promise<FakeRegistry> {
  await registry.client.push(image, 'a/b', 'v1')
  registry.requests.length = 0
  return registry
}

async function resolve(registry: FakeRegistry, options: RegistryClientOptions): Promise<string> {
  const client = createRegistryClient({ retry: { attempts: 1 }, ...options })
  try {
    const reference = { registry: registry.host, repository: 'a/b', tag: 'v1' }
    return (await resolveDigest(client, reference)).digest
  } finally {
    await client.close()
  }
}

async function copiesLargeBlobs(
  source: FakeRegistry,
  target: FakeRegistry,
  options: RegistryClientOptions,
): Promise<void> {
  const layers = [noise('large', 9_000_001), noise('x', 16_384), noise('y', 65_537)]
  const large = sampleImage({ layers })
  await source.client.push(large, 'a/b', 'v1')
  const client = createRegistryClient(options)
  try {
    const to = { registry: target.host, repository: 'a/b', tag: 'v1' }
    await copyImage(client, { registry: source.host, repository: 'a/b', tag: 'v1' }, to)
  } finally {
    await client.close()
  }
  for (const blob of large.blobs) {
    const arrived = target.repository('a/b').blobs.get(blob.digest)
    assert.ok(arrived?.equals(await blob.read()))
  }
}

describe('TLS', () => {
  let folder: string
  let ca: string
  let server: { cert: string; key: string; ca: string }
  let clientIdentity: { cert: string; key: string }
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'copy-tls-'))
    const authority = await openAuthority(folder)
    const issued = await authority.issue({
      commonName: 'registry',
      hosts: ['127.0.0.1', 'localhost'],
    })
    const mine = await authority.issue({ commonName: 'client', hosts: ['client'] })
    ca = authority.certificate
    server = { cert: issued.certificate, key: issued.key, ca }
    clientIdentity = { cert: mine.certificate, key: mine.key }
  })
  after(() => rm(folder, { recursive: true, force: true }))

  test('is trusted under the authority given, and only then', async () => {
    await using registry = await filled(await FakeRegistry.start({ tls: server }))
    assert.equal(await resolve(registry, { ca }), image.digest)
    assert.equal(await resolve(registry, { hosts: () => ({ ca }) }), image.digest)
    await assert.rejects(resolve(registry, {}), { code: 'COPY_TLS', retryable: false })
    await assert.rejects(resolve(registry, { hosts: () => ({ http: true }) }), {
      name: 'RegistryError',
    })
  })

  test('of a token server that is the registry itself is that of the registry, however its name is written', async () => {
    const auth = { kind: 'bearer', users: { kip: 'secret' } } as const
    await using registry = await filled(
      await FakeRegistry.start({ tls: server, host: 'LOCALHOST', auth }),
    )
    const named = registry.host
    assert.equal(named, `LOCALHOST:${registry.port}`)
    assert.equal(
      await resolve(registry, {
        credentials: async () => [{ username: 'kip', password: 'secret' }],
        hosts: (host) => (host === named ? { ca } : {}),
      }),
      image.digest,
    )
  })

  test('shows a client certificate where one is configured', async () => {
    await using registry = await FakeRegistry.start({ tls: { ...server, clientCa: ca } })
    const seen: (string | string[] | undefined)[] = []
    registry.interceptor = (request) => {
      seen.push((request.socket as TLSSocket).getPeerCertificate()?.subject?.CN)
      return false
    }
    await assert.rejects(resolve(registry, { ca }), { code: 'COPY_NOT_FOUND' })
    await assert.rejects(resolve(registry, { ca, hosts: () => clientIdentity }), {
      code: 'COPY_NOT_FOUND',
    })
    assert.deepEqual(seen, [undefined, 'client'])
  })

  test('to a server that wants a client certificate, or another, fails by that name', async () => {
    await using registry = await filled(await FakeRegistry.start())
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      const wants = { ...server, requestCert: true, rejectUnauthorized: true, maxVersion }
      await using strict = await secured(registry.port, wants)
      const client = createRegistryClient({ ca, retry: { baseMs: 1, maxMs: 1 } })
      try {
        const host = `localhost:${strict.port}`
        const reference = { registry: host, repository: 'a/b', tag: 'v1' }
        await assert.rejects(resolveDigest(client, reference), {
          code: 'COPY_TLS',
          host,
          retryable: false,
          message: maxVersion === 'TLSv1.3' ? /alert certificate required.*cert/ : /handshake/,
        })
      } finally {
        await client.close()
      }
    }
  })

  test('with a client certificate and a key that cannot be used fails by that name', async () => {
    await using registry = await filled(await FakeRegistry.start({ tls: server }))
    const wrong = [
      [{ ...clientIdentity, key: server.key }, /key values mismatch/],
      [{ ...clientIdentity, key: 'no PEM' }, /unsupported/],
      [{ ...clientIdentity, cert: 'no PEM' }, /no start line/],
    ] as const
    for (const [identity, message] of wrong)
      await assert.rejects(resolve(registry, { ca, hosts: () => identity }), {
        code: 'COPY_TLS',
        host: registry.host,
        retryable: false,
        message,
      })
  })

  test('with a certificate that cannot be used asks no proxy for a way', async () => {
    await using registry = await filled(await FakeRegistry.start({ tls: server }))
    await using proxy = await TestProxy.start('kip', 'secret')
    const hosts = () => ({ ...clientIdentity, key: 'no PEM' })
    const through = () => `http://kip:secret@127.0.0.1:${proxy.port}`
    await assert.rejects(resolve(registry, { ca, hosts, proxy: through }), { code: 'COPY_TLS' })
    assert.deepEqual(proxy.seen, [])
  })

  test('carries large blobs, with back-pressure, byte for byte', async () => {
    await using source = await FakeRegistry.start({ tls: server })
    await using target = await FakeRegistry.start({ tls: server })
    await copiesLargeBlobs(source, target, { ca })
  })

  test('carries them through a proxy as well', async () => {
    await using source = await FakeRegistry.start({ tls: server })
    await using target = await FakeRegistry.start({ tls: server })
    await using proxy = await TestProxy.start('kip', 'secret')
    const options = { ca, proxy: () => `http://kip:secret@127.0.0.1:${proxy.port}` }
    await copiesLargeBlobs(source, target, options)
    assert.ok(proxy.seen.includes(`CONNECT ${source.host}`))
    assert.ok(proxy.seen.includes(`CONNECT ${target.host}`))
  })

  test('that breaks in both directions loses no byte, and asks for none twice', async () => {
    await using source = await FakeRegistry.start({ tls: server })
    await using target = await FakeRegistry.start({ tls: server })
    const layer = noise('tls broken', 5_000_003)
    const broken = sampleImage({ layers: [layer] })
    const digest = broken.blobs[1]?.digest ?? ''
    await source.client.push(broken, 'a/b', 'v1')
    source.requests.length = 0
    let cuts = 0
    source.interceptor = (request, response) => {
      if (cuts === 3 || request.method !== 'GET' || !request.url?.endsWith(digest)) return false
      cuts += 1
      const start = Number(/bytes=(\d+)/.exec(request.headers.range ?? '')?.[1] ?? 0)
      const range = `bytes ${start}-${layer.length - 1}/${layer.length}`
      response.writeHead(start === 0 ? 200 : 206, {
        'content-length': layer.length - start,
        ...(start > 0 && { 'content-range': range }),
      })
      response.write(layer.subarray(start, start + 777_777), () =>
        setTimeout(() => request.socket.destroy(), 10),
      )
      return true
    }
    let cutUpload = false
    target.interceptor = (request) => {
      const length = Number(request.headers['content-length'] ?? 0)
      if (cutUpload || request.method !== 'PUT' || length < layer.length) return false
      cutUpload = true
      let seen = 0
      request.on('data', (part: Buffer) => {
        seen += part.length
        if (seen > 3_000_000) setImmediate(() => request.socket.destroy())
      })
      return false
    }
    const client = createRegistryClient({ ca, retry: { baseMs: 1, maxMs: 2 } })
    try {
      const to = { registry: target.host, repository: 'a/b', tag: 'v1' }
      await copyImage(client, { registry: source.host, repository: 'a/b', tag: 'v1' }, to)
    } finally {
      await client.close()
    }
    assert.ok(target.repository('a/b').blobs.get(digest)?.equals(layer))
    const starts = source.requests
      .filter(({ method, path }) => method === 'GET' && path.endsWith(digest))
      .map(({ headers }) => Number(/bytes=(\d+)/.exec(headers.range ?? '')?.[1] ?? 0))
    assert.equal(cuts, 3)
    assert.deepEqual(starts.slice(0, 3), [0, 777_777, 2 * 777_777])
    const resumed = target.requests.find(({ headers }) => headers['content-range'] !== undefined)
    assert.ok(Number(resumed?.headers['content-length']) < 3_000_000, 'nothing was resumed')
  })

  test('is tried again when its handshake was altered on the way', async () => {
    await using registry = await filled(await FakeRegistry.start({ tls: server }))
    let connections = 0
    const proxy = createTcpServer((down) => {
      connections += 1
      const first = connections === 1
      const up = connect({ host: '127.0.0.1', port: registry.port })
      for (const socket of [down, up]) socket.on('error', () => {})
      down.pipe(up)
      let passed = 0
      up.on('data', (bytes: Buffer) => {
        // Behind the ServerHello, which is in the clear.
        const at = 400 - passed
        passed += bytes.length
        if (first && at >= 0 && at < bytes.length) bytes.writeUInt8((bytes[at] ?? 0) ^ 1, at)
        down.write(bytes)
      })
      up.on('close', () => down.destroy())
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const { port } = proxy.address() as AddressInfo
    const client = createRegistryClient({ ca, retry: { attempts: 2, baseMs: 1, maxMs: 1 } })
    try {
      const reference = { registry: `127.0.0.1:${port}`, repository: 'a/b', tag: 'v1' }
      assert.equal((await resolveDigest(client, reference)).digest, image.digest)
    } finally {
      await client.close()
      await new Promise((resolve) => proxy.close(resolve))
    }
    assert.equal(connections, 2)
  })

  test('is never left for plain http: not by a redirect, not for a token', async () => {
    await using plain = await filled(await FakeRegistry.start())
    await using registry = await FakeRegistry.start({ tls: server })
    const credentials = async () => [{ username: 'kip', password: 'secret' }]
    registry.interceptor = (_, response) => {
      const location = `http://localhost:${plain.port}/v2/a/b/manifests/v1`
      response.writeHead(307, { location, 'content-length': 0 }).end()
      return true
    }
    await assert.rejects(resolve(registry, { ca, credentials }), { code: 'COPY_REDIRECT_REFUSED' })
    registry.interceptor = (_, response) => {
      const challenge = `Bearer realm="http://127.0.0.1:${plain.port}/token"`
      response.writeHead(401, { 'www-authenticate': challenge, 'content-length': 0 }).end()
      return true
    }
    await assert.rejects(resolve(registry, { ca, credentials }), { code: 'COPY_REALM_REFUSED' })
    assert.deepEqual(plain.requests, [])
  })

  test('is kept where a registry behind a proxy names itself by http', async () => {
    await using source = await filled(await FakeRegistry.start({ tls: server }))
    await using target = await FakeRegistry.start({ tls: server })
    target.interceptor = (request, response) => {
      if (request.method !== 'POST') return false
      const place = `/v2/a/b/blobs/uploads/${target.openUpload('a/b')}`
      request.resume()
      response.writeHead(202, { location: `http://${target.host}${place}`, 'content-length': 0 })
      response.end()
      return true
    }
    const client = createRegistryClient({ ca })
    try {
      const to = { registry: target.host, repository: 'a/b', tag: 'v1' }
      await copyImage(client, { registry: source.host, repository: 'a/b', tag: 'v1' }, to)
    } finally {
      await client.close()
    }
    assert.equal(target.repository('a/b').tags.get('v1'), image.digest)
  })

  test('shows the client certificate to no other server', async () => {
    const tls = { ...server, clientCa: ca }
    await using elsewhere = await filled(await FakeRegistry.start({ tls }))
    await using registry = await FakeRegistry.start({ tls })
    const seen: unknown[] = []
    const note = ({ socket }: { socket: unknown }): void =>
      void seen.push((socket as TLSSocket).getPeerCertificate()?.subject?.CN)
    registry.interceptor = (request, response) => {
      note(request)
      const location = `https://localhost:${elsewhere.port}/v2/a/b/manifests/v1`
      response.writeHead(307, { location, 'content-length': 0 }).end()
      return true
    }
    elsewhere.interceptor = (request) => {
      note(request)
      return false
    }
    const hosts = (host: string) => (host === registry.host ? clientIdentity : {})
    assert.equal(await resolve(registry, { ca, hosts }), image.digest)
    assert.deepEqual(seen, ['client', undefined])
  })

  test('goes through a proxy that is itself spoken to by TLS, under the same authority', async () => {
    await using registry = await filled(await FakeRegistry.start({ tls: server }))
    await using proxy = await TestProxy.start('kip', 'secret')
    await using secure = await secured(proxy.port, server)
    const options = { proxy: () => `https://kip:secret@localhost:${secure.port}` }
    assert.equal(await resolve(registry, { ca, ...options }), image.digest)
    assert.deepEqual(proxy.seen, [`CONNECT ${registry.host}`])
    const own = { ...options, hosts: () => ({ ca }) }
    await assert.rejects(resolve(registry, own), { code: 'COPY_TLS' })
  })

  test('goes through a proxy by CONNECT, and the proxy learns no path', async () => {
    await using registry = await filled(await FakeRegistry.start({ tls: server }))
    await using proxy = await TestProxy.start('kip', 'secret')
    const options = { ca, proxy: () => `http://kip:secret@127.0.0.1:${proxy.port}` }
    assert.equal(await resolve(registry, options), image.digest)
    assert.deepEqual(proxy.seen, [`CONNECT ${registry.host}`])
    await assert.rejects(
      resolve(registry, { ca, proxy: () => `http://kip:wrong@127.0.0.1:${proxy.port}` }),
      (error: Error) => /407/.test(error.message) && !/wrong/.test(error.message),
    )
  })
})

test('plain http goes through a proxy as a whole URL', async () => {
  await using registry = await filled(await FakeRegistry.start())
  await using proxy = await TestProxy.start('kip', 'secret')
  const options = {
    hosts: () => ({ http: true }),
    proxy: () => `http://kip:secret@127.0.0.1:${proxy.port}`,
  }
  assert.equal(await resolve(registry, options), image.digest)
  assert.deepEqual(proxy.seen, [`HEAD http://${registry.host}/v2/a/b/manifests/v1`])
})

test('plain http carries large blobs through a proxy, byte for byte', async () => {
  await using source = await FakeRegistry.start()
  await using target = await FakeRegistry.start()
  await using proxy = await TestProxy.start('kip', 'secret')
  await copiesLargeBlobs(source, target, {
    hosts: () => ({ http: true }),
    proxy: () => `http://kip:secret@127.0.0.1:${proxy.port}`,
  })
  assert.ok(proxy.seen.some((request) => request.startsWith(`PUT http://${target.host}/v2/a/b/`)))
})

test('connections are kept and taken again', async () => {
  await using source = await filled(await FakeRegistry.start())
  await using target = await FakeRegistry.start()
  const before = source.connections
  const client = createRegistryClient({ hosts: () => ({ http: true }) })
  try {
    for (let i = 0; i < 10; i += 1) {
      const to = { registry: target.host, repository: `t/${i}`, tag: 'v1' }
      await copyImage(client, { registry: source.host, repository: 'a/b', tag: 'v1' }, to)
    }
    assert.ok(source.connections - before <= 3, `${source.connections - before} connections`)
    // A server that closes them between two requests costs nothing but a new connection.
    source.cutConnections()
    target.cutConnections()
    const to = { registry: target.host, repository: 't/11', tag: 'v1' }
    await copyImage(client, { registry: source.host, repository: 'a/b', tag: 'v1' }, to)
  } finally {
    await client.close()
  }
})

test('connections for blobs are opened while the target is asked for the manifest', async () => {
  await using source = await filled(await FakeRegistry.start())
  await using target = await FakeRegistry.start()
  const before = source.connections
  let opened: number | undefined
  target.interceptor = async (request) => {
    if (request.method !== 'HEAD' || !request.url?.includes('/manifests/sha256:')) return false
    const wanted = (): boolean => source.connections - before >= image.blobs.length
    for (let tries = 0; !wanted() && tries < 200; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 5))
    opened = source.connections - before
    return false
  }
  const client = createRegistryClient({ hosts: () => ({ http: true }) })
  try {
    const to = { registry: target.host, repository: 'a/b', tag: 'v1' }
    await copyImage(client, { registry: source.host, repository: 'a/b', tag: 'v1' }, to)
  } finally {
    await client.close()
  }
  assert.equal(opened, image.blobs.length)
  assert.equal(source.connections - before, image.blobs.length, 'none besides them')
})

test('IPv6 addresses are dialled and named in brackets', async (t) => {
  let registry: FakeRegistry
  try {
    registry = await FakeRegistry.start({ host: '::1' })
  } catch {
    t.skip('probe failed: this machine has no ::1')
    return
  }
  try {
    await filled(registry)
    assert.equal(await resolve(registry, { hosts: () => ({ http: true }) }), image.digest)
    assert.ok(registry.requests.every(({ headers }) => headers.host === registry.host))
  } finally {
    await registry.close()
  }
})

test('a closed client fails calls at once', async () => {
  await using registry = await FakeRegistry.start({ delayMs: 5000 })
  const client = createRegistryClient({ hosts: () => ({ http: true }) })
  const reference = { registry: registry.host, repository: 'a/b', tag: 'v1' }
  const waiting = assert.rejects(resolveDigest(client, reference), /closed/)
  setTimeout(() => client.close(), 20)
  await waiting
  await assert.rejects(resolveDigest(client, reference), /closed/)
})

describe('request heads', () => {
  const origin = { scheme: 'http', hostname: 'h', port: 80 } as const
  const common = new CheckedHeaders({ 'User-Agent': 'a/1', 'Accept-Encoding': 'identity' })
  const good = { origin, host: 'h', method: 'GET', path: '/v2/', common, bodyBytes: 0 }
  const wrong: Readonly<Record<string, object>> = {
    'a line break in the path': { path: '/v2/\r\nX: y' },
    'a space in the path': { path: '/v2/ HTTP/1.1' },
    'no path': { path: 'v2/' },
    'a line break in a header': { headers: { A: 'b\r\nC: d' } },
    'a line break in a header name': { headers: { 'A\r\nB': 'c' } },
    'NUL in a header': { headers: { A: '\u0000' } },
    'a method of two words': { method: 'GET /' },
  }
  test('hold what goes with every request, and what goes with this one', () => {
    const { text } = requestHead({ ...good, method: 'PUT', headers: { Accept: 'b' }, bodyBytes: 3 })
    const lines = ['User-Agent: a/1', 'Accept-Encoding: identity', 'Accept: b', 'Content-Length: 3']
    assert.equal(text, ['PUT /v2/ HTTP/1.1', 'Host: h', ...lines, '', ''].join('\r\n'))
  })
  test('with a line break in what goes with every request cannot be made', () =>
    assert.throws(() => new CheckedHeaders({ 'User-Agent': 'a\r\nB: c' }), TypeError))
  for (const [what, part] of Object.entries(wrong)) {
    test(`with ${what} are never written`, () =>
      assert.throws(() => requestHead({ ...good, ...part }), TypeError))
  }
})

describe('proxies from variables', () => {
  const choose = proxyFromVariables({
    HTTPS_PROXY: 'http://upper:1',
    https_proxy: 'http://s:1',
    HTTP_PROXY: 'http://p:2',
    NO_PROXY:
      'internal.test, .below.test,*.star.test,10.0.0.0/8,fd00::/8,ported.test:5000,192.0.2.7,' +
      '2001:DB8:0:0::7,[2001:0db8::8]:443,113.9',
  })
  const cases: readonly [string, string | undefined][] = [
    ['https://quay.io/', 'http://s:1'],
    ['http://quay.io/', 'http://p:2'],
    ['https://localhost/', undefined],
    ['http://127.0.0.1:5000/', undefined],
    ['http://[::1]:5000/', undefined],
    ['https://internal.test/', undefined],
    ['https://a.internal.test/', undefined],
    ['https://notinternal.test/', 'http://s:1'],
    ['https://a.below.test/', undefined],
    ['https://below.test/', 'http://s:1'],
    ['https://a.star.test/', undefined],
    ['https://10.9.8.7/', undefined],
    ['https://11.9.8.7/', 'http://s:1'],
    ['https://[fd00::7]/', undefined],
    ['https://ported.test:5000/', undefined],
    ['https://ported.test/', 'http://s:1'],
    ['https://192.0.2.7/', undefined],
    ['https://[2001:db8::7]/', undefined],
    ['https://[2001:db8:0::8]/', undefined],
    ['https://[2001:db8::8]:5000/', 'http://s:1'],
    ['https://[2001:db8::9]/', 'http://s:1'],
    ['https://[::ffff:10.9.8.7]/', undefined],
    ['https://203.0.113.9/', 'http://s:1'],
    ['https://[::ffff:127.0.0.1]/', undefined],
    ['https://127.0.0.1.nip.io/', 'http://s:1'],
    ['https://127.example.test/', 'http://s:1'],
  ]
  for (const [url, proxy] of cases) test(url, () => assert.equal(choose(new URL(url)), proxy))

  test('none without variables, none at all for *', () => {
    assert.equal(proxyFromVariables({})(new URL('https://q.io/')), undefined)
    assert.equal(
      proxyFromVariables({ https_proxy: 'x:1', no_proxy: '*' })(new URL('https://q.io/')),
      undefined,
    )
  })

  test('are read without showing their password', () => {
    assert.deepEqual(parseProxy('u%40x:p@proxy:3128'), {
      scheme: 'http',
      hostname: 'proxy',
      port: 3128,
      authorization: `Basic ${Buffer.from('u@x:p').toString('base64')}`,
    })
    assert.throws(
      () => parseProxy('socks5://u:secret@p:1'),
      (error: Error) => /socks5/.test(error.message) && !/secret/.test(error.message),
    )
  })
})

/** A forward proxy that asks for a password and remembers what it was asked. */
/** Speaks TLS before a server that does not. */
async function secured(
  port: number,
  options: TlsOptions,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createTlsServer(options, (socket) => {
    const up = connect(port, '127.0.0.1')
    for (const it of [socket, up]) it.on('error', () => {})
    socket.pipe(up)
    up.pipe(socket)
    socket.on('close', () => up.destroy())
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

class TestProxy implements AsyncDisposable {
  readonly seen: string[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(user: string, password: string) {
    const expected = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
    this.#server = createServer((request, response) => {
      this.seen.push(`${request.method} ${request.url}`)
      if (request.headers['proxy-authorization'] !== expected) {
        response.writeHead(407).end()
        return
      }
      const url = new URL(request.url ?? '')
      const up = connect(Number(url.port), url.hostname, () => {
        const { 'proxy-authorization': _, ...headers } = request.headers
        const lines = Object.entries({ ...headers, connection: 'close' }).map(
          ([name, value]) => `${name}: ${value}`,
        )
        up.write(
          `${request.method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`,
        )
        request.pipe(up, { end: false })
      })
      this.#keep(up)
      up.pipe(request.socket)
    })
    this.#server.on('connection', (socket: Socket) => this.#keep(socket))
    this.#server.on('connect', (request, socket: Socket) => {
      if (request.headers['proxy-authorization'] !== expected) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
        return
      }
      this.seen.push(`CONNECT ${request.url}`)
      const [host, port] = (request.url ?? '').split(':')
      const up = connect(Number(port), host ?? '', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
      this.#keep(up)
      up.pipe(socket)
      socket.pipe(up)
    })
  }

  static async start(user: string, password: string): Promise<TestProxy> {
    const proxy = new TestProxy(user, password)
    await new Promise<void>((resolve) => {
      proxy.#server.listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
