import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CopyResult,
  copyImage,
  createRegistryClient,
  planCopy,
  type RegistryClientOptions,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { fail } from '../../support/fake-registry.ts'
import { HostileRegistry, Trap } from '../../support/hostile-registry.ts'
import { digestOf, noise, sampleImage } from '../../support/sample-images.ts'

const auth = { auth: { kind: 'bearer', users: { kip: 'secret' } } } as const
const bytes = noise('foreign', 300_000)
const digest = digestOf(bytes)

let source: HostileRegistry
let target: HostileRegistry
let trap: Trap
beforeEach(async () => {
  source = await HostileRegistry.start(auth)
  target = await HostileRegistry.start(auth)
  trap = await Trap.start()
  trap.answer = (_, response) => void response.end(bytes)
})
afterEach(async () => {
  await Promise.all([source.close(), target.close(), trap.close()])
})

/** An image with a layer whose bytes the source does not hold. */
async function push(...urls: readonly string[]): Promise<Image> {
  const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
  const foreign = [{ mediaType, digest, size: bytes.length, urls }]
  const image = sampleImage({ layers: [noise('own', 1000)], foreign })
  await source.registry.client.push(image, 'a/b', 'v1')
  return image
}

const to = () => ({ registry: target.host, repository: 'c/d', tag: 'v1' })
const from = () => ({ registry: source.host, repository: 'a/b', tag: 'v1' })

async function copy(
  foreignLayers: readonly string[] | undefined,
  options: RegistryClientOptions = {},
): Promise<CopyResult> {
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    credentials: async () => [{ username: 'kip', password: 'secret' }],
    retry: { attempts: 2, baseMs: 1, maxMs: 1 },
    ...options,
  })
  try {
    return await copyImage(client, from(), to(), { foreignLayers })
  } finally {
    await client.close()
  }
}

const held = () => target.registry.repository('c/d').blobs.get(digest)
const layerUrl = () => `http://127.0.0.1:${trap.port}/layer?sig=hidden`
const trapHost = () => `127.0.0.1:${trap.port}`

describe('foreign layers', () => {
  test('are taken from their URL when asked for, without a credential', async () => {
    const image = await push(layerUrl())
    const result = await copy([trapHost()])
    assert.deepEqual([result.digest, result.skipped, result.blobs], [image.digest, 0, 3])
    assert.ok(held()?.equals(bytes))
    assert.deepEqual(
      trap.requests.map(({ method, url }) => `${method} ${url}`),
      ['GET /layer?sig=hidden'],
    )
    assert.deepEqual(trap.secrets(), [])
  })

  test('are not given a token even by a server that demands one', async () => {
    await push(layerUrl())
    trap.answer = (_, response) => {
      const realm = `Bearer realm="http://${trapHost()}/token",service="x"`
      response.writeHead(401, { 'www-authenticate': realm, 'content-length': 0 }).end()
    }
    await assert.rejects(copy([trapHost()]), { code: 'COPY_UNAUTHORIZED' })
    assert.deepEqual(trap.secrets(), [])
    assert.ok(trap.requests.every(({ url }) => url.startsWith('/layer')))
  })

  test('are taken from the source where it holds them, and no URL is asked', async () => {
    await push(layerUrl())
    source.registry.repository('a/b').blobs.set(digest, bytes)
    await copy([])
    assert.ok(held()?.equals(bytes))
    assert.deepEqual(trap.requests, [])
  })

  test('are asked for at listed hosts only, and the error names the others', async () => {
    await push(layerUrl(), 'file:///etc/passwd', 'no url')
    await assert.rejects(copy(['mcr.microsoft.com']), (error: Error) => {
      assert.match(error.message, new RegExp(`hosts that may not be asked \\(${trapHost()}`))
      assert.doesNotMatch(error.message, /hidden/)
      return true
    })
    assert.deepEqual(trap.requests, [])
    assert.deepEqual([...target.registry.repository('c/d').tags], [])
    assert.equal(target.registry.uploads.size, 0, 'an upload was left open')
  })

  test('are not asked for over plain http unless the host is marked', async () => {
    await push(layerUrl())
    const hosts = (host: string) => ({ http: host !== trapHost() })
    await assert.rejects(copy([trapHost()], { hosts }), { code: 'COPY_NOT_FOUND' })
    assert.deepEqual(trap.requests, [])
  })

  test('never lead to a metadata service, whatever host is listed', async () => {
    await push('http://169.254.169.254/latest/meta-data')
    await assert.rejects(copy(['169.254.169.254']), { code: 'COPY_ADDRESS_REFUSED' })
  })

  test('with other bytes than their digest are never finished', async () => {
    await push(layerUrl())
    trap.answer = (_, response) => void response.end(noise('other', bytes.length))
    await assert.rejects(copy([trapHost()]), { code: 'COPY_DIGEST_MISMATCH' })
    assert.equal(held(), undefined)
    assert.deepEqual([...target.registry.repository('c/d').tags], [])
  })

  test('are read from the next URL when one fails', async () => {
    await push(`http://127.0.0.1:1/gone`, layerUrl())
    await copy(['127.0.0.1:1', trapHost()])
    assert.ok(held()?.equals(bytes))
  })

  test('that the target does not want in a manifest are named as the reason', async () => {
    await push(layerUrl())
    target.play({
      method: 'PUT',
      path: /\/manifests\//,
      answer: (request, response) => {
        request.resume()
        // So distribution puts it.
        fail(response, 500, 'MANIFEST_BLOB_UNKNOWN')
      },
    })
    await assert.rejects(copy(undefined), {
      code: 'COPY_REFUSED',
      message: /takes no image with foreign layers/,
    })
  })

  test('count in a plan when they are asked for', async () => {
    await push(layerUrl())
    const client = createRegistryClient({
      hosts: () => ({ http: true }),
      credentials: async () => [{ username: 'kip', password: 'secret' }],
    })
    try {
      const without = await planCopy(client, from(), to())
      const all = await planCopy(client, from(), to(), { foreignLayers: [] })
      assert.equal(all.bytes - without.bytes, bytes.length)
    } finally {
      await client.close()
    }
  })
})
