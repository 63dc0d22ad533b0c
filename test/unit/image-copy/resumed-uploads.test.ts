import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { afterEach, test } from 'node:test'
import {
  type CopyEvent,
  type CopyOptions,
  copyImage,
  createRegistryClient,
  type RegistryClient,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { FakeRegistry, type FakeRegistryOptions, fail } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'
import { waitUntil } from '../../support/wait-until.ts'

const MiB = 1024 * 1024
let source: FakeRegistry
let target: FakeRegistry
let client: RegistryClient

async function start(to: FakeRegistryOptions): Promise<void> {
  source = await FakeRegistry.start()
  target = await FakeRegistry.start(to)
  client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { baseMs: 1, maxMs: 2 },
  })
}

afterEach(async () => {
  await client.close()
  await Promise.all([source.close(), target.close()])
})

async function pushed(name: string, bytes: number): Promise<Image> {
  const image = sampleImage({ layers: [noise(name, bytes)] })
  await source.client.push(image, 'a/b', 'v1')
  return image
}

const copy = (options: CopyOptions = {}): Promise<unknown> =>
  copyImage(
    client,
    { registry: source.host, repository: 'a/b', tag: 'v1' },
    { registry: target.host, repository: 'c/d', tag: 'v1' },
    options,
  )

const isUpload = ({ method, url }: IncomingMessage, what: string): boolean =>
  method === what && /blobs\/uploads\/./.test(url ?? '')

/** Cuts the connection of the first large body of a method, once some bytes of it are there. */
function cutFirst(method: 'PUT' | 'PATCH', after: number): (request: IncomingMessage) => void {
  let cut = false
  return (request) => {
    if (cut || !isUpload(request, method)) return
    if (Number(request.headers['content-length']) <= after) return
    cut = true
    let seen = 0
    // Not before the registry reads: it would miss what came until then.
    setImmediate(() =>
      request.on('data', (part: Buffer) => {
        seen += part.length
        if (seen > after) request.socket.destroy()
      }),
    )
  }
}

const openUpload = () => [...target.uploads.values()].find(({ bytes }) => bytes.length > 1000)

const bodies = (method: 'PUT' | 'PATCH', status: number): number[] =>
  target.requests
    .filter((it) => it.method === method && it.path.includes('/uploads/') && it.status === status)
    .map(({ headers }) => Number(headers['content-length']))

test('an upload that is stopped within its body is freed, though the registry has more than its URL says', async () => {
  await start({ uploadState: 'distribution 3' })
  await pushed('stopped', 8 * MiB)
  const stop = new AbortController()
  target.interceptor = async (request) => {
    // Until the registry has seen the connection go, which keeps what came.
    if (isUpload(request, 'DELETE')) await waitUntil('bytes that stay', openUpload)
    return false
  }
  const onEvent = (event: CopyEvent): void => {
    if (event.type === 'blob-progress' && event.sent > 6 * MiB) stop.abort(new Error('enough'))
  }
  await assert.rejects(copy({ signal: stop.signal, onEvent }), /enough/)
  assert.equal(target.uploads.size, 0)
})

test('an upload goes on though the registry had more of it than it said', async () => {
  await start({ uploadState: 'distribution 3' })
  const image = await pushed('late', 3 * MiB)
  const cut = cutFirst('PUT', MiB)
  let late: Buffer | undefined
  target.interceptor = (request) => {
    cut(request)
    const upload = openUpload()
    if (upload === undefined) return false
    if (isUpload(request, 'GET') && late === undefined) {
      late = upload.bytes
      upload.bytes = late.subarray(0, 500_000)
    } else if (isUpload(request, 'PUT') && late !== undefined && upload.bytes.length === 500_000)
      upload.bytes = late
    return false
  }
  await copy()
  assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
  assert.equal(target.uploads.size, 0)
  assert.equal(bodies('PUT', 201).at(-1), 3 * MiB - (late?.length ?? 0))
  assert.deepEqual(bodies('PATCH', 202), [])
})

test('an upload whose body broke begins anew where the registry goes on with none', async () => {
  await start({ uploadState: 'distribution 2.8' })
  const image = await pushed('anew', 3 * MiB)
  const cut = cutFirst('PUT', MiB)
  target.interceptor = (request) => {
    cut(request)
    return false
  }
  await copy()
  assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
  assert.equal(bodies('PUT', 201).at(-1), 3 * MiB)
  assert.deepEqual(bodies('PATCH', 202), [])
})

test('an upload begins anew where the registry takes no more at the place that it names', async () => {
  await start({})
  const image = await pushed('nowhere', 3 * MiB)
  const cut = cutFirst('PUT', MiB)
  target.interceptor = (request, response) => {
    cut(request)
    if (request.headers['content-range'] === undefined) return false
    request.resume()
    fail(response, 416, 'RANGE_INVALID')
    return true
  }
  await copy()
  assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
  assert.equal(target.uploads.size, 0)
})

test('one connection that breaks after bodies were refused makes the pieces no smaller', async () => {
  await start({ maxBody: 1.5 * MiB })
  await pushed('pieces', 5 * MiB)
  const cut = cutFirst('PATCH', 100_000)
  target.interceptor = (request) => {
    if (Number(request.headers['content-length']) <= MiB) cut(request)
    return false
  }
  await copy()
  assert.deepEqual(bodies('PATCH', 202).slice(0, 4), [MiB, MiB, MiB, MiB])
})

test('a host whose connections break under bodies of 100 kB is given smaller ones yet', async () => {
  await start({})
  const image = await pushed('smallest', 300_000)
  target.interceptor = (request) => {
    const breaks = Number(request.headers['content-length']) > 100_000
    if (breaks) request.socket.destroy()
    return breaks
  }
  await copy()
  assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
  assert.deepEqual(bodies('PATCH', 202).slice(0, 4), [65_536, 65_536, 65_536, 65_536])
})
