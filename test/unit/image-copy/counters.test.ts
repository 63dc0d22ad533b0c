/** What a client says that it did is held against what the registries saw. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CopyOptions,
  type Counters,
  copyImage,
  copyImages,
  createRegistryClient,
  type HostCounters,
  otherHosts,
  planCopy,
  type RegistryClient,
  type RegistryClientOptions,
  resolveDigest,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { FakeRegistry, type FakeRegistryOptions, fail } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const MiB = 1024 * 1024
const users = { somebody: 'secret' }
let source: FakeRegistry
let target: FakeRegistry
let client: RegistryClient

async function start(
  from: FakeRegistryOptions = {},
  options: RegistryClientOptions = {},
): Promise<void> {
  source = await FakeRegistry.start(from)
  target = await FakeRegistry.start()
  client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { baseMs: 1, maxMs: 2 },
    ...options,
  })
}
async function stop(): Promise<void> {
  await client.close()
  await Promise.all([source.close(), target.close()])
}
const anew = async (...how: Parameters<typeof start>): Promise<void> => {
  await stop()
  await start(...how)
}
beforeEach(() => start())
afterEach(stop)

const from = () => ({ registry: source.host, repository: 'a/b', tag: 'v1' })
const to = (repository = 'c/d') => ({ registry: target.host, repository, tag: 'v1' })
const copy = (repository?: string, options: CopyOptions = {}) =>
  copyImage(client, from(), to(repository), options)

/** Pushes an image; what that took is not in the registry's log. */
async function pushed(bytes: number, layers = 1): Promise<Image> {
  const image = sampleImage({
    layers: Array.from({ length: layers }, (_, i) => noise(`counters ${i}`, bytes)),
  })
  await source.client.push(image, 'a/b', 'v1')
  source.takeLog()
  source.connections = 0
  return image
}

function at({ host }: FakeRegistry, counters: Counters = client.counters()): HostCounters {
  const found = counters.hosts.find((it) => it.host === host)
  assert.ok(found, `nothing was counted for ${host}`)
  return found
}

type Requests = Record<string, Record<string, number>>

/** What of the counted requests is not 0. */
function requestsOf(counters: HostCounters): Requests {
  return Object.fromEntries(
    Object.entries(counters.requests)
      .map(([kind, answers]) => [kind, Object.entries(answers).filter(([, n]) => n > 0)] as const)
      .filter(([, answers]) => answers.length > 0)
      .map(([kind, answers]) => [kind, Object.fromEntries(answers)]),
  )
}

/** The same, as a registry saw it. */
function seenBy(registry: FakeRegistry): Requests {
  const seen: Requests = {}
  for (const { method, path, status } of registry.requests) {
    const way = method === 'GET' || method === 'HEAD' ? 'read' : 'write'
    const kind = path.startsWith('/token') ? 'token' : way
    const answers = seen[kind] ?? {}
    seen[kind] = answers
    const answer = status === 429 ? '429' : `${Math.floor(status / 100)}xx`
    answers[answer] = (answers[answer] ?? 0) + 1
  }
  return seen
}

const bytesOf = ({ bytes, blobs }: Image): number =>
  bytes.length + blobs.reduce((sum, { size }) => sum + size, 0)

describe('what is counted of one registry', () => {
  test('is each request by kind and class of answer, each connection, and the bytes of bodies', async () => {
    const image = await pushed(2 * MiB, 3)
    await copy()
    assert.deepEqual(requestsOf(at(source)), seenBy(source))
    assert.deepEqual(requestsOf(at(target)), seenBy(target))
    assert.equal(at(source).receivedBytes, bytesOf(image))
    assert.equal(at(source).sentBytes, 0)
    assert.equal(at(target).sentBytes, bytesOf(image))
    assert.equal(at(source).connections, source.connections)
    assert.equal(at(target).connections, target.connections)
    const { retries, throttledWaits, failedConnections } = at(target)
    assert.deepEqual({ retries, throttledWaits, failedConnections }, zeros)
  })

  const zeros = { retries: 0, throttledWaits: 0, failedConnections: 0 }

  test('is each token too, and each challenge before it', async () => {
    await anew(
      { auth: { kind: 'bearer', users } },
      { credentials: async () => [{ username: 'somebody', password: 'secret' }] },
    )
    await pushed(1000)
    await copy()
    const counted = requestsOf(at(source))
    assert.deepEqual(counted, seenBy(source))
    assert.ok((counted.token?.['2xx'] ?? 0) > 0)
    assert.ok((counted.read?.['4xx'] ?? 0) > 0)
  })

  test('is what it led elsewhere, which has no host of its own', async () => {
    const storage = await FakeRegistry.start()
    try {
      await pushed(1000)
      storage.repositories.set('a/b', source.repository('a/b'))
      source.interceptor = ({ url = '' }, response) => {
        if (!url.includes('/blobs/')) return false
        response.writeHead(307, { location: `${storage.url}${url}`, 'content-length': 0 }).end()
        return true
      }
      await copy()
      const { hosts } = client.counters()
      assert.deepEqual(new Set(hosts.map(({ host }) => host)), new Set([source.host, target.host]))
      const { read } = at(source).requests
      assert.equal(read['3xx'], 2)
      assert.equal(read['2xx'], source.requests.length - 2 + storage.requests.length)
    } finally {
      await storage.close()
    }
  })

  test('is how often it wanted patience, and how long it was waited for', async () => {
    await pushed(1000)
    let refusals = 0
    source.interceptor = ({ url = '' }, response) => {
      if (!url.includes('/manifests/') || refusals > 0) return false
      refusals += 1
      fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': '1' })
      return true
    }
    await copy()
    const counted = at(source)
    assert.equal(counted.requests.read['429'], 1)
    assert.equal(counted.requests.read['4xx'], 0)
    assert.equal(counted.retries, 1)
    assert.ok(counted.throttledWaits > 0)
    assert.ok(counted.throttledMs > 0)
    assert.equal(at(target).throttledWaits, 0)
  })

  test('is a failure that passes without a word of patience as a retry alone', async () => {
    await pushed(1000)
    let failures = 0
    source.interceptor = ({ url = '' }, response) => {
      if (!url.includes('/manifests/') || failures > 0) return false
      failures += 1
      fail(response, 500, 'UNKNOWN')
      return true
    }
    await copy()
    const { requests, retries, throttledWaits } = at(source)
    assert.equal(requests.read['5xx'], 1)
    assert.deepEqual({ retries, throttledWaits }, { retries: 1, throttledWaits: 0 })
  })

  test('is a request whose connection broke as one without an answer, and a download that went on', async () => {
    const image = await pushed(4 * MiB)
    const { digest = '', size } = image.blobs[1] ?? {}
    const bytes = source.repository('a/b').blobs.get(digest)
    let broken = 0
    source.interceptor = ({ url = '' }, response) => {
      if (!url.endsWith(`/blobs/${digest}`) || broken > 1) return false
      broken += 1
      if (broken === 1) {
        response.socket?.destroy()
        return true
      }
      response.writeHead(200, { 'content-length': size })
      response.write(bytes?.subarray(0, 3 * MiB), () => response.socket?.destroy())
      return true
    }
    await copy()
    assert.equal(at(source).requests.read.none, 1)
    assert.equal(at(source).resumedDownloads, 1)
    assert.equal(at(target).resumedUploads, 0)
    assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
  })

  test('is an upload that went on where the registry said it was', async () => {
    await pushed(8 * MiB)
    let cut = false
    target.interceptor = (request) => {
      const { method, url = '', headers } = request
      if (cut || method !== 'PUT' || !/uploads\/./.test(url)) return false
      if (Number(headers['content-length']) < MiB) return false
      cut = true
      let seen = 0
      // Not before the registry reads: it would miss what came until then.
      setImmediate(() =>
        request.on('data', (part: Buffer) => {
          seen += part.length
          if (seen > 4 * MiB) request.socket.destroy()
        }),
      )
      return false
    }
    await copy()
    assert.equal(at(target).resumedUploads, 1)
    assert.ok(at(target).retries > 0)
  })

  test('is a connection that could not be opened', async () => {
    await pushed(1000)
    const gone = source.host
    await source.close()
    client = createRegistryClient({ hosts: () => ({ http: true }), retry: { attempts: 1 } })
    await assert.rejects(resolveDigest(client, { registry: gone, repository: 'a/b', tag: 'v1' }))
    const { hosts } = client.counters()
    assert.equal(hosts[0]?.failedConnections, 1)
    assert.equal(hosts[0]?.connections, 0)
  })

  test('is the pulls left that it last told of', async () => {
    await pushed(1000)
    source.interceptor = (_request, response) => {
      response.setHeader('ratelimit-limit', '100;w=21600')
      response.setHeader('ratelimit-remaining', '76;w=21600')
      return false
    }
    await copy()
    assert.deepEqual(at(source).rateLimit, { limit: 100, remaining: 76, windowSeconds: 21600 })
    assert.equal(at(target).rateLimit, undefined)
  })
})

describe('what is counted of a client', () => {
  test('is each blob by how it came into the target, and each image that is complete', async () => {
    const image = await pushed(1000)
    const size = image.blobs.reduce((sum, blob) => sum + blob.size, 0)
    await copy()
    await copy('e/f')
    target.repository('c/d').tags.clear()
    target.repository('c/d').manifests.clear()
    await copy('c/d')
    const { blobs, images } = client.counters()
    assert.deepEqual(blobs.copied, { count: 2, bytes: size })
    assert.deepEqual(blobs.mounted, { count: 2, bytes: size })
    assert.deepEqual(blobs.present, { count: 2, bytes: size })
    assert.deepEqual(blobs.skipped, { count: 0, bytes: 0 })
    assert.deepEqual(images, { done: 3, failed: 0, stopped: 0 })
  })

  test('is an image that failed apart from one that was stopped', async () => {
    await pushed(1000)
    await copyImages(client, [
      { source: from(), target: to() },
      { source: { ...from(), tag: 'absent' }, target: to('e/f') },
    ])
    await assert.rejects(copy('g/h', { signal: AbortSignal.abort(new Error('enough')) }), /enough/)
    assert.deepEqual(client.counters().images, { done: 1, failed: 1, stopped: 1 })
  })

  test('is no blob and no image of a plan', async () => {
    await pushed(1000)
    await planCopy(client, from(), to())
    const { blobs, images } = client.counters()
    assert.equal(blobs.copied.count, 0)
    assert.deepEqual(images, { done: 0, failed: 0, stopped: 0 })
    assert.ok(at(source).requests.read['2xx'] > 0)
  })

  test('does not change once it was told', async () => {
    await pushed(1000)
    await copy()
    const before = client.counters()
    const text = JSON.stringify(before)
    await copy('e/f')
    assert.equal(JSON.stringify(before), text)
    assert.notEqual(JSON.stringify(client.counters()), text)
  })

  test('has so many hosts and no more, the later ones together', async () => {
    await client.close()
    client = createRegistryClient({
      retry: { attempts: 1 },
      lookup: (_name, _options, callback) =>
        callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), ''),
    })
    const names = Array.from({ length: 130 }, (_, i) => `r${i}.test`)
    for (const registry of names)
      await assert.rejects(resolveDigest(client, { registry, repository: 'a/b', tag: 'v1' }))
    const { hosts } = client.counters()
    assert.deepEqual(
      hosts.map(({ host }) => host),
      [...names.slice(0, 100), otherHosts],
    )
    assert.equal(hosts.at(-1)?.failedConnections, 30)
    assert.equal(hosts[99]?.failedConnections, 1)
  })
})
