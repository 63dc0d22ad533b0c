import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CreatedAtOptions,
  createdAt,
  createRegistryClient,
  type RegistryClient,
  type RegistryError,
} from '../../../src/image-copy/src/index.ts'
import {
  attestationOf,
  blobOf,
  descriptorOf,
  type Image,
  imageOf,
  indexOf,
  layerOf,
  manifestOf,
  mediaTypes,
  type Platform,
} from '../../cluster/images/image.ts'
import { FakeRegistry, fail } from '../../support/fake-registry.ts'

const amd64: Platform = { os: 'linux', architecture: 'amd64' }
const arm64: Platform = { os: 'linux', architecture: 'arm64' }
const key = 'org.opencontainers.image.created'
const saying = (created: string) => ({ annotations: { [key]: created } })

let registry: FakeRegistry
let client: RegistryClient

beforeEach(async () => {
  registry = await FakeRegistry.start()
  client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { attempts: 3, baseMs: 1, maxMs: 1 },
  })
})
afterEach(async () => {
  await client.close()
  await registry.close()
})

/** By the requests that it took, too. */
async function made(image: Image, options?: CreatedAtOptions) {
  await registry.client.push(image, 'app', 'v1')
  registry.takeLog()
  const reference = { registry: registry.host, repository: 'app', tag: 'v1' }
  const created = await createdAt(client, reference, options)
  const requests = registry.takeLog().map((line) => line.replace(/sha256:[0-9a-f]+/, 'DIGEST'))
  return { created: created?.toISOString(), requests }
}

function image(created?: string, annotations?: Record<string, string>, platform = amd64): Image {
  return imageOf({
    layers: [layerOf([])],
    platform,
    ...(created !== undefined && { created }),
    ...(annotations && { annotations }),
  })
}

/** An index that says something of itself. */
function saidIndex(entries: readonly Image[], annotations: Record<string, string>): Image {
  const mediaType = mediaTypes.oci.index
  const manifests = entries.map((of) => ({ ...descriptorOf(of), platform: amd64 }))
  const content = { schemaVersion: 2, mediaType, manifests, annotations }
  return manifestOf(mediaType, content, { blobs: [], children: entries })
}

const one = ['GET /v2/app/manifests/v1 200']
const two = [...one, 'GET /v2/app/blobs/DIGEST 200']
const three = [...one, 'GET /v2/app/manifests/DIGEST 200', 'GET /v2/app/blobs/DIGEST 200']

describe('when an image was made', () => {
  test('is told by its configuration, for two requests', async () => {
    assert.deepEqual(await made(image('2026-03-01T12:30:00.123456789+02:00')), {
      created: '2026-03-01T10:30:00.123Z',
      requests: two,
    })
  })

  test('is told by an annotation where the configuration does not say', async () => {
    const { created } = await made(image(undefined, { [key]: '2026-03-01T00:00:00Z' }))
    assert.equal(created, '2026-03-01T00:00:00.000Z')
    const both = await made(image('2026-04-01T00:00:00Z', { [key]: '2026-03-01T00:00:00Z' }))
    assert.equal(both.created, '2026-04-01T00:00:00.000Z')
  })

  test('is told by the annotation of an artifact, for one request', async () => {
    const empty = blobOf(Buffer.from('{"created":"2020-01-01T00:00:00Z"}'))
    const config = { mediaType: 'application/x', digest: empty.digest, size: empty.size }
    const { manifest: mediaType } = mediaTypes.oci
    const content = { schemaVersion: 2, mediaType, config, layers: [] }
    const parts = { blobs: [empty], children: [] }
    const artifact = { ...content, ...saying('2026-03-01T00:00:00Z') }
    assert.deepEqual(await made(manifestOf(mediaType, artifact, parts)), {
      created: '2026-03-01T00:00:00.000Z',
      requests: one,
    })
  })

  const untold = {
    'nothing at all': undefined,
    'the year 1, as an unset time of Go': '0001-01-01T00:00:00Z',
    'the epoch, as reproducible builds': '1970-01-01T00:00:00Z',
    'a second after it': '1970-01-01T00:00:01Z',
    '1980, as buildpacks': '1980-01-01T00:00:01Z',
    'no time': 'yesterday',
    'a time without a zone': '2026-03-01T00:00:00',
    'a day that is none': '2026-13-41T00:00:00Z',
  }
  for (const [name, text] of Object.entries(untold))
    test(`is not told by ${name}`, async () => {
      assert.equal((await made(image(text))).created, undefined)
    })
})

describe('when an index was made', () => {
  const old = image('2026-01-01T00:00:00Z')
  const young = image('2026-02-01T00:00:00Z', undefined, arm64)

  test('is told by the first of its images, and no attestation is taken for one', async () => {
    const entries = [{ image: old, platform: amd64 }]
    const index = indexOf([attestationOf(old), ...entries, { image: young, platform: arm64 }])
    assert.deepEqual(await made(index), { created: '2026-01-01T00:00:00.000Z', requests: three })
  })

  test('is told by the first that is for a platform that is wanted', async () => {
    const index = indexOf([
      { image: old, platform: amd64 },
      { image: young, platform: arm64 },
    ])
    const { created, requests } = await made(index, { platforms: ['linux/arm64'] })
    assert.deepEqual([created, requests], ['2026-02-01T00:00:00.000Z', three])
    const missing = made(index, { platforms: ['linux/s390x'] })
    await assert.rejects(missing, { code: 'COPY_PLATFORM_MISSING' })
  })

  test('is told by the newest of its entries that say so, for one request', async () => {
    const index = indexOf([
      { image: old, platform: amd64, ...saying('2026-03-01T00:00:00Z') },
      { image: young, platform: arm64, ...saying('2026-03-05T00:00:00Z') },
      { image: image(), platform: { os: 'linux', architecture: 's390x' } },
    ])
    assert.deepEqual(await made(index), { created: '2026-03-05T00:00:00.000Z', requests: one })
    const amd = await made(index, { platforms: ['linux/amd64'] })
    assert.deepEqual(amd, { created: '2026-03-01T00:00:00.000Z', requests: one })
  })

  test('is told by itself, for one request', async () => {
    const index = saidIndex([old], { [key]: '2026-03-01T00:00:00Z' })
    assert.deepEqual(await made(index), { created: '2026-03-01T00:00:00.000Z', requests: one })
  })

  test('is told by an index in it, as deep as images are read', async () => {
    const nested = indexOf([{ image: indexOf([{ image: old }]) }])
    assert.equal((await made(nested)).created, '2026-01-01T00:00:00.000Z')
    const deep = indexOf([{ image: indexOf([{ image: nested }]) }])
    assert.equal((await made(deep)).created, undefined)
  })

  test('is not told by one without images', async () => {
    assert.deepEqual(await made(indexOf([])), { created: undefined, requests: one })
  })
})

describe('asking when an image was made', () => {
  test('is tried again, and told of', async () => {
    let refused = 0
    registry.interceptor = ({ url = '', method }, response) => {
      if (method !== 'GET' || !/blobs/.test(url) || refused > 0) return false
      refused += 1
      fail(response, 503, 'UNAVAILABLE')
      return true
    }
    const reasons: string[] = []
    const onEvent: CreatedAtOptions['onEvent'] = (event) => {
      if (event.type === 'retry') reasons.push(`${event.image} ${event.reason}`)
    }
    const { created } = await made(image('2026-03-01T00:00:00Z'), { onEvent })
    assert.equal(created, '2026-03-01T00:00:00.000Z')
    assert.equal(reasons.length, 1)
    assert.match(reasons[0] ?? '', /app:v1 GET .*503/)
  })

  test('fails of what is not there, and stops when told to', async () => {
    const reference = { registry: registry.host, repository: 'app', tag: 'none' }
    await assert.rejects(createdAt(client, reference), (error: RegistryError) => {
      assert.deepEqual([error.code, error.repository], ['COPY_NOT_FOUND', 'app'])
      return true
    })
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await assert.rejects(createdAt(client, reference, { signal }), reason)
  })

  test('is asked of a mirror first', async () => {
    await using mirror = await FakeRegistry.start()
    await registry.client.push(image('2026-03-01T00:00:00Z'), 'app', 'v1')
    await mirror.client.push(image('2026-04-01T00:00:00Z'), 'hub/app', 'v1')
    const mirrors = [`${mirror.host}/hub`]
    const mirrored = createRegistryClient({ hosts: () => ({ http: true, mirrors }) })
    const reference = { registry: registry.host, repository: 'app', tag: 'v1' }
    const created = await createdAt(mirrored, reference)
    await mirrored.close()
    assert.equal(created?.toISOString(), '2026-04-01T00:00:00.000Z')
  })
})
