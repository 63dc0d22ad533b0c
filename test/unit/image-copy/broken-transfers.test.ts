import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type CopyEvent,
  type CopyOptions,
  copyImage,
  createRegistryClient,
  planCopy,
  type RegistryClient,
  type RegistryClientOptions,
  type RegistryError,
  verifyImage,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import {
  FakeRegistry,
  type FakeRegistryOptions,
  fail,
  readBody,
} from '../../support/fake-registry.ts'
import { noise, sampleImage, sampleIndex } from '../../support/sample-images.ts'

const MiB = 1024 * 1024
let source: FakeRegistry
let target: FakeRegistry
let client: RegistryClient

const stop = async (): Promise<void> => {
  await client.close()
  await Promise.all([source.close(), target.close()])
}
const start = async (
  to: FakeRegistryOptions = {},
  options: RegistryClientOptions = {},
): Promise<void> => {
  source = await FakeRegistry.start()
  target = await FakeRegistry.start(to)
  client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { baseMs: 1, maxMs: 2 },
    ...options,
  })
}
const anew = async (...how: Parameters<typeof start>): Promise<void> => {
  await stop()
  await start(...how)
}
beforeEach(() => start())
afterEach(stop)

async function push(image: Image, repository = 'a/b'): Promise<Image> {
  await source.client.push(image, repository, 'v1')
  source.takeLog()
  return image
}

const pushed = (name: string, bytes: number): Promise<Image> =>
  push(sampleImage({ layers: [noise(name, bytes)] }))

const copy = (repository = 'c/d', options: CopyOptions = {}): Promise<unknown> =>
  copyImage(
    client,
    { registry: source.host, repository: 'a/b', tag: 'v1' },
    { registry: target.host, repository, tag: 'v1' },
    options,
  )

function requireCopied(image: Image, repository = 'c/d'): void {
  assert.equal(target.repository(repository).tags.get('v1'), image.digest)
  assert.equal(target.uploads.size, 0, 'an upload was left open')
}

/** Requests of one method for blobs and their uploads that a registry had since it was last asked. */
const blobRequests = (registry: FakeRegistry, method: string): string[] =>
  registry.takeLog().filter((line) => line.startsWith(method) && line.includes('/blobs/'))

const isUpload = ({ method, url }: IncomingMessage, what: string): boolean =>
  method === what && /blobs\/uploads\/./.test(url ?? '')

const idOf = ({ url }: IncomingMessage): string =>
  /uploads\/([0-9a-f-]+)/.exec(url ?? '')?.[1] ?? ''

/** Only the layer, and not the config before it, which has some hundred bytes. */
const isLarge = ({ headers }: IncomingMessage): boolean =>
  Number(headers['content-length'] ?? 0) > 4096

/** Takes the first large PUT whole, keeps its bytes if asked, and answers 503. */
function loseFirstAnswer(keep: boolean): void {
  let lost = false
  target.interceptor = async (request, response) => {
    if (lost || !isUpload(request, 'PUT') || !isLarge(request)) return false
    lost = true
    const bytes = await readBody(request)
    const upload = target.uploads.get(idOf(request))
    if (keep && upload !== undefined) upload.bytes = bytes
    fail(response, 503, 'UNAVAILABLE')
    return true
  }
}

describe('uploads whose answer was lost', () => {
  test('begin anew where the registry counts more bytes than were sent', {
    timeout: 30_000,
  }, async () => {
    const image = await pushed('gitea', 300_000)
    loseFirstAnswer(false)
    const lose = target.interceptor
    target.interceptor = async (request, response) => {
      if (!isUpload(request, 'GET')) return (await lose?.(request, response)) ?? false
      response.writeHead(204, { range: '0-300000' }).end()
      return true
    }
    await copy()
    requireCopied(image)
  })

  // A mark of the hash's state may lie at the very end of a blob: here it always does.
  for (const bytes of [300_000, 4 * MiB]) {
    test(`send no byte again that the registry has, nor ask the source for any: ${bytes}`, async () => {
      const image = await pushed('all-there', bytes)
      loseFirstAnswer(true)
      await copy()
      requireCopied(image)
      assert.equal(blobRequests(source, 'GET').length, image.blobs.length)
      const lengths = target.requests
        .filter(({ method, path }) => method === 'PUT' && path.includes('/uploads/'))
        .map(({ headers }) => Number(headers['content-length']))
      assert.deepEqual(lengths.slice(-2), [bytes, 0])
    })
  }
})

test('a download of which only the end was lost is whole', async () => {
  const image = await pushed('endless', 300_000)
  const [, layer] = image.blobs
  const bytes = (await layer?.read()) ?? Buffer.alloc(0)
  source.interceptor = (request, response) => {
    if (request.method !== 'GET' || !request.url?.endsWith(layer?.digest ?? '')) return false
    response.writeHead(200, { 'transfer-encoding': 'chunked' })
    response.write(bytes, () => setTimeout(() => request.socket.destroy(), 20))
    return true
  }
  await copy()
  requireCopied(image)
  assert.equal(blobRequests(source, 'GET').length, image.blobs.length)
})

describe('uploads in pieces', () => {
  test('go to a registry that says 201 to each piece', async () => {
    await anew({ maxBody: 1.5 * MiB })
    const image = await pushed('ecr', 3 * MiB)
    target.interceptor = (request, response) => {
      if (!isUpload(request, 'PATCH')) return false
      const write = response.writeHead.bind(response)
      response.writeHead = ((status: number, ...more: []) =>
        write(status === 202 ? 201 : status, ...more)) as ServerResponse['writeHead']
      return false
    }
    await copy()
    requireCopied(image)
  })

  test('are given up for one body where the registry does not put them together', async () => {
    const image = await pushed('last-piece-wins', 3 * MiB)
    let refused = false
    target.interceptor = async (request, response) => {
      if (isUpload(request, 'PUT') && isLarge(request) && !refused) {
        refused = true
        request.resume()
        fail(response, 413, 'SIZE_INVALID')
        return true
      }
      const upload = target.uploads.get(idOf(request))
      if (!isUpload(request, 'PATCH') || upload === undefined) return false
      upload.bytes = Buffer.alloc(0)
      delete request.headers['content-range']
      return false
    }
    await copy()
    requireCopied(image)
    target.takeLog()
    await push(sampleImage({ layers: [noise('next', 3 * MiB)] }))
    await copy()
    assert.deepEqual(blobRequests(target, 'PATCH'), [])
  })

  test('are not learned from a blob that went in one', async () => {
    await pushed('small', MiB)
    let refusals = 0
    target.interceptor = (request, response) => {
      const body = isUpload(request, 'PUT') || isUpload(request, 'PATCH')
      if (!body || !isLarge(request) || refusals === 2) return false
      refusals += 1
      request.resume()
      fail(response, 415, 'UNSUPPORTED')
      return true
    }
    await copy()
    assert.equal(blobRequests(target, 'PATCH').length, 2)
    const large = await push(sampleImage({ layers: [noise('large', 17 * MiB)] }))
    await copy()
    requireCopied(large)
    assert.deepEqual(blobRequests(target, 'PATCH'), [])
  })
})

describe('an upload that the registry knows no more', () => {
  const forget = (times: number): void => {
    let left = times
    target.interceptor = (request) => {
      if (left > 0 && isUpload(request, 'PUT') && isLarge(request)) {
        left -= 1
        target.uploads.delete(idOf(request))
      }
      return false
    }
  }

  test('is opened again, and nothing is learned from it', async () => {
    const image = await pushed('restarted', 300_000)
    forget(1)
    await copy()
    requireCopied(image)
    assert.deepEqual(blobRequests(target, 'PATCH'), [])
  })

  test('twice in a row is tried another way', async () => {
    const image = await pushed('no-such-way', 300_000)
    forget(2)
    await copy()
    requireCopied(image)
    assert.equal(blobRequests(target, 'PATCH').length, 1)
  })
})

describe('uploads that come to nothing are cancelled', () => {
  test('where the blob is asked for at the same time, and that is refused', async () => {
    await pushed('head-refused', 2 * MiB)
    target.interceptor = (request, response) => {
      if (request.method !== 'HEAD' || !request.url?.includes('/blobs/')) return false
      response.writeHead(403).end()
      return true
    }
    await assert.rejects(copy(), { code: 'COPY_DENIED' })
    assert.equal(target.uploads.size, 0)
  })

  test('when the copy is stopped while it waits for another try', async () => {
    await pushed('waits', 300_000)
    target.interceptor = async (request, response) => {
      if (!isUpload(request, 'PUT') || !isLarge(request)) return false
      await readBody(request)
      fail(response, 503, 'UNAVAILABLE', { 'retry-after': '30' })
      return true
    }
    const stopping = new AbortController()
    const onEvent = ({ type }: CopyEvent): void => {
      if (type === 'retry') stopping.abort(new Error('stopped'))
    }
    await assert.rejects(copy('c/d', { signal: stopping.signal, onEvent }), /stopped/)
    assert.equal(target.uploads.size, 0)
  })

  test('when another blob fails while they wait for a place', async () => {
    await anew({ mount: 'ignored' })
    const image = await push(
      sampleImage({ layers: Array.from({ length: 20 }, (_, i) => noise(`waiting${i}`, 5000)) }),
    )
    await copy('c/one')
    const [, missing] = image.blobs
    source.interceptor = async (request, response) => {
      if (request.method !== 'GET' || !request.url?.includes('/blobs/')) return false
      if (!request.url.endsWith(missing?.digest ?? '')) return true
      while (target.uploads.size < 12) await new Promise((resolve) => setTimeout(resolve, 5))
      fail(response, 404, 'BLOB_UNKNOWN')
      return true
    }
    await assert.rejects(copy(), { code: 'COPY_NOT_FOUND' })
    assert.equal(target.uploads.size, 0)
  })
})

describe('a host that asks for patience', () => {
  test('beyond what there is is left alone, whatever it was asked for', async () => {
    const image = await pushed('impatient', 300_000)
    const [, layer] = image.blobs
    const beyond = (response: ServerResponse): true => {
      fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': '7200' })
      return true
    }
    source.interceptor = (request, response) =>
      request.method === 'GET' && request.url?.endsWith(layer?.digest ?? '') === true
        ? beyond(response)
        : false
    await assert.rejects(copy(), { code: 'COPY_RATE_LIMITED', retryAfterMs: 7_200_000 })
    const layerRequests = blobRequests(source, 'GET').filter((line) =>
      line.includes(layer?.digest ?? ''),
    )
    assert.equal(layerRequests.length, 1)
    source.interceptor = undefined
    await anew()
    await push(image)
    target.interceptor = async (request, response) => {
      if (!isUpload(request, 'PUT') || !isLarge(request)) return false
      await readBody(request)
      return beyond(response)
    }
    await assert.rejects(copy(), { code: 'COPY_RATE_LIMITED', retryAfterMs: 7_200_000 })
    assert.equal(target.uploads.size, 0)
  })

  test('beyond what there is is asked by no other copy meanwhile, which is told how long', async () => {
    const [one, two] = [await pushed('patient1', 900), sampleImage({ layers: [noise('p2', 900)] })]
    await source.client.push(two, 'e/f', 'v1')
    source.takeLog()
    source.interceptor = (_, response) => {
      fail(response, 503, 'UNAVAILABLE', { 'retry-after': '200' })
      return true
    }
    await assert.rejects(copy(), { code: 'COPY_SERVER_ERROR', retryAfterMs: 200_000 })
    const asked = source.requests.length
    const from = { registry: source.host, repository: 'e/f', tag: 'v1' }
    const to = { registry: target.host, repository: 'e/f', tag: 'v1' }
    await assert.rejects(copyImage(client, from, to), (error: RegistryError) => {
      assert.equal(error.code, 'COPY_SERVER_ERROR')
      assert.equal(error.host, source.host)
      assert.ok((error.retryAfterMs ?? 0) > 100_000 && (error.retryAfterMs ?? 0) <= 200_000)
      return true
    })
    assert.equal(source.requests.length, asked)
    assert.equal(one.blobs.length, 2)
  })

  test('which it prolongs beyond what there is, is not waited out by those who began to', async () => {
    await pushed('prolonged', 900)
    await source.client.push(sampleImage({ layers: [noise('p3', 900)] }), 'e/f', 'v1')
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
    const { promise: waits, resolve: wait } = Promise.withResolvers<void>()
    source.interceptor = async ({ url = '' }, response) => {
      const isFirst = url.startsWith('/v2/a/b/')
      if (isFirst) {
        ask()
        await waits
      }
      fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': isFirst ? '200' : '1' })
      return true
    }
    const first = assert.rejects(copy(), { retryAfterMs: 200_000 })
    await asked
    const from = { registry: source.host, repository: 'e/f', tag: 'v1' }
    const to = { registry: target.host, repository: 'e/f', tag: 'v1' }
    const onEvent = ({ type }: CopyEvent) => type === 'retry' && wait()
    await assert.rejects(copyImage(client, from, to, { onEvent }), { code: 'COPY_RATE_LIMITED' })
    await first
  })

  test('is not asked by those who waited for their turn meanwhile', async () => {
    await anew({}, { hosts: () => ({ http: true, maxRequests: 2 }) })
    const image = await push(
      sampleImage({ layers: Array.from({ length: 12 }, (_, i) => noise(`turn${i}`, 500)) }),
    )
    // From there each blob is mounted, all at a time.
    await copy('c/one')
    let refused = 0
    let until = 0
    target.interceptor = (request, response) => {
      if (request.method !== 'POST' || (until !== 0 && performance.now() >= until)) return false
      if (until === 0) until = performance.now() + 950
      refused += 1
      request.resume()
      fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': '1' })
      return true
    }
    await copy()
    requireCopied(image)
    assert.ok(refused <= 2, `${refused} requests came in between`)
  })

  test('holds back nobody who asks another one', { timeout: 30_000 }, async () => {
    const image = await push(sampleImage({ layers: [noise('one', 5000), noise('two', 5000)] }))
    const [, one, two] = image.blobs
    let waiting = false
    target.interceptor = (request) => {
      const held = request.method === 'POST' && request.url?.includes(two?.digest ?? '') === true
      waiting ||= held
      return held
    }
    source.interceptor = async (request, response) => {
      if (request.method !== 'GET' || !request.url?.endsWith(one?.digest ?? '')) return false
      while (!waiting) await new Promise((resolve) => setTimeout(resolve, 5))
      fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': '7200' })
      return true
    }
    await assert.rejects(copy(), { code: 'COPY_RATE_LIMITED' })
    source.interceptor = undefined
    target.interceptor = undefined
    const other = sampleImage({ layers: [noise('three', 5000)] })
    await target.client.push(other, 'x/y', 'v1')
    await copyImage(
      client,
      { registry: target.host, repository: 'x/y', tag: 'v1' },
      { registry: target.host, repository: 'e/f', tag: 'v1' },
    )
    assert.equal(target.repository('e/f').tags.get('v1'), other.digest)
  })
})

test('a request that brought nothing is tried as often as a request is, and no more', async () => {
  await anew({}, { retry: { attempts: 3, baseMs: 1, maxMs: 2 } })
  const image = await pushed('never', 5000)
  const [, layer] = image.blobs
  source.interceptor = (request, response) => {
    if (request.method !== 'GET' || !request.url?.endsWith(layer?.digest ?? '')) return false
    fail(response, 503, 'UNAVAILABLE')
    return true
  }
  await assert.rejects(copy(), { code: 'COPY_SERVER_ERROR' })
  const asked = blobRequests(source, 'GET').filter((line) => line.includes(layer?.digest ?? ''))
  assert.equal(asked.length, 3)
})

test('a repository to mount into that is not there says nothing about the others', async () => {
  const image = await pushed('mounted', 5000)
  await copy('c/one')
  target.interceptor = (request, response) => {
    if (request.method !== 'POST' || !request.url?.startsWith('/v2/not/there/')) return false
    request.resume()
    fail(response, 404, 'NAME_UNKNOWN')
    return true
  }
  await assert.rejects(copy('not/there'), { code: 'COPY_NOT_FOUND' })
  source.takeLog()
  await copy('c/two')
  requireCopied(image, 'c/two')
  assert.deepEqual(blobRequests(source, 'GET'), [])
})

test('a name that is lost for a while says nothing about mounts', async () => {
  let lost = false
  await anew(
    {},
    {
      lookup: (_, options, done) => {
        const address = { address: '127.0.0.1', family: 4 }
        if (lost) done(Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }), '')
        else if (options.all) done(null, [address])
        else done(null, address.address, address.family)
      },
    },
  )
  const image = await pushed('mounted', 5000)
  const from = { registry: source.host, repository: 'a/b', tag: 'v1' }
  const to = (repository: string) =>
    copyImage(client, from, { registry: `backup.test:${target.port}`, repository, tag: 'v1' })
  await to('c/one')
  target.interceptor = (request) => {
    lost ||= request.method === 'POST'
    if (lost) request.socket.destroy()
    return lost
  }
  await assert.rejects(to('c/two'), { code: 'COPY_UNREACHABLE' })
  target.interceptor = undefined
  lost = false
  source.takeLog()
  await to('c/two')
  requireCopied(image, 'c/two')
  assert.deepEqual(blobRequests(source, 'GET'), [])
})

test('referrers are asked for by API though another repository of the host has none', async () => {
  await source.close()
  source = await FakeRegistry.start({ referrersApi: true })
  const subject = await pushed('signed', 500)
  const signature = sampleImage({
    layers: [noise('signature', 50)],
    extra: { subject: { mediaType: subject.mediaType, digest: subject.digest, size: 1 } },
  })
  await source.client.push(signature, 'a/b', 'other')
  await source.client.push(subject, 'plain/b', 'v1')
  source.interceptor = (request, response) => {
    if (!request.url?.startsWith('/v2/plain/b/referrers/')) return false
    fail(response, 404, 'NOT_FOUND')
    return true
  }
  await copyImage(
    client,
    { registry: source.host, repository: 'plain/b', tag: 'v1' },
    { registry: target.host, repository: 'plain/b', tag: 'v1' },
    { referrers: true },
  )
  await copy('c/d', { referrers: true })
  assert.ok(target.repository('c/d').manifests.has(signature.digest))
})

test('a mirror that serves wrong bytes costs a try, and not the copy', async () => {
  const mirror = await FakeRegistry.start()
  try {
    const image = await pushed('mirrored', 5000)
    await mirror.client.push(image, 'a/b', 'v1')
    mirror.mangle = (bytes, what) =>
      what === 'blob' ? Buffer.concat([Buffer.from('x'), bytes.subarray(1)]) : bytes
    const { host } = source
    await client.close()
    client = createRegistryClient({
      hosts: (it) => (it === host ? { http: true, mirrors: [mirror.host] } : { http: true }),
      retry: { baseMs: 1, maxMs: 1 },
    })
    await copy()
    requireCopied(image)
  } finally {
    await mirror.close()
  }
})

test('a target is judged by what it holds, and not by what a mirror of it still has', async () => {
  const cache = await FakeRegistry.start()
  try {
    const image = await pushed('lost', 5000)
    await cache.client.push(image, 'c/d', 'v1')
    const { host } = target
    await client.close()
    client = createRegistryClient({
      hosts: (it) => (it === host ? { http: true, mirrors: [cache.host] } : { http: true }),
      retry: { baseMs: 1, maxMs: 1 },
    })
    const at = { registry: host, repository: 'c/d', tag: 'v1' }
    await assert.rejects(verifyImage(client, at, image.digest), { code: 'COPY_NOT_FOUND' })
    const plan = await planCopy(client, { registry: source.host, repository: 'a/b', tag: 'v1' }, at)
    assert.equal(plan.upToDate, false)
    await copy()
    requireCopied(image)
  } finally {
    await cache.close()
  }
})

test('an image that another index has too fails of what it lacks, wherever that shows', async () => {
  const [missing, shared, slow] = ['missing', 'shared', 'slow'].map((name) =>
    sampleImage({ layers: [noise(name, 500)] }),
  ) as [Image, Image, Image]
  const first = sampleIndex([missing, shared, slow].map((image) => ({ image })))
  const second = sampleIndex([{ image: shared }])
  const root = sampleIndex([{ image: first }, { image: second }])
  for (const image of [missing, shared, slow, first, second, root])
    await source.client.push(image, 'a/b', 'v1')
  let others = 0
  target.interceptor = async (request) => {
    const isSlow = request.url?.includes(slow.blobs[1]?.digest ?? '') === true
    if (isSlow && request.method === 'POST') {
      others += 1
      // Its answer, and so the end of the first index, comes after the second index has failed.
      await new Promise((resolve) => setTimeout(resolve, 100))
      return false
    }
    if (!request.url?.includes(shared.blobs[1]?.digest ?? '') || request.method !== 'POST')
      return false
    others += 1
    return true
  }
  source.interceptor = async (request, response) => {
    if (request.method !== 'GET' || !request.url?.endsWith(missing.blobs[1]?.digest ?? ''))
      return false
    while (others < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    fail(response, 404, 'BLOB_UNKNOWN')
    return true
  }
  await assert.rejects(copy(), { code: 'COPY_NOT_FOUND' })
})

test('a target that closes idle connections waits for a slow source, and is not blamed', async (t) => {
  // A front as servers are that keep a connection for a while only.
  const front = createServer((near) => {
    const far = connect(target.port, '127.0.0.1')
    near.setTimeout(1200, () => near.end())
    far.on('data', () => near.setTimeout(1200))
    for (const [a, b] of [
      [near, far],
      [far, near],
    ] as const) {
      a.on('error', () => b.destroy())
      a.on('close', () => b.destroy())
      a.pipe(b)
    }
  }).listen(0, '127.0.0.1')
  await once(front, 'listening')
  t.after(() => front.close())
  const image = await pushed('slow', 300_000)
  source.interceptor = async ({ url = '' }) => {
    if (url.includes('/blobs/')) await delay(3000)
    return false
  }
  const registry = `127.0.0.1:${(front.address() as AddressInfo).port}`
  const events: CopyEvent[] = []
  const from = { registry: source.host, repository: 'a/b', tag: 'v1' }
  await copyImage(
    client,
    from,
    { registry, repository: 'c/d', tag: 'v1' },
    {
      onEvent: (event) => events.push(event),
    },
  )
  assert.deepEqual(
    events.filter(({ type }) => type === 'retry'),
    [],
  )
  assert.equal(target.requests.filter(({ method }) => method === 'DELETE').length, 0)
  assert.equal(target.requests.filter(({ method }) => method === 'POST').length, image.blobs.length)
})
