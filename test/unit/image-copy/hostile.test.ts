import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CopyOptions,
  type CopyResult,
  copyImage,
  createRegistryClient,
  publicAddressesOnly,
  type RegistryClientOptions,
  RegistryError,
  type RegistryErrorCode,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import type { FakeRegistryOptions } from '../../support/fake-registry.ts'
import { HostileRegistry, Trap } from '../../support/hostile-registry.ts'
import {
  digestOf,
  noise,
  sampleArtifact,
  sampleImage,
  sampleIndex,
} from '../../support/sample-images.ts'

const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
const ociIndex = 'application/vnd.oci.image.index.v1+json'
const secret = { username: 'kip', password: 'secret' }
const bearer = { auth: { kind: 'bearer', users: { kip: 'secret' } } } as const
const image = sampleImage({ layers: [noise('hostile', 200_000)] })
const layer = image.blobs[1]?.digest ?? ''
const blobPath = new RegExp(`/blobs/${layer}$`)
const manifestPath = /\/manifests\//

let source: HostileRegistry
let target: HostileRegistry
let trap: Trap

async function open(
  sourceOptions: FakeRegistryOptions = {},
  targetOptions: FakeRegistryOptions = {},
): Promise<void> {
  source = await HostileRegistry.start(sourceOptions)
  target = await HostileRegistry.start(targetOptions)
  trap = await Trap.start()
}

beforeEach(() => open())
afterEach(async () => {
  await Promise.all([source.close(), target.close(), trap.close()])
})

/** Starts the registries of this test anew, with other manners. */
async function instead(
  sourceOptions: FakeRegistryOptions,
  targetOptions: FakeRegistryOptions = {},
): Promise<void> {
  await Promise.all([source.close(), target.close(), trap.close()])
  await open(sourceOptions, targetOptions)
}

async function copy(
  options: RegistryClientOptions = {},
  copyOptions: CopyOptions = {},
): Promise<CopyResult> {
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    credentials: async () => [secret],
    retry: { attempts: 2, baseMs: 1, maxMs: 1 },
    timeouts: { connectMs: 1000, answerMs: 300, stallMs: 150, requestMs: 1000, commitMs: 300 },
    ...options,
  })
  try {
    const from = { registry: source.host, repository: 'a/b', tag: 'v1' }
    return await copyImage(
      client,
      from,
      { registry: target.host, repository: 'c/d', tag: 'v1' },
      copyOptions,
    )
  } finally {
    await client.close()
  }
}

async function refused(
  code: RegistryErrorCode,
  options: RegistryClientOptions = {},
  copyOptions: CopyOptions = {},
): Promise<RegistryError> {
  let caught: unknown
  try {
    await copy(options, copyOptions)
  } catch (error) {
    caught = error
  }
  assert.ok(caught instanceof RegistryError, `expected ${code}, got ${caught}`)
  assert.equal(caught.code, code, caught.message)
  assert.ok(!target.registry.repository('c/d').tags.has('v1'), 'the tag was moved')
  for (const char of caught.message) assert.ok(char >= ' ', 'a control character in the message')
  assert.ok(!caught.message.includes('secret'), 'a secret in the message')
  return caught
}

const push = (of: Image = image): Promise<string> => source.registry.client.push(of, 'a/b', 'v1')

/** Serves a manifest of one's own making. */
async function serve(fields: unknown, type = ociManifest): Promise<void> {
  await push()
  source.body(
    manifestPath,
    type,
    Buffer.from(typeof fields === 'string' ? fields : JSON.stringify(fields)),
  )
}

describe('token realms', () => {
  for (const realm of [
    'http://169.254.169.254/latest/meta-data',
    'http://10.0.0.1/token',
    'http://[fe80::1]/token',
    'http://0.0.0.0:1/t',
    'http://[::ffff:169.254.169.254]/',
    'http://2852039166/',
  ]) {
    test(`at ${realm} are not dialled`, async () => {
      source.realm(realm)
      await refused('COPY_ADDRESS_REFUSED')
    })
  }

  test('whose name turns out to be a metadata service are not dialled', async () => {
    source.realm('http://innocent.test/token')
    const address = { address: '169.254.169.254', family: 4 }
    await refused('COPY_ADDRESS_REFUSED', {
      lookup: (_, options, done) =>
        options.all ? done(null, [address]) : done(null, address.address, 4),
    })
  })

  for (const [what, realm] of [
    ['another scheme', 'ftp://x/'],
    ['user information', 'http://a:b@127.0.0.1/'],
    ['no URL', 'token'],
    ['a fragment', 'http://127.0.0.1/#x'],
  ] as const) {
    test(`with ${what} are refused`, async () => {
      source.realm(realm)
      await refused('COPY_REALM_REFUSED')
    })
  }

  test('on a stranger host get no credential', async () => {
    await push()
    source.realm(`http://localhost:${trap.port}/token`)
    await refused('COPY_UNAUTHORIZED')
    assert.ok(trap.requests.length > 0)
    assert.deepEqual(trap.secrets(), [])
  })

  for (const status of [401, 403]) {
    const code = status === 401 ? 'COPY_UNAUTHORIZED' : 'COPY_DENIED'
    const said = (host: string): RegExp =>
      new RegExp(`not shown to the token server ${host}, .* list it in trustedRealms`)

    test(`on a stranger host are named where that is why they turn away, with ${status}`, async () => {
      source.realm(`http://localhost:${trap.port}/token`)
      trap.answer = (_, response) => response.writeHead(status).end()
      const error = await refused(code)
      assert.equal(error.untrustedRealm, `localhost:${trap.port}`)
      assert.match(error.message, said(`localhost:${trap.port}`))
    })

    test(`on a stranger host are named where that is why the registry answers ${status}`, async () => {
      source.play({
        path: /^\/v2\//,
        answer: ({ headers }, response) => {
          const challenge = `Bearer realm="http://localhost:${trap.port}/token",service="x"`
          const known = headers.authorization !== undefined
          response
            .writeHead(known ? status : 401, {
              'content-length': 0,
              'www-authenticate': challenge,
            })
            .end()
        },
      })
      const error = await refused(code)
      assert.equal(error.untrustedRealm, `localhost:${trap.port}`)
      assert.match(error.message, said(`localhost:${trap.port}`))
    })
  }

  test('on a stranger host are not named where there was nothing to show them', async () => {
    source.realm(`http://localhost:${trap.port}/token`)
    for (const credentials of [[], [{ registryToken: 'secret' }]]) {
      const error = await refused('COPY_UNAUTHORIZED', { credentials: async () => credentials })
      assert.equal(error.untrustedRealm, undefined)
      assert.match(error.message, /check the credentials/)
    }
  })

  test('on a stranger host get it when the caller trusts them', async () => {
    source.realm(`http://localhost:${trap.port}/token`)
    await refused('COPY_UNAUTHORIZED', {
      hosts: () => ({ http: true, trustedRealms: [`localhost:${trap.port}`] }),
    })
    assert.ok(trap.secrets().length > 0)
  })

  test('that redirect are not followed', async () => {
    await instead(bearer)
    source.redirect(/^\/token/, `http://127.0.0.1:${trap.port}/steal`)
    await refused('COPY_PROTOCOL')
    assert.equal(trap.requests.length, 0)
  })

  test('that answer without end, or with a token that would break a header', async () => {
    await instead(bearer)
    source.body(/^\/token/, 'application/json', Buffer.from(`{"token":"${'x'.repeat(2_000_000)}"}`))
    await refused('COPY_TOO_LARGE')
    source.body(/^\/token/, 'application/json', Buffer.from('{"token":"a\\r\\nX-Evil: 1"}'))
    await refused('COPY_PROTOCOL')
  })
})

describe('addresses', () => {
  test('of the registry itself are held to the rule too', async () => {
    await refused('COPY_ADDRESS_REFUSED', { allowAddress: publicAddressesOnly })
    assert.equal(source.registry.connections + target.registry.connections, 0)
  })
})

describe('redirects and locations', () => {
  const elsewhere = (): string => `http://localhost:${trap.port}/blob?X-Signature=secret`

  test('of a blob to another server leave the credential behind', async () => {
    await instead(bearer)
    await push()
    source.redirect(blobPath, elsewhere())
    trap.answer = (_, response) => void image.blobs[1]?.read().then((bytes) => response.end(bytes))
    const { digest } = await copy()
    assert.equal(digest, image.digest)
    assert.equal(trap.requests.length, 1)
    assert.equal(trap.requests[0]?.headers.authorization, undefined)
  })

  test('to another port of the same host leave it behind too', async () => {
    await instead(bearer)
    await push()
    source.redirect(blobPath, `http://127.0.0.1:${trap.port}/blob`)
    trap.answer = (_, response) => void image.blobs[1]?.read().then((bytes) => response.end(bytes))
    await copy()
    assert.deepEqual(trap.secrets(), [])
  })

  test('show no signature in errors', async () => {
    await push()
    source.redirect(blobPath, elsewhere())
    trap.answer = (_, response) => response.writeHead(404).end('X-Signature=secret')
    await refused('COPY_NOT_FOUND')
  })

  test('to metadata services and private networks are not followed', async () => {
    await push()
    for (const url of [
      'http://169.254.169.254/x',
      'http://192.168.0.1/x',
      'http://[fd00:ec2::254]/',
    ]) {
      source.redirect(blobPath, url)
      await refused('COPY_ADDRESS_REFUSED')
    }
  })

  test('in a circle end', async () => {
    await push()
    source.redirect(blobPath, `/v2/a/b/blobs/${layer}`)
    await refused('COPY_REDIRECT_REFUSED')
  })

  for (const url of [
    'ftp://127.0.0.1/x',
    'http://u:p@127.0.0.1/x',
    'file:///etc/passwd',
    'http://[',
  ]) {
    test(`to ${url} are refused`, async () => {
      await push()
      source.redirect(blobPath, url)
      await refused('COPY_REDIRECT_REFUSED')
    })
  }

  test('of an upload to another server get no credential', async () => {
    await instead({}, bearer)
    await push()
    target.play({
      method: 'POST',
      path: /uploads\/.*mount/,
      answer: (request, response) => {
        const known = request.headers.authorization !== undefined
        const challenge = `Bearer realm="http://${target.host}/token",service="x"`
        if (known)
          response
            .writeHead(202, {
              location: `http://localhost:${trap.port}/upload`,
              'content-length': 0,
            })
            .end()
        else response.writeHead(401, { 'www-authenticate': challenge, 'content-length': 0 }).end()
      },
    })
    await refused('COPY_PROTOCOL')
    assert.ok(trap.requests.some(({ method }) => method === 'PUT'))
    assert.deepEqual(trap.secrets(), [])
  })

  test('of an upload by another server back to the registry are not followed', async () => {
    await instead({}, { auth: { kind: 'basic', users: { kip: 'secret' } } })
    await push()
    target.play({
      method: 'POST',
      path: /uploads\//,
      answer: (request, response) => {
        const status = request.headers.authorization === undefined ? 401 : 202
        response
          .writeHead(status, {
            'www-authenticate': 'Basic realm="x"',
            location: `http://localhost:${trap.port}/upload`,
            'content-length': 0,
          })
          .end()
      },
    })
    const elsewhere = `http://${target.host}/v2/other/anything`
    trap.answer = ({ method, socket }, response) => {
      if (method === 'PUT') socket.destroy()
      response.writeHead(202, { location: elsewhere, range: '0-99', 'content-length': 0 }).end()
    }
    await refused('COPY_REDIRECT_REFUSED')
    assert.ok(trap.requests.some(({ method }) => method === 'GET'))
    assert.ok(target.registry.requests.every(({ path }) => !path.includes('other')))
  })

  test('of a POST are not followed', async () => {
    await push()
    target.redirect(/uploads/, `http://127.0.0.1:${trap.port}/`, 307, 'POST')
    await refused('COPY_REDIRECT_REFUSED')
    assert.equal(trap.requests.length, 0)
  })
})

describe('manifests', () => {
  const descriptor = { mediaType: 'application/x', digest: layer, size: 200_000 }
  const cases: Readonly<Record<string, readonly [unknown, string?, RegistryErrorCode?]>> = {
    'that are no JSON': ['{"schemaVersion":2', ociManifest],
    'that are an image and an index in one': [
      { mediaType: ociManifest, config: descriptor, layers: [], manifests: [descriptor] },
    ],
    'that are an index and an image in one': [
      { mediaType: ociIndex, manifests: [], layers: [descriptor] },
      ociIndex,
    ],
    'that are called otherwise than they call themselves': [
      { mediaType: ociIndex, manifests: [] },
      ociManifest,
    ],
    'with a digest that leads elsewhere': [
      { config: descriptor, layers: [{ ...descriptor, digest: 'sha256:../../../admin' }] },
    ],
    'with a digest and a query': [
      { config: descriptor, layers: [{ ...descriptor, digest: `${layer}?x=1` }] },
    ],
    'with a negative size': [{ config: descriptor, layers: [{ ...descriptor, size: -1 }] }],
    'with a size beyond numbers': [
      { config: descriptor, layers: [{ ...descriptor, size: 2 ** 60 }] },
    ],
    'with embedded data that is something else': [
      { config: { ...descriptor, data: 'e30=' }, layers: [] },
    ],
    'with more entries than any image has': [
      { mediaType: ociIndex, manifests: Array.from({ length: 1001 }, () => descriptor) },
      ociIndex,
    ],
    'of Docker schema 1': [
      { schemaVersion: 1, fsLayers: [] },
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
      'COPY_MANIFEST_UNSUPPORTED',
    ],
    'of an unknown kind': [
      { mediaType: 'application/x\u0007' },
      'application/x',
      'COPY_MANIFEST_INVALID',
    ],
    'that are no object': ['[]', ociManifest],
    'with a byte order mark before them': [
      `\ufeff${JSON.stringify({ config: descriptor, layers: [] })}`,
      ociManifest,
    ],
    'of media type HTML': ['<html>', 'text/html', 'COPY_MANIFEST_INVALID'],
  }
  for (const [what, [fields, type, code]] of Object.entries(cases)) {
    test(`${what} are refused`, async () => {
      await serve(fields, type)
      await refused(code ?? 'COPY_MANIFEST_INVALID')
      assert.ok(
        source.registry.requests.every(({ path }) => !path.includes('..') && !path.includes('?x')),
      )
    })
  }

  test('with a false digest header are refused', async () => {
    await push()
    source.body(manifestPath, ociManifest, image.bytes, {
      'docker-content-digest': `sha256:${'0'.repeat(64)}`,
    })
    await refused('COPY_DIGEST_MISMATCH')
  })

  test('of an index that are not what the index names are refused, whatever their header says', async () => {
    const index = sampleIndex([{ image, platform: 'linux/amd64' }])
    await push(index)
    const other = sampleImage({ layers: [] })
    source.body(new RegExp(`manifests/${image.digest}`), ociManifest, other.bytes, {
      'docker-content-digest': image.digest,
    })
    await refused('COPY_DIGEST_MISMATCH')
  })

  test('larger than 4 MiB are not read to the end, announced or not', async () => {
    await push()
    source.body(manifestPath, ociManifest, Buffer.alloc(5 * 1024 * 1024, 0x20))
    await refused('COPY_TOO_LARGE')
    source.play({
      path: manifestPath,
      method: 'GET',
      answer: (_, response) => {
        response.writeHead(200, { 'content-type': ociManifest })
        const more = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536, 0x20)));
          if (!response.destroyed) response.once('drain', more)
        }
        more()
      },
    })
    await refused('COPY_TOO_LARGE')
  })

  test('nested without end are refused', async () => {
    let nested = sampleIndex([{ image }])
    for (let i = 0; i < 4; i += 1) nested = sampleIndex([{ image: nested }])
    await push(nested)
    await refused('COPY_MANIFEST_INVALID')
  })

  test('keep foreign layers where they are: nobody asks for their URLs', async () => {
    const foreign = {
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest: digestOf(Buffer.from('foreign')),
      size: 7,
      urls: [`http://127.0.0.1:${trap.port}/layer`],
    }
    const windows = sampleImage({ layers: [noise('w', 10)], foreign: [foreign] })
    await push(windows)
    const result = await copy()
    assert.deepEqual([result.digest, result.skipped], [windows.digest, 1])
    assert.equal(trap.requests.length, 0)
  })
})

describe('blobs', () => {
  const bytes = noise('hostile', 200_000)
  const wrong = Buffer.from(bytes)
  wrong[199_999] = 1 ^ (wrong[199_999] ?? 0)
  const cases: Readonly<
    Record<string, readonly [Buffer, Readonly<Record<string, string>>?, RegistryErrorCode?]>
  > = {
    'with other bytes of the same length': [wrong],
    'that are longer': [Buffer.concat([bytes, bytes])],
    'that are shorter': [bytes.subarray(0, 1000)],
    'in an encoding that nobody asked for': [
      bytes,
      { 'content-encoding': 'gzip' },
      'COPY_PROTOCOL',
    ],
  }
  for (const [what, [body, headers, code]] of Object.entries(cases)) {
    test(`${what} are never finished in the target, and the upload is cancelled`, async () => {
      await push()
      source.body(blobPath, 'application/octet-stream', body, headers)
      await refused(code ?? 'COPY_DIGEST_MISMATCH')
      assert.ok(!target.registry.repository('c/d').blobs.has(layer))
      assert.equal(target.registry.uploads.size, 0, 'an upload was left open')
      assert.ok(target.registry.requests.some(({ method }) => method === 'DELETE'))
    })
  }

  test('said to have no bytes, under another digest, fail their image and not the process', async (t) => {
    const unhandled = t.mock.fn()
    process.on('unhandledRejection', unhandled)
    t.after(() => process.off('unhandledRejection', unhandled))
    const mediaType = 'application/octet-stream'
    const [config] = image.blobs
    await serve({
      mediaType: ociManifest,
      config: { mediaType, digest: config?.digest, size: config?.size },
      layers: [{ mediaType, digest: layer, size: 0 }],
    })
    await refused('COPY_DIGEST_MISMATCH')
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(unhandled.mock.callCount(), 0)
    assert.equal(target.registry.uploads.size, 0, 'an upload was left open')
  })

  test('with wrong bytes never reach the target whole', async () => {
    await push()
    source.body(blobPath, 'application/octet-stream', wrong)
    let most = 0
    target.registry.mangle = (taken) => {
      most = Math.max(most, taken.length)
      return taken
    }
    await refused('COPY_DIGEST_MISMATCH')
    assert.ok(most < 200_000, 'the last bytes were sent')
  })

  test('longer than announced, in chunks, are cut off', async () => {
    await push()
    source.play({
      path: blobPath,
      method: 'GET',
      answer: (_, response) => {
        response.write(bytes)
        response.end(bytes)
      },
    })
    await refused('COPY_DIGEST_MISMATCH')
  })

  test('that stop coming are given up after the stall time, not later', async () => {
    await push()
    source.play({
      path: blobPath,
      method: 'GET',
      answer: (_, response) =>
        void response.writeHead(200, { 'content-length': 200_000 }).write(bytes.subarray(0, 5000)),
    })
    const before = performance.now()
    await refused('COPY_TIMEOUT')
    assert.ok(performance.now() - before < 10_000)
  })
})

test('blobs that trickle are given up like those that stop', async () => {
  await push()
  const bytes = noise('hostile', 200_000)
  source.play({
    path: blobPath,
    method: 'GET',
    answer: (_, response) => {
      response.writeHead(200, { 'content-length': 200_000 })
      let at = 0
      const drip = setInterval(() => response.write(bytes.subarray(at, ++at)), 20)
      response.on('close', () => clearInterval(drip))
    },
  })
  await refused('COPY_TIMEOUT')
})

describe('answers on the wire', () => {
  const body = image.bytes.toString()
  const head = `HTTP/1.1 200 OK\r\nContent-Type: ${ociManifest}\r\n`
  const cases: Readonly<Record<string, string>> = {
    'with two lengths': `${head}Content-Length: ${body.length}\r\nContent-Length: 1\r\n\r\n${body}`,
    'with length and chunks': `${head}Content-Length: ${body.length}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
    'that are no HTTP': 'SSH-2.0-x\r\n',
    'with a header that goes on for ever': `${head}X: ${'y'.repeat(100_000)}`,
  }
  for (const [what, raw] of Object.entries(cases)) {
    test(`${what} are refused`, async () => {
      await push()
      source.raw(manifestPath, raw)
      await refused('COPY_PROTOCOL')
    })
  }

  test('that nobody asked for are never taken for the next answer', async () => {
    await push()
    const forged = sampleImage({ layers: [] })
    const answer = (of: Image): string =>
      `${head}Content-Length: ${of.bytes.length}\r\n\r\n${of.bytes}`
    // The answer to the manifest carries a forged second one, for whatever is asked next on this connection.
    source.raw(/manifests\/v1/, answer(image) + answer(forged))
    const { digest } = await copy()
    assert.equal(digest, image.digest)
  })

  test('that never come are given up', async () => {
    source.play({ path: manifestPath, answer: () => {} })
    await refused('COPY_TIMEOUT')
  })

  test('of errors are shown short and without control characters', async () => {
    const text = JSON.stringify({
      errors: [{ code: 'DENIED', message: `\u001b[31m${'x'.repeat(50_000)}\r\n` }],
    })
    source.play({ path: manifestPath, answer: (_, response) => response.writeHead(403).end(text) })
    const error = await refused('COPY_DENIED')
    assert.ok(error.message.length < 1000)
  })

  const page = Buffer.alloc(80_000, '<p>')
  const errors: readonly [number, RegistryErrorCode][] = [
    [404, 'COPY_NOT_FOUND'],
    [429, 'COPY_RATE_LIMITED'],
    [503, 'COPY_SERVER_ERROR'],
  ]
  for (const [status, code] of errors)
    for (const announced of [true, false])
      test(`of ${status} count, however long their text, ${announced ? 'announced' : 'in chunks'}`, async () => {
        const headers = { 'retry-after': '1', ...(announced && { 'content-length': page.length }) }
        source.play({
          path: manifestPath,
          answer: (_, response) => response.writeHead(status, headers).end(page),
        })
        const error = await refused(code, { retry: { attempts: 1 } })
        assert.equal(error.status, status)
        assert.equal(error.retryAfterMs, 1000)
      })

  test('of 401 are understood, however long their text', async () => {
    await instead(bearer)
    await push()
    source.registry.interceptor = ({ headers }, response) => {
      if (headers.authorization !== undefined) return false
      const challenge = `Bearer realm="http://${source.host}/token",service="x"`
      response.writeHead(401, { 'www-authenticate': challenge }).end(page)
      return true
    }
    const { digest } = await copy()
    assert.equal(digest, image.digest)
  })
})

describe('lists of referrers', () => {
  const page = (link: string): void => {
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [] }),
    )
    source.body(/\/referrers\//, ociIndex, bytes, { link })
  }

  test('whose pages never end, or lie elsewhere, are refused', async () => {
    await push()
    page(`</v2/a/b/referrers/${image.digest}>; rel="next"`)
    await refused('COPY_MANIFEST_INVALID', {}, { referrers: true })
    page(`<http://127.0.0.1:${trap.port}/next>; rel="next"`)
    await refused('COPY_MANIFEST_INVALID', {}, { referrers: true })
    assert.equal(trap.requests.length, 0)
  })

  test('longer than the caller wants are an error, not a shorter copy', async () => {
    await instead({ referrersApi: true })
    await push()
    for (let i = 0; i < 5; i += 1)
      await source.registry.client.push(sampleArtifact(image, 'application/x', `${i}`), 'a/b')
    await refused('COPY_MANIFEST_INVALID', {}, { referrers: true, maxReferrers: 4 })
  })
})

describe('tokens', () => {
  test('are asked for with exactly the scopes that a copy needs', async () => {
    await instead(bearer, bearer)
    await push()
    await copy()
    assert.deepEqual(new Set(source.registry.tokens?.asked), new Set(['kip repository:a/b:pull']))
    assert.deepEqual(
      new Set(target.registry.tokens?.asked),
      new Set(['kip repository:c/d:pull,push']),
    )
  })

  test('of one identity are never used for another', async () => {
    await instead({ auth: { kind: 'bearer', users: { first: '1', second: '2' } } })
    await source.registry.client.push(image, 'one/x', 'v1')
    await source.registry.client.push(image, 'two/x', 'v1')
    const client = createRegistryClient({
      hosts: () => ({ http: true }),
      credentials: async (_, repository) => [
        repository.startsWith('one')
          ? { username: 'first', password: '1' }
          : { username: 'second', password: '2' },
      ],
    })
    try {
      for (const repository of ['one/x', 'two/x', 'one/x']) {
        const to = { registry: target.host, repository, tag: 'v1' }
        await copyImage(client, { registry: source.host, repository, tag: 'v1' }, to)
      }
    } finally {
      await client.close()
    }
    assert.deepEqual(source.registry.tokens?.asked, [
      'first repository:one/x:pull',
      'second repository:two/x:pull',
    ])
  })
})

test('a registry over https may not send to plain http, nor be asked in it', async () => {
  // Nothing listens in TLS here: what matters is that no request goes out in the clear.
  await refused('COPY_TLS', { hosts: () => ({}) })
  assert.equal(source.registry.requests.length, 0)
  assert.equal(target.registry.requests.length, 0)
})

test('credentials are asked for by the registry before any is shown', async () => {
  await push()
  await copy()
  assert.ok(
    source.registry.requests.every(
      ({ headers }) => headers.authorization === undefined || headers['user-agent'] === 'kip-test',
    ),
  )
})
