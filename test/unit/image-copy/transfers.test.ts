import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CopyEvent,
  copyImage,
  copyImages,
  createRegistryClient,
  describeImage,
  planCopy,
  type RegistryClient,
  type RegistryClientOptions,
  resolveDigest,
  verifyImage,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import {
  FakeRegistry,
  type FakeRegistryOptions,
  fail,
  readBody,
} from '../../support/fake-registry.ts'
import {
  digestOf,
  noise,
  sampleArtifact,
  sampleImage,
  sampleIndex,
} from '../../support/sample-images.ts'

const MiB = 1024 * 1024
let source: FakeRegistry
let target: FakeRegistry
let client: RegistryClient
const open: FakeRegistry[] = []

async function begin(
  from: FakeRegistryOptions = {},
  to: FakeRegistryOptions = {},
  options: RegistryClientOptions = {},
): Promise<void> {
  source = await FakeRegistry.start(from)
  target = await FakeRegistry.start(to)
  open.push(source, target)
  client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { baseMs: 1, maxMs: 2 },
    ...options,
  })
}

beforeEach(() => begin())
afterEach(async () => {
  await client.close()
  for (const registry of open.splice(0)) await registry.close()
})

async function anew(
  from: FakeRegistryOptions,
  to: FakeRegistryOptions,
  options: RegistryClientOptions = {},
): Promise<void> {
  await client.close()
  await begin(from, to, options)
}

const from = (tag = 'v1') => ({ registry: source.host, repository: 'a/b', tag })
const to = (tag = 'v1', repository = 'c/d') => ({ registry: target.host, repository, tag })
const layerOf = (image: Image): string => image.blobs[1]?.digest ?? ''

async function requireCopied(image: Image, repository = 'c/d'): Promise<void> {
  const held = target.repository(repository)
  assert.equal(held.tags.get('v1'), image.digest)
  for (const blob of image.blobs)
    assert.ok(held.blobs.get(blob.digest)?.equals(await blob.read()), blob.digest)
}

/** Lets `bytes` of a blob's answer through, the first `times` times, and then cuts the connection. */
function cutDownloads(digest: string, bytes: number, times: number): void {
  let left = times
  source.interceptor = (request, response) => {
    if (request.method !== 'GET' || !request.url?.endsWith(digest) || left === 0) return false
    left -= 1
    const whole = source.repository('a/b').blobs.get(digest) ?? Buffer.alloc(0)
    const start = Number(/bytes=(\d+)/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const headers =
      start === 0 ? {} : { 'content-range': `bytes ${start}-${whole.length - 1}/${whole.length}` }
    response.writeHead(start === 0 ? 200 : 206, {
      'content-length': whole.length - start,
      ...headers,
    })
    response.write(whole.subarray(start, start + bytes), () =>
      setTimeout(() => request.socket.destroy(), 10),
    )
    return true
  }
}

function startOf(range: string): number {
  return Number(/^bytes=(\d+)-\d+$/.exec(range)?.[1])
}

describe('downloads that break', () => {
  test('go on by Range where they broke, into the same upload', async () => {
    const image = sampleImage({ layers: [noise('broken', 2 * MiB)] })
    await source.client.push(image, 'a/b', 'v1')
    cutDownloads(layerOf(image), 500_000, 3)
    const { bytes } = await copyImage(client, from(), to())
    await requireCopied(image)
    const ranges = source.requests
      .map(({ headers }) => headers.range)
      .filter((range) => range !== undefined)
    assert.equal(ranges.length, 3)
    assert.ok(
      ranges.every((range, i) => i === 0 || startOf(range) > startOf(ranges[i - 1] ?? '')),
      `${ranges}`,
    )
    assert.equal(
      target.requests.filter(({ method, path }) => method === 'PUT' && path.includes('uploads'))
        .length,
      2,
    )
    assert.ok(bytes > 2 * MiB)
  })

  test('start over quietly where the registry knows no Range', async () => {
    const image = sampleImage({ layers: [noise('rangeless', MiB)] })
    await source.client.push(image, 'a/b', 'v1')
    let cut = false
    source.interceptor = (request, response) => {
      if (request.method !== 'GET' || !request.url?.endsWith(layerOf(image))) return false
      const whole = source.repository('a/b').blobs.get(layerOf(image)) ?? Buffer.alloc(0)
      response.writeHead(200, { 'content-length': whole.length })
      if (cut) response.end(whole)
      else
        response.write(whole.subarray(0, 300_000), () =>
          setTimeout(() => request.socket.destroy(), 10),
        )
      cut = true
      return true
    }
    await copyImage(client, from(), to())
    await requireCopied(image)
  })
})

test('a transfer that moves has all the time it needs', async () => {
  const timeouts = { answerMs: 150, commitMs: 150, stallMs: 150, requestMs: 150, connectMs: 500 }
  await anew({}, {}, { timeouts, retry: { attempts: 1 } })
  const bytes = noise('slow', 60 * 4096)
  const image = sampleImage({ layers: [bytes] })
  await source.client.push(image, 'a/b', 'v1')
  source.interceptor = (request, response) => {
    if (request.method !== 'GET' || !request.url?.endsWith(layerOf(image))) return false
    response.writeHead(200, { 'content-length': bytes.length })
    let at = 0
    const drip = setInterval(() => {
      response.write(bytes.subarray(at, at + 4096))
      at += 4096
      if (at >= bytes.length) clearInterval(drip)
    }, 20)
    response.on('close', () => clearInterval(drip))
    return true
  }
  const started = performance.now()
  await copyImage(client, from(), to())
  await requireCopied(image)
  assert.ok(performance.now() - started > 1000)
  const gets = source.requests.filter(({ path }) => path.endsWith(layerOf(image)))
  assert.equal(gets.filter(({ method }) => method === 'GET').length, 1)
})

describe('calls that are stopped', () => {
  const calls: Readonly<Record<string, (signal: AbortSignal) => Promise<unknown>>> = {
    resolveDigest: (signal) => resolveDigest(client, from(), { signal }),
    describeImage: (signal) => describeImage(client, from(), { signal }),
    planCopy: (signal) => planCopy(client, from(), to(), { signal }),
    verifyImage: (signal) => verifyImage(client, from(), `sha256:${'0'.repeat(64)}`, { signal }),
    copyImage: (signal) => copyImage(client, from(), to(), { signal }),
    copyImages: (signal) => copyImages(client, [{ source: from(), target: to() }], { signal }),
  }
  for (const [name, call] of Object.entries(calls)) {
    test(`${name} ends with the reason, before it began and while it waits`, async () => {
      const reason = new Error('enough')
      await assert.rejects(call(AbortSignal.abort(reason)), reason)
      assert.equal(source.requests.length + target.requests.length, 0)
      const stop = new AbortController()
      source.interceptor = () => {
        setImmediate(() => stop.abort(reason))
        return true
      }
      await assert.rejects(call(stop.signal), reason)
    })
  }
})

describe('uploads', () => {
  test('that break go on where the registry says it is', async () => {
    const image = sampleImage({ layers: [noise('upload', 3 * MiB)] })
    await source.client.push(image, 'a/b', 'v1')
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
    await copyImage(client, from(), to())
    await requireCopied(image)
    const puts = target.requests.filter(
      ({ method, path }) => method === 'PUT' && path.includes('uploads'),
    )
    const resumed = puts.find(({ headers }) => headers['content-range'] !== undefined)
    assert.ok(resumed, 'nothing was resumed')
    assert.equal(resumed.status, 201)
    assert.ok(Number(resumed.headers['content-length']) < 2 * MiB + 1)
  })

  test('are cut into chunks where bodies are bounded, and the host is remembered', async () => {
    await anew({}, { maxBody: 1.5 * MiB })
    const image = sampleImage({ layers: [noise('chunks', 4 * MiB + 5)] })
    await source.client.push(image, 'a/b', 'v1')
    const again = sampleImage({ layers: [noise('chunks2', 3 * MiB)] })
    await source.client.push(again, 'a/b', 'v2')
    await copyImage(client, from(), to())
    await requireCopied(image)
    target.takeLog()
    await copyImage(client, from('v2'), to('v2'))
    const log = target.takeLog()
    assert.ok(!log.some((line) => line.endsWith('413')), log.join('\n'))
    assert.equal(log.filter((line) => line.startsWith('PATCH')).length, 3)
  })

  test('are cut into no smaller chunks than the registry takes', async () => {
    await anew({}, { maxBody: 3 * MiB })
    const image = sampleImage({ layers: [noise('least chunk', 5 * MiB)] })
    await source.client.push(image, 'a/b', 'v1')
    target.interceptor = (_, response) => {
      response.setHeader('oci-chunk-min-length', 2 * MiB)
      return false
    }
    await copyImage(client, from(), to())
    await requireCopied(image)
    const sizes = target.requests
      .filter(({ method, status }) => method === 'PATCH' && status === 202)
      .map(({ headers }) => Number(headers['content-length']))
    assert.deepEqual(sizes, [2 * MiB, 2 * MiB, MiB])
  })

  test('that are turned down before they are whole are cut into chunks', async () => {
    const image = sampleImage({ layers: [noise('early', 6 * MiB)] })
    await source.client.push(image, 'a/b', 'v1')
    target.interceptor = (request, response) => {
      if (Number(request.headers['content-length'] ?? 0) <= MiB) return false
      // So a proxy does it that does not wait for the rest.
      response.writeHead(413, { connection: 'close', 'content-length': 0 }).end()
      response.on('finish', () => request.socket.destroySoon())
      return true
    }
    await copyImage(client, from(), to())
    await requireCopied(image)
    assert.equal(target.uploads.size, 0, 'an upload was left open')
  })

  test('that are turned down with a long page of text are cut into chunks', async () => {
    const image = sampleImage({ layers: [noise('page', 6 * MiB)] })
    await source.client.push(image, 'a/b', 'v1')
    target.interceptor = (request, response) => {
      if (Number(request.headers['content-length'] ?? 0) <= MiB) return false
      const page = Buffer.alloc(80_000, '<p>')
      response.writeHead(413, { 'content-length': page.length }).end(page)
      return true
    }
    await copyImage(client, from(), to())
    await requireCopied(image)
  })

  test('of which a part is said to be taken, and is not read, do not wait for ever', {
    timeout: 60_000,
  }, async () => {
    await anew({}, { maxBody: 8 * MiB })
    const image = sampleImage({ layers: [noise('unread', 12 * MiB)] })
    await source.client.push(image, 'a/b', 'v1')
    let sent = 0
    let lied = false
    target.interceptor = async (request, response) => {
      // More than kernels take for a peer that does not read.
      response.setHeader('oci-chunk-min-length', 8 * MiB)
      if (lied || request.method !== 'PATCH') return false
      lied = true
      for (let seen = -1; seen < sent; await new Promise((resolve) => setTimeout(resolve, 20)))
        seen = sent
      const { pathname } = new URL(request.url ?? '', target.url)
      request.socket.write(
        `HTTP/1.1 202 Accepted\r\nLocation: ${pathname}\r\nContent-Length: 0\r\n\r\n`,
      )
      return true
    }
    await copyImage(client, from(), to(), {
      onEvent: (event) => {
        if (event.type === 'blob-progress') sent = event.sent
      },
    })
    await requireCopied(image)
    assert.ok(lied)
  })

  test('of a digest that the registry does not know fail clearly, and no tag moves', async () => {
    const image = sampleImage({ layers: [noise('sha512', 3000)], algorithm: 'sha512' })
    const held = source.repository('a/b')
    for (const blob of image.blobs) held.blobs.set(blob.digest, await blob.read())
    held.manifests.set(image.digest, { bytes: image.bytes, mediaType: image.mediaType })
    held.tags.set('v1', image.digest)
    target.interceptor = async (request, response) => {
      if (request.method !== 'PUT' || !request.url?.includes('digest=sha512')) return false
      // distribution takes the bytes, and keeps them under another digest.
      const bytes = await readBody(request)
      const headers = { 'docker-content-digest': digestOf(bytes), 'content-length': 0 }
      response.writeHead(201, headers).end()
      return true
    }
    await assert.rejects(copyImage(client, from(), to()), {
      code: 'COPY_REFUSED',
      message: /does not support this kind of digest/,
    })
    assert.equal(target.repository('c/d').tags.size, 0)
  })

  test('whose answer was lost are not sent again', async () => {
    const image = sampleImage({ layers: [noise('lost', MiB)] })
    await source.client.push(image, 'a/b', 'v1')
    let cut = false
    target.interceptor = (request, response) => {
      if (cut || request.method !== 'PUT' || Number(request.headers['content-length']) < MiB)
        return false
      cut = true
      response.writeHead = () => {
        request.socket.destroy()
        return response
      }
      return false
    }
    await copyImage(client, from(), to())
    await requireCopied(image)
    assert.equal(
      target.requests.filter(
        ({ method, headers }) => method === 'PUT' && Number(headers['content-length']) === MiB,
      ).length,
      1,
    )
  })
})

test('what is no manifest in an index is copied as the blob that it is', async () => {
  await anew({}, { sparse: true })
  const image = sampleImage({ layers: [noise('beside a blob', 10)] })
  const bytes = noise('a blob in an index', 3000)
  const { children, ...index } = sampleIndex([{ image, platform: 'linux/amd64' }])
  const { manifests, ...rest } = JSON.parse(index.bytes.toString())
  const entry = { mediaType: 'application/x-tool', digest: digestOf(bytes), size: bytes.length }
  const body = Buffer.from(JSON.stringify({ ...rest, manifests: [...manifests, entry] }))
  const held = source.repository('a/b')
  await source.client.push(image, 'a/b')
  held.blobs.set(entry.digest, bytes)
  held.manifests.set(digestOf(body), { bytes: body, mediaType: index.mediaType })
  held.tags.set('v1', digestOf(body))
  assert.equal(children.length, 1)
  const { sizeBytes, platforms } = await describeImage(client, from())
  const own = image.blobs.reduce((sum, { size }) => sum + size, 0)
  assert.deepEqual([sizeBytes, platforms], [own + bytes.length, ['linux/amd64']])
  for (const options of [{ platforms: ['linux/amd64'] }, {}]) {
    await copyImage(client, from(), to(), options)
    assert.ok(target.repository('c/d').blobs.get(entry.digest)?.equals(bytes))
    await verifyImage(client, to(), digestOf(body))
  }
})

test('an image of more manifests than any has is refused', {
  skip: process.env.KIP_TEST_LONG !== '1' && 'asks ten thousand times; run with --long',
}, async () => {
  const held = source.repository('a/b')
  const put = ({ digest, bytes, mediaType }: Image): void =>
    void held.manifests.set(digest, { bytes, mediaType })
  const inner = Array.from({ length: 11 }, (_, i) =>
    sampleIndex(
      Array.from({ length: 1000 }, (_, k) => {
        const image = sampleImage({ layers: [], extra: { annotations: { of: `${i} ${k}` } } })
        put(image)
        for (const blob of image.blobs) held.blobs.set(blob.digest, Buffer.alloc(blob.size))
        return { image, platform: 'linux/amd64' }
      }),
    ),
  )
  const index = sampleIndex(inner.map((image) => ({ image, platform: 'linux/amd64' })))
  for (const it of [...inner, index]) put(it)
  held.tags.set('v1', index.digest)
  const refused = { code: 'COPY_MANIFEST_INVALID', message: /more than 10000 manifests/ }
  await assert.rejects(describeImage(client, from()), refused)
})

test('an image whose manifests are large together is not held in memory', async () => {
  const annotations = { padding: 'x'.repeat(3 * MiB) }
  const children = Array.from({ length: 6 }, (_, i) =>
    sampleImage({ layers: [noise(`padded${i}`, 10)], extra: { annotations } }),
  )
  const index = sampleIndex(children.map((image) => ({ image })))
  for (const image of [...children, index]) await source.client.push(image, 'a/b', 'v1')
  await assert.rejects(describeImage(client, from()), { code: 'COPY_TOO_LARGE' })
  // Copying holds one after the other.
  await copyImage(client, from(), to())
})

describe('what refers to something', () => {
  test('is written after it, and the tag last, even where nobody would mind', async () => {
    await anew({ referrersApi: true }, { sparse: true, referrersApi: true })
    const images = Array.from({ length: 6 }, (_, i) =>
      sampleImage({ layers: [noise(`order ${i}`, 20_000)], platform: `linux/arch${i}` }),
    )
    const inner = sampleIndex(images.slice(3).map((image) => ({ image })))
    const entries = images.slice(0, 3).map((image, i) => ({ image, platform: `linux/arch${i}` }))
    const index = sampleIndex([...entries, { image: inner }])
    const sbom = sampleArtifact(index, 'application/spdx+json', 'sbom')
    for (const [of, tag] of [[index, 'v1'] as const, [sbom, undefined] as const])
      await source.client.push(of, 'a/b', tag)
    await copyImage(client, from(), to(), { referrers: true })
    const done = target
      .takeLog()
      .filter((line) => line.startsWith('PUT') && line.endsWith('201'))
      .filter((line) => line.includes('/manifests/'))
      .map((line) => line.split('/manifests/')[1]?.replace(' 201', ''))
    assert.equal(done.at(-1), 'v1')
    assert.equal(done.filter((reference) => reference === 'v1').length, 1)
    for (const { digest } of inner.children)
      assert.ok(done.indexOf(digest) < done.indexOf(inner.digest), 'a child after its index')
    assert.equal(done.length, 6 + 1 + 1 + 1)
  })

  test('is not copied without end: referrers of referrers as deep as was asked', async () => {
    await anew({ referrersApi: true }, { referrersApi: true })
    const chain = [sampleImage({ layers: [] })]
    for (let i = 0; i < 5; i += 1)
      chain.push(sampleArtifact(chain.at(-1) ?? assert.fail(), 'application/x', `${i}`))
    await source.client.push(chain[0] ?? assert.fail(), 'a/b', 'v1')
    for (const referrer of chain.slice(1)) await source.client.push(referrer, 'a/b')
    const held = (): number => target.repository('c/d').manifests.size
    await copyImage(client, from(), to(), { referrers: true, referrersDepth: 1 })
    assert.equal(held(), 2)
    await copyImage(client, from(), to(), { referrers: true })
    assert.equal(held(), 4)
    await copyImage(client, from(), to(), { referrers: true, referrersDepth: 10 })
    assert.equal(held(), 6)
  })
})

describe('what the target holds', () => {
  for (const mount of ['all', 'others', 'ignored', 'error'] as const) {
    test(`is found and not sent again where mounting is "${mount}"`, async () => {
      await anew({}, { mount })
      const shared = noise('held', 2 * MiB)
      const image = sampleImage({ layers: [shared, noise('new', 100)] })
      await source.client.push(image, 'a/b', 'v1')
      await target.client.push(sampleImage({ layers: [shared] }), 'c/d', 'base')
      target.takeLog()
      const result = await copyImage(client, from(), to())
      await requireCopied(image)
      assert.equal(result.skipped, 1)
      assert.ok(result.bytes < MiB)
      assert.equal(target.uploads.size, 0, 'an upload was left open')
    })
  }

  test('is mounted from the source repository within one registry', async () => {
    const image = sampleImage({ layers: [noise('within', MiB)] })
    await source.client.push(image, 'a/b', 'v1')
    const result = await copyImage(client, from(), {
      registry: source.host,
      repository: 'x/y',
      tag: 'v1',
    })
    assert.deepEqual([result.mounted, result.blobs], [2, 0])
  })

  test('is sent after all when it was removed behind our back', async () => {
    const image = sampleImage({ layers: [noise('removed', 1000)] })
    await source.client.push(image, 'a/b', 'v1')
    await copyImage(client, from(), to())
    const held = target.repository('c/d')
    held.blobs.clear()
    held.manifests.clear()
    held.tags.clear()
    await copyImage(client, from(), to())
    await requireCopied(image)
  })
})

describe('platforms', () => {
  const amd64 = sampleImage({ layers: [noise('p1', 100)] })
  const arm = sampleImage({ layers: [noise('p2', 100)], platform: 'linux/arm64' })
  const note = sampleImage({ layers: [noise('p3', 10)], layerType: 'application/vnd.in-toto+json' })
  const index = sampleIndex([
    { image: amd64, platform: 'linux/amd64' },
    { image: arm, platform: 'linux/arm64' },
    { image: note, attestationOf: amd64 },
  ])

  test('are chosen with their attestations, and the index stays as it is', async () => {
    await anew({}, { sparse: true })
    await source.client.push(index, 'a/b', 'v1')
    const { digest } = await copyImage(client, from(), to(), { platforms: ['linux/amd64'] })
    assert.equal(digest, index.digest)
    assert.deepEqual(
      new Set(target.repository('c/d').manifests.keys()),
      new Set([index.digest, amd64.digest, note.digest]),
    )
    await copyImage(client, from(), to(), { platforms: ['linux/aarch64'] })
    assert.ok(target.repository('c/d').manifests.has(arm.digest))
  })

  test('in part are refused clearly where the registry wants the whole index', async () => {
    await source.client.push(index, 'a/b', 'v1')
    await assert.rejects(copyImage(client, from(), to(), { platforms: ['linux/arm64'] }), {
      code: 'COPY_SPARSE_INDEX_REFUSED',
    })
    assert.equal(target.repository('c/d').tags.size, 0)
  })

  test('in part are refused with where each is by itself', async () => {
    await source.client.push(index, 'a/b', 'v1')
    for (const [platform, { digest }] of [
      ['linux/amd64', amd64],
      ['linux/arm64', arm],
    ] as const) {
      await assert.rejects(
        copyImage(client, from(), to('v1', platform), { platforms: [platform] }),
        {
          message: new RegExp(`by its digest: ${platform} = ${source.host}/a/b@${digest} \\(`),
        },
      )
      const alone = { registry: source.host, repository: 'a/b', digest }
      assert.equal((await copyImage(client, alone, to('v1', 'alone'))).digest, digest)
    }
  })

  test('in part of very many are refused with where some of them are', async () => {
    const platforms = Array.from({ length: 12 }, (_, i) => `linux/made${i}`)
    const made = platforms.map((platform) => ({ image: amd64, platform }))
    const many = sampleIndex([...made, { image: arm, platform: 'linux/arm64' }])
    await source.client.push(many, 'a/b', 'v1')
    await assert.rejects(
      copyImage(client, from(), to(), { platforms }),
      /linux\/made9 = \S+ and 2 more \(/,
    )
  })

  test('that are not there are named, with those that are', async () => {
    await source.client.push(index, 'a/b', 'v1')
    await source.client.push(amd64, 'a/b', 'single')
    for (const tag of ['v1', 'single']) {
      await assert.rejects(
        copyImage(client, from(tag), to(), { platforms: ['linux/s390x'] }),
        /s390x; it has linux\/amd64/,
      )
    }
    assert.throws(() => copyImage(client, from(), to(), { platforms: ['amd64'] }), TypeError)
  })
})

describe('hosts', () => {
  test('that ask for patience get it from every request, and are not asked in between', async () => {
    const image = sampleImage({
      layers: Array.from({ length: 8 }, (_, i) => noise(`patience${i}`, 500)),
    })
    await source.client.push(image, 'a/b', 'v1')
    const blocked: number[] = []
    let until = 0
    target.interceptor = (request, response) => {
      if (request.method !== 'POST') return false
      if (until === 0) until = performance.now() + 950
      else if (performance.now() >= until) return false
      blocked.push(performance.now())
      request.resume()
      fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': '1' })
      return true
    }
    await copyImage(client, from(), to())
    await requireCopied(image)
    const spread = Math.max(...blocked) - Math.min(...blocked)
    assert.ok(spread < 500, `asked again after ${spread} ms`)
  })

  test('that ask for more patience than there is are left alone at once', async () => {
    await source.client.push(sampleImage({ layers: [] }), 'a/b', 'v1')
    source.interceptor = (_, response) => {
      fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': '7200' })
      return true
    }
    await assert.rejects(copyImage(client, from(), to()), {
      code: 'COPY_RATE_LIMITED',
      retryAfterMs: 7_200_000,
    })
    assert.equal(
      source.requests.filter(({ headers }) => headers['user-agent'] !== 'kip-test').length,
      1,
    )
  })

  test('tell how many pulls are left', async () => {
    await source.client.push(sampleImage({ layers: [] }), 'a/b', 'v1')
    source.interceptor = (_, response) => {
      response.setHeader('ratelimit-limit', '100;w=21600')
      response.setHeader('ratelimit-remaining', '76;w=21600')
      return false
    }
    const events: CopyEvent[] = []
    await copyImage(client, from(), to(), { onEvent: (event) => events.push(event) })
    const expected = { limit: 100, remaining: 76, windowSeconds: 21_600 }
    assert.deepEqual(client.rateLimit(source.host), expected)
    assert.ok(events.some((event) => event.type === 'rate-limit' && event.limit.remaining === 76))
  })

  test('are read through their mirrors, and without them when they fail', async () => {
    const mirror = await FakeRegistry.start()
    open.push(mirror)
    const image = sampleImage({ layers: [noise('mirrored', 5000)] })
    await source.client.push(image, 'a/b', 'v1')
    await mirror.client.push(image, 'hub/a/b', 'v1')
    const sourceHost = source.host
    await client.close()
    client = createRegistryClient({
      hosts: (host) =>
        host === sourceHost ? { http: true, mirrors: [`${mirror.host}/hub`] } : { http: true },
      retry: { baseMs: 1, maxMs: 1, attempts: 2 },
    })
    source.takeLog()
    await copyImage(client, from(), to())
    await requireCopied(image)
    assert.deepEqual(source.takeLog(), [])
    mirror.interceptor = (_, response) => {
      fail(response, 500, 'UNKNOWN')
      return true
    }
    await copyImage(client, from(), to('v1', 'e/f'))
    await requireCopied(image, 'e/f')
  })

  test('are not held up by a mirror that asks for patience', async () => {
    const mirror = await FakeRegistry.start()
    open.push(mirror)
    const image = sampleImage({ layers: [noise('patient', 5000)] })
    await source.client.push(image, 'a/b', 'v1')
    mirror.interceptor = (_, response) => {
      fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': '50' })
      return true
    }
    const sourceHost = source.host
    await client.close()
    client = createRegistryClient({
      hosts: (host) => ({ http: true, ...(host === sourceHost && { mirrors: [mirror.host] }) }),
    })
    await copyImage(client, from(), to())
    await requireCopied(image)
    assert.equal(mirror.requests.length, 1)
  })

  test('are read through several mirrors in their order, each blob from the first that has it', async () => {
    await client.close()
    const mirrors = [await FakeRegistry.start(), await FakeRegistry.start()]
    open.push(...mirrors)
    const [near, far] = mirrors as [FakeRegistry, FakeRegistry]
    const image = sampleImage({ layers: [noise('near', 900), noise('far', 800)] })
    await source.client.push(image, 'a/b', 'v1')
    await far.client.push(image, 'hub/a/b', 'v1')
    const [, first] = image.blobs
    near.repository('a/b').blobs.set(first?.digest ?? '', (await first?.read()) ?? Buffer.alloc(0))
    const sourceHost = source.host
    client = createRegistryClient({
      hosts: (host) =>
        host === sourceHost
          ? { http: true, mirrors: [near.host, `${far.host}/hub/`] }
          : { http: true },
      retry: { baseMs: 1, maxMs: 1, attempts: 2 },
    })
    for (const registry of [source, ...mirrors]) registry.takeLog()
    await copyImage(client, from(), to())
    await requireCopied(image)
    assert.deepEqual(source.takeLog(), [])
    const served = (registry: FakeRegistry): string[] =>
      registry.takeLog().filter((line) => line.startsWith('GET') && line.includes('blobs/'))
    assert.deepEqual(
      served(near).filter((line) => line.endsWith('200')),
      [`GET /v2/a/b/blobs/${first?.digest} 200`],
    )
    assert.equal(served(far).length, 2)
  })

  test('of Docker schema 2 with sha512 digests keep them', async () => {
    const image = sampleImage({ layers: [noise('sha512', 3000)], algorithm: 'sha512' })
    for (const blob of image.blobs)
      source.repository('a/b').blobs.set(blob.digest, await blob.read())
    source
      .repository('a/b')
      .manifests.set(image.digest, { bytes: image.bytes, mediaType: image.mediaType })
    source.repository('a/b').tags.set('v1', image.digest)
    await copyImage(client, from(), to())
    await requireCopied(image)
  })
})

describe('referrers', () => {
  test('go from API to API without a fallback tag', async () => {
    await anew({ referrersApi: true }, { referrersApi: true })
    const image = sampleImage({ layers: [noise('api', 10)] })
    const sbom = sampleArtifact(image, 'application/spdx+json', 'sbom')
    await source.client.push(image, 'a/b', 'v1')
    await source.client.push(sbom, 'a/b')
    await copyImage(client, from(), to(), { referrers: true })
    assert.ok(target.repository('c/d').manifests.has(sbom.digest))
    assert.deepEqual([...target.repository('c/d').tags.keys()], ['v1'])
  })

  test('are written to the tag before the image has its own', async () => {
    await anew({ referrersApi: true }, {})
    const image = sampleImage({ layers: [noise('order', 10)] })
    await source.client.push(image, 'a/b', 'v1')
    await source.client.push(sampleArtifact(image, 'application/x', 'sig'), 'a/b')
    await copyImage(client, from(), to(), { referrers: true })
    const puts = target
      .takeLog()
      .filter((line) => line.startsWith('PUT') && line.includes('/manifests/'))
    assert.match(puts.at(-1) ?? '', /manifests\/v1 201$/)
  })
})

test('a list of tags that is too long is not needed: signatures are asked for by name', async () => {
  const image = sampleImage({ layers: [noise('tagged', 10)] })
  const signature = sampleImage({ layers: [noise('signature', 10)] })
  const tag = `${image.digest.replace(':', '-')}.sig`
  await source.client.push(image, 'a/b', 'v1')
  await source.client.push(signature, 'a/b', tag)
  const tags = Array.from({ length: 45_000 }, (_, i) => `${'x'.repeat(100)}${i}`)
  source.interceptor = (request, response) => {
    if (!request.url?.includes('/tags/list')) return false
    // distribution 2.8 gives them all, however many were asked for.
    response.end(JSON.stringify({ name: 'a/b', tags }))
    return true
  }
  await copyImage(client, from(), to(), { signatureTags: true })
  assert.equal(target.repository('c/d').tags.get(tag), signature.digest)
})

describe('many referrers', () => {
  const image = sampleImage({ layers: [noise('much referred to', 10)] })
  const referrers = Array.from({ length: 40 }, (_, i) =>
    sampleArtifact(image, 'application/x', `referrer ${i}`),
  )
  const tag = image.digest.replace(':', '-')
  const listed = (): Set<string> => {
    const held = target.repository('c/d')
    const { bytes } = held.manifests.get(held.tags.get(tag) ?? '') ?? assert.fail()
    const { manifests } = JSON.parse(bytes.toString()) as { manifests: { digest: string }[] }
    assert.equal(new Set(manifests.map(({ digest }) => digest)).size, manifests.length)
    return new Set(manifests.map(({ digest }) => digest))
  }

  test('are copied side by side, each of them into the fallback tag', async () => {
    await anew({ referrersApi: true }, {})
    await source.client.push(image, 'a/b', 'v1')
    for (const referrer of referrers) await source.client.push(referrer, 'a/b')
    let open = 0
    let most = 0
    target.interceptor = async (request) => {
      if (request.method !== 'PUT' || !/manifests\/sha256[:-]/.test(request.url ?? '')) return false
      open += 1
      most = Math.max(most, open)
      await new Promise((resolve) => setTimeout(resolve, 5))
      open -= 1
      return false
    }
    await copyImage(client, from(), to(), { referrers: true })
    assert.deepEqual(listed(), new Set(referrers.map(({ digest }) => digest)))
    assert.ok(most > 1, 'one after the other')
    const writes = target.takeLog().filter((line) => line === `PUT /v2/c/d/manifests/${tag} 201`)
    assert.ok(writes.length < referrers.length / 2, `${writes.length} writes of the fallback tag`)
  })

  test('of two copies at once are all kept, and what the target had', async () => {
    await anew({ referrersApi: true }, {})
    await source.client.push(image, 'a/b', 'v1')
    await source.client.push(image, 'a/e', 'v1')
    for (const [i, referrer] of referrers.entries())
      await source.client.push(referrer, i % 2 === 0 ? 'a/b' : 'a/e')
    const own = sampleArtifact(image, 'application/x', 'of the target')
    await target.client.push(image, 'c/d')
    await target.client.push(own, 'c/d')
    const entry = { mediaType: own.mediaType, digest: own.digest, size: own.bytes.length }
    const index = sampleIndex([])
    const bytes = Buffer.from(
      JSON.stringify({ ...JSON.parse(index.bytes.toString()), manifests: [entry] }),
    )
    await target.client.push({ ...index, bytes, digest: digestOf(bytes) }, 'c/d', tag)
    const items = ['a/b', 'a/e'].map((repository, i) => ({
      source: { registry: source.host, repository, tag: 'v1' },
      target: to(`v${i}`),
    }))
    const outcomes = await copyImages(client, items, { referrers: true })
    for (const { error } of outcomes) assert.equal(error, undefined)
    assert.deepEqual(listed(), new Set([own, ...referrers].map(({ digest }) => digest)))
  })

  test('that are there but not in the fallback tag are entered, and nothing is when all are', async () => {
    await anew({ referrersApi: true }, {})
    await source.client.push(image, 'a/b', 'v1')
    await target.client.push(image, 'c/d')
    for (const referrer of referrers) {
      await source.client.push(referrer, 'a/b')
      await target.client.push(referrer, 'c/d')
    }
    await copyImage(client, from(), to(), { referrers: true })
    assert.deepEqual(listed(), new Set(referrers.map(({ digest }) => digest)))
    target.takeLog()
    await copyImage(client, from(), to(), { referrers: true })
    const log = target.takeLog()
    assert.deepEqual(
      log.filter((line) => !line.startsWith('HEAD')),
      [`GET /v2/c/d/manifests/${tag} 200`],
    )
  })

  test('are not entered beside bytes that were altered on the way', async () => {
    await anew({ referrersApi: true }, {})
    await source.client.push(image, 'a/b', 'v1')
    await source.client.push(referrers[0] ?? assert.fail(), 'a/b')
    await copyImage(client, from(), to(), { referrers: true })
    await source.client.push(referrers[1] ?? assert.fail(), 'a/b')
    let altered = 0
    target.mangle = (bytes, what) => {
      if (what !== 'manifest' || !bytes.includes('"manifests"') || altered > 0) return bytes
      altered += 1
      return Buffer.from(bytes.toString().replace('application/x', 'application/y'))
    }
    await copyImage(client, from(), to(), { referrers: true, recheck: true })
    target.mangle = undefined
    assert.equal(altered, 1)
    const held = target.repository('c/d')
    const { bytes } = held.manifests.get(held.tags.get(tag) ?? '') ?? assert.fail()
    assert.doesNotMatch(bytes.toString(), /application\/y/)
    assert.equal(listed().size, 2)
  })
})

describe('progress', () => {
  test('can be iterated while the copy runs, and adds up', async () => {
    const image = sampleImage({ layers: [noise('progress', 700_000)] })
    await source.client.push(image, 'a/b', 'v1')
    const job = copyImage(client, from(), to())
    const events: CopyEvent[] = []
    for await (const event of job) events.push(event)
    const { bytes } = await job
    assert.deepEqual([events[0]?.type, events.at(-1)?.type], ['image-started', 'image-done'])
    const done = events.flatMap((event) =>
      event.type === 'blob-done' || event.type === 'manifest-done' ? [event.bytes] : [],
    )
    assert.equal(
      done.reduce((a, b) => a + b, 0),
      bytes,
    )
  })

  test('says which image failed', async () => {
    await source.client.push(sampleImage({ layers: [] }), 'a/b', 'v1')
    const job = copyImages(client, [{ source: from('none'), target: to('none') }])
    const events: CopyEvent[] = []
    for await (const event of job) events.push(event)
    assert.deepEqual(
      events.map(({ type }) => type),
      ['image-started', 'image-failed'],
    )
    assert.equal((await job).length, 1)
  })
})

describe('requests', () => {
  test('are fewer while a target is being filled, and two an image when nothing is left to do', async () => {
    const names = Array.from({ length: 12 }, (_, i) => `v${i}`)
    for (const name of names) {
      await source.client.push(sampleImage({ layers: [noise(`fill ${name}`, 300)] }), 'a/b', name)
    }
    const items = names.map((name) => ({ source: from(name), target: to(name, `c/${name}`) }))
    const count = (): number => source.takeLog().length + target.takeLog().length
    count()
    await copyImages(client, items, { concurrency: 1 })
    // GET and PUT of the manifest, and for two blobs POST, GET, PUT; a configuration is mounted after the first. The first
    // three images are asked for by tag and by digest.
    const filling = count()
    assert.ok(filling <= 12 * (2 + 4) + 3 * 2 + 2, `${filling} requests`)
    await copyImages(client, items, { concurrency: 1 })
    // The guesses that tags and images are new cost one request each, once.
    const again = count()
    assert.ok(again <= 2 * 12 + 3, `${again} requests`)
  })
})

describe('a source’s tag that was seen before', () => {
  const image = sampleImage({ layers: [noise('seen', 300)] })
  const seen = 'HEAD /v2/a/b/manifests/v1 200'

  /** Copies until the target counts as up to date, so that sources are asked by HEAD, and then once more. */
  async function copyUntilSeen(): Promise<void> {
    await source.client.push(image, 'a/b', 'v1')
    await target.client.push(image, 'c/d', 'v1')
    for (let turn = 0; turn < 3; turn += 1) await copyImage(client, from(), to())
    source.takeLog()
    await copyImage(client, from(), to())
    assert.deepEqual(source.takeLog(), [seen])
    target.takeLog()
  }

  test('is asked for by what it was, and the target’s in full', async () => {
    await copyUntilSeen()
    const { digest, mediaType, bytes } = await copyImage(client, from(), to())
    assert.deepEqual([digest, bytes], [image.digest, 0])
    assert.equal(mediaType, 'application/vnd.oci.image.manifest.v1+json')
    assert.deepEqual(source.takeLog(), ['HEAD /v2/a/b/manifests/v1 304'])
    assert.deepEqual(target.takeLog(), ['HEAD /v2/c/d/manifests/v1 200'])
  })

  test('is copied when it moved, and seen as what it moved to', async () => {
    await copyUntilSeen()
    const moved = sampleImage({ layers: [noise('moved', 300)] })
    await source.client.push(moved, 'a/b', 'v1')
    source.takeLog()
    assert.equal((await copyImage(client, from(), to())).digest, moved.digest)
    await requireCopied(moved)
    assert.equal(source.takeLog()[0], seen)
  })

  test('is copied again when the target lost it', async () => {
    await copyUntilSeen()
    target.repository('c/d').manifests.clear()
    assert.equal((await copyImage(client, from(), to())).digest, image.digest)
    await requireCopied(image)
  })

  test('is forgotten when it is gone', async () => {
    await copyUntilSeen()
    const { tags } = source.repository('a/b')
    tags.delete('v1')
    await assert.rejects(copyImage(client, from(), to()), { code: 'COPY_NOT_FOUND' })
    tags.set('v1', image.digest)
    for (let turn = 0; turn < 3; turn += 1) await copyImage(client, from(), to())
    source.takeLog()
    await copyImage(client, from(), to())
    assert.deepEqual(source.takeLog(), [seen])
  })

  test('is asked for in full where the entity tag is not the digest', async () => {
    source.interceptor = ({ method, url = '' }, response) => {
      if (method !== 'HEAD' || !url.includes('/manifests/')) return false
      const headers = { etag: '"1"', 'docker-content-digest': image.digest, 'content-length': 1 }
      response.writeHead(200, headers).end()
      return true
    }
    await copyUntilSeen()
    await copyImage(client, from(), to())
    const [asked] = source.requests
    assert.deepEqual([asked?.method, asked?.headers['if-none-match']], ['HEAD', undefined])
  })

  test('is not believed to be the same where nobody asked that', async () => {
    await copyUntilSeen()
    await source.client.push(image, 'a/b', 'v2')
    await target.client.push(image, 'c/d', 'v2')
    source.interceptor = (_request, response) => {
      response.writeHead(304).end()
      return true
    }
    await assert.rejects(copyImage(client, from('v2'), to('v2')), {
      code: 'COPY_PROTOCOL',
      message: /manifests\/v2: 304; no such answer was expected/,
    })
  })
})

describe('a new tag on content that is there', () => {
  const image = sampleImage({ layers: [noise('renamed', 300)] })
  const asked = (name: string): string[] => [
    `HEAD /v2/c/d/manifests/${image.digest} 200`,
    `PUT /v2/c/d/manifests/${name} 201`,
  ]

  test('is found by its digest where the source’s tag is not there, which is soon not asked for', async () => {
    await source.client.push(image, 'a/b', 'v1')
    await target.client.push(image, 'c/d', 'other')
    target.takeLog()
    for (const name of ['one', 'two', 'three']) {
      await copyImage(client, from(), to(name))
      assert.deepEqual(target.takeLog(), ['HEAD /v2/c/d/manifests/v1 404', ...asked(name)])
    }
    await copyImage(client, from(), to('four'))
    assert.deepEqual(target.takeLog(), asked('four'))
  })

  test('is found by its digest where the source’s tag is another image', async () => {
    await source.client.push(image, 'a/b', 'v1')
    await target.client.push(image, 'c/d', 'other')
    await target.client.push(sampleImage({ layers: [noise('older', 300)] }), 'c/d', 'v1')
    target.takeLog()
    await copyImage(client, from(), to('one'))
    assert.deepEqual(target.takeLog(), ['HEAD /v2/c/d/manifests/v1 200', ...asked('one')])
  })
})

describe('a target that writes no tag twice', () => {
  const image = sampleImage({ layers: [noise('immutable', 300)] })

  beforeEach(async () => {
    await source.client.push(image, 'a/b', 'v1')
    await target.client.push(image, 'c/d', 'v1')
    target.interceptor = async (request, response) => {
      if (request.method !== 'PUT' || !request.url?.endsWith('/manifests/kept')) return false
      await readBody(request)
      fail(response, 400, 'TAG_INVALID')
      return true
    }
  })

  test('is asked whether its tag is right already, once it refused', async () => {
    target.repository('c/d').tags.set('kept', image.digest)
    target.takeLog()
    const { digest, bytes } = await copyImage(client, from(), to('kept'))
    assert.deepEqual({ digest, bytes }, { digest: image.digest, bytes: 0 })
    assert.deepEqual(target.takeLog(), [
      'HEAD /v2/c/d/manifests/v1 200',
      'PUT /v2/c/d/manifests/kept 400',
      'HEAD /v2/c/d/manifests/kept 200',
    ])
  })

  test('is asked for its tag too where the guess that it is being filled was wrong', async () => {
    const items = []
    for (const name of ['one', 'two', 'three', 'kept']) {
      const other = name === 'kept' ? image : sampleImage({ layers: [noise(name, 300)] })
      await source.client.push(other, 'a/b', name)
      items.push({ source: from(name), target: to(name, name === 'kept' ? 'c/d' : `c/${name}`) })
    }
    target.repository('c/d').tags.set('kept', image.digest)
    target.takeLog()
    for (const { error } of await copyImages(client, items, { concurrency: 1 }))
      assert.equal(error, undefined)
    assert.deepEqual(
      target.takeLog().filter((line) => /c\/d\/manifests/.test(line)),
      ['PUT /v2/c/d/manifests/kept 400', 'HEAD /v2/c/d/manifests/kept 200'],
    )
  })

  test('is not asked for its tag where the image had to be sent', async () => {
    target.takeLog()
    await assert.rejects(copyImage(client, from(), to('kept', 'e/f')), { code: 'COPY_REFUSED' })
    assert.equal(target.takeLog().at(-1), 'PUT /v2/e/f/manifests/kept 400')
  })

  test('fails the copy where its tag is another image', async () => {
    const other = sampleImage({ layers: [noise('another', 300)] })
    await target.client.push(other, 'c/d', 'other')
    target.repository('c/d').tags.set('kept', other.digest)
    await assert.rejects(copyImage(client, from(), to('kept')), { code: 'COPY_REFUSED' })
    assert.equal(target.repository('c/d').tags.get('kept'), other.digest)
  })

  test('fails the copy where the tag is not there', async () => {
    await assert.rejects(copyImage(client, from(), to('kept')), { code: 'COPY_REFUSED' })
    assert.equal(target.repository('c/d').tags.get('kept'), undefined)
  })
})
