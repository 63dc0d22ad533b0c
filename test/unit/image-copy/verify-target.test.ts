import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterEach, describe, test } from 'node:test'
import {
  type CopyOptions,
  copyImage,
  copyImages,
  createRegistryClient,
  type RegistryClient,
  RegistryError,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { FakeRegistry, type FakeRegistryOptions } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const MiB = 1024 * 1024
let source: FakeRegistry
let target: FakeRegistry
let client: RegistryClient

async function start(to: FakeRegistryOptions = {}, mirrors: readonly string[] = []): Promise<void> {
  source = await FakeRegistry.start()
  target = await FakeRegistry.start(to)
  client = createRegistryClient({
    hosts: (host) => ({ http: true, mirrors: host === source.host ? mirrors : [] }),
    retry: { baseMs: 1, maxMs: 2 },
  })
}

afterEach(async () => {
  await client.close()
  await Promise.all([source.close(), target.close()])
})

async function pushed(name: string, bytes = 300_000): Promise<Image> {
  const image = sampleImage({ layers: [noise(name, bytes)] })
  await source.client.push(image, 'a/b', 'v1')
  source.takeLog()
  return image
}

const from = () => ({ registry: source.host, repository: 'a/b', tag: 'v1' })
const to = () => ({ registry: target.host, repository: 'c/d', tag: 'v1' })
const copy = (options: CopyOptions = {}): Promise<unknown> =>
  copyImage(client, from(), to(), { verify: 'target', ...options })

async function failure(options: CopyOptions = {}): Promise<RegistryError> {
  const error = await copy(options).catch((reason: unknown) => reason)
  assert.ok(error instanceof RegistryError, `expected a failure, got ${error}`)
  assert.equal(target.repository('c/d').tags.size, 0, 'the tag was moved')
  assert.equal(target.uploads.size, 0, 'an upload was left open')
  return error
}

async function requireCopied(image: Image): Promise<void> {
  assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
  assert.equal(target.uploads.size, 0, 'an upload was left open')
  for (const { digest, read } of image.blobs)
    assert.ok(
      target
        .repository('c/d')
        .blobs.get(digest)
        ?.equals(await read()),
    )
}

/** Alters one byte of each layer that a registry serves, the first `times` of them. */
function alterLayers(registry: FakeRegistry, times = Number.POSITIVE_INFINITY): void {
  let left = times
  registry.mangle = (bytes, what) => {
    if (what !== 'blob' || bytes.length < 4096 || left <= 0) return bytes
    left -= 1
    const altered = Buffer.from(bytes)
    altered[1000] = (altered[1000] ?? 0) ^ 1
    return altered
  }
}

const isLayer = ({ method, url }: IncomingMessage, { digest }: { digest: string }): boolean =>
  method === 'GET' && url?.endsWith(`/blobs/${digest}`) === true

/** Requests for the layer that the source had, by the range they asked for. */
const ranges = (image: Image): (string | undefined)[] =>
  source.requests
    .filter(
      ({ method, path }) => method === 'GET' && path.endsWith(image.blobs[1]?.digest ?? 'none'),
    )
    .map(({ headers }) => headers.range)

describe('a copy whose target verifies', () => {
  test('is refused where the source has other bytes, and its tag does not move', async () => {
    await start()
    const image = await pushed('altered')
    alterLayers(source)
    const error = await failure()
    assert.equal(error.code, 'COPY_DIGEST_MISMATCH')
    assert.equal(error.status, 400)
    for (const word of [source.host, target.host, image.blobs[1]?.digest ?? '', 'DIGEST_INVALID'])
      assert.ok(error.message.includes(word), error.message)
    assert.match(error.message, /verifies in the stream tells where/)
    assert.equal(ranges(image).length, 3)
    assert.equal(target.repository('c/d').blobs.has(image.blobs[1]?.digest ?? ''), false)
    assert.equal((await failure({ verify: 'stream' })).registry, source.host)
  })

  test('gets what was altered on the way once more', async () => {
    await start()
    const image = await pushed('once')
    alterLayers(source, 1)
    await copy()
    await requireCopied(image)
    assert.equal(ranges(image).length, 2)
  })

  test('in pieces is refused as well', async () => {
    await start({ maxBody: 1.5 * MiB })
    await pushed('pieces', 3 * MiB)
    alterLayers(source)
    assert.equal((await failure()).code, 'COPY_DIGEST_MISMATCH')
  })

  test('takes nothing more from a mirror with other bytes', async () => {
    await using mirror = await FakeRegistry.start()
    await start({}, [mirror.host])
    const image = await pushed('mirrored')
    await mirror.client.push(image, 'a/b', 'v1')
    alterLayers(mirror)
    await copy()
    await requireCopied(image)
    assert.equal(ranges(image).length, 1)
  })

  for (const verify of ['target', 'stream'] as const) {
    test(`fails where that says that it stored other bytes, verified by the ${verify}`, async () => {
      await start()
      await pushed('stored-otherwise')
      const other = { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }
      target.interceptor = ({ method }, response) => {
        const write = response.writeHead.bind(response)
        response.writeHead = ((status: number, headers: Record<string, string>) =>
          write(
            status,
            method === 'PUT' && status === 201 ? { ...headers, ...other } : headers,
          )) as ServerResponse['writeHead']
        return false
      }
      const error = await failure({ verify })
      assert.equal(error.code, 'COPY_DIGEST_MISMATCH')
      assert.match(error.message, /stored blob sha256:[0-9a-f]{64} as sha256:0{64}/)
    })
  }

  const wrongSizes: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
    longer: (bytes) => Buffer.concat([bytes, bytes]),
    shorter: (bytes) => bytes.subarray(0, 100_000),
  }
  for (const [what, alter] of Object.entries(wrongSizes)) {
    for (const announced of [true, false]) {
      const how = announced ? '' : ' without saying so'
      test(`is refused here where the source has ${what}${how}`, async () => {
        await start()
        const image = await pushed('sized')
        const [, layer] = image.blobs
        const body = alter((await layer?.read()) ?? Buffer.alloc(0))
        source.interceptor = (request, response) => {
          if (layer === undefined || !isLayer(request, layer)) return false
          response.writeHead(200, announced ? { 'content-length': body.length } : {}).end(body)
          return true
        }
        const error = await failure()
        assert.equal(error.code, 'COPY_DIGEST_MISMATCH')
        assert.equal(error.registry, source.host)
      })
    }
  }
})

describe('without a hash', () => {
  test('a download that broke goes on where it broke', async () => {
    await start()
    const image = await pushed('cut', 3 * MiB)
    const [, layer] = image.blobs
    const bytes = (await layer?.read()) ?? Buffer.alloc(0)
    let cut = false
    source.interceptor = (request, response) => {
      if (cut || layer === undefined || !isLayer(request, layer)) return false
      cut = true
      response.writeHead(200, { 'content-length': bytes.length })
      response.write(bytes.subarray(0, 2_000_000), () =>
        setTimeout(() => request.socket.destroy(), 20),
      )
      return true
    }
    await copy()
    await requireCopied(image)
    const [first, second, ...more] = ranges(image)
    assert.deepEqual([first, more], [undefined, []])
    assert.match(second ?? '', new RegExp(`^bytes=[1-9]\\d*-${bytes.length - 1}$`))
  })

  test('an upload that broke goes on where it broke, and no byte before it is read again', async () => {
    await start({ uploadState: 'distribution 3' })
    const image = await pushed('resumed', 3 * MiB)
    let cut = false
    target.interceptor = (request) => {
      if (cut || request.method !== 'PUT' || Number(request.headers['content-length']) < MiB)
        return false
      cut = true
      let seen = 0
      // Not before the registry reads: it would miss what came until then.
      setImmediate(() =>
        request.on('data', (part: Buffer) => {
          seen += part.length
          if (seen > MiB) request.socket.destroy()
        }),
      )
      return false
    }
    await copy()
    await requireCopied(image)
    const resumed = target.requests.findLast(
      ({ method, headers }) => method === 'PUT' && headers['content-range'] !== undefined,
    )
    const offset = Number(/^\d+/.exec(resumed?.headers['content-range'] ?? '')?.[0])
    assert.ok(offset >= MiB, `resumed at ${offset}`)
    assert.deepEqual(ranges(image), [undefined, `bytes=${offset}-${3 * MiB - 1}`])
  })

  test('the word of a target that does not look is all there is', async () => {
    await start({ believes: true })
    const image = await pushed('believed')
    alterLayers(source)
    const [, layer] = image.blobs
    const stored = () => target.repository('c/d').blobs.get(layer?.digest ?? '')
    await failure({ verify: 'stream' })
    assert.equal(stored(), undefined)
    const pair = { source: from(), target: to() }
    const [outcome] = await copyImages(client, [pair], { verify: 'target' })
    assert.equal(outcome?.result?.digest, image.digest)
    assert.notDeepEqual(stored(), await layer?.read())
  })
})
