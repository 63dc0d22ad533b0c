import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CopyResult,
  copyImage,
  createRegistryClient,
  RegistryError,
} from '../../../src/image-copy/src/index.ts'
import { HostileRegistry } from '../../support/hostile-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const bytes = noise('wire', 300_000)
const image = sampleImage({ layers: [bytes, noise('another', 5000)] })
const layer = image.blobs[1]?.digest ?? ''
const blobPath = new RegExp(`/blobs/${layer}$`)

let source: HostileRegistry
let target: HostileRegistry
beforeEach(async () => {
  source = await HostileRegistry.start()
  target = await HostileRegistry.start()
  await source.registry.client.push(image, 'a/b', 'v1')
})
afterEach(async () => {
  await Promise.all([source.close(), target.close()])
})

async function copy(attempts = 2): Promise<CopyResult> {
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { attempts, baseMs: 1, maxMs: 1 },
    timeouts: { connectMs: 1000, answerMs: 400, stallMs: 200, requestMs: 1000, commitMs: 400 },
  })
  try {
    const from = { registry: source.host, repository: 'a/b', tag: 'v1' }
    return await copyImage(client, from, { registry: target.host, repository: 'c/d', tag: 'v1' })
  } finally {
    await client.close()
  }
}

/** Either the image is there and right, or the error is ours and no tag moved. */
async function requireSound(): Promise<'copied' | string> {
  let outcome = 'copied'
  try {
    await copy()
  } catch (error) {
    assert.ok(error instanceof RegistryError, String(error))
    outcome = error.code
  }
  const held = target.registry.repository('c/d')
  if (outcome === 'copied') {
    assert.equal(held.tags.get('v1'), image.digest)
    assert.ok(held.blobs.get(layer)?.equals(bytes))
  } else assert.equal(held.tags.size, 0, 'the tag was moved')
  assert.ok(held.blobs.get(layer)?.equals(bytes) ?? true)
  assert.equal(target.registry.uploads.size, 0, 'an upload was left open')
  return outcome
}

const ok = 'HTTP/1.1 200 OK\r\n'
const counted = `${ok}Content-Length: ${bytes.length}\r\n\r\n`
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`
const join = (...parts: (string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))
const chunks = (extension = '', trailer = ''): Buffer =>
  join(
    ...[bytes.subarray(0, 7), bytes.subarray(7, 200_000), bytes.subarray(200_000)].flatMap(
      (part) => [`${part.length.toString(16)}${extension}\r\n`, part, '\r\n'],
    ),
    `0\r\n${trailer}\r\n`,
  )

describe('a blob that is downloaded', () => {
  const sound: Readonly<Record<string, Buffer>> = {
    'in chunks with extensions and trailers': join(
      chunked,
      chunks(';name=value;x="y z"', 'X-Sum: 1\r\n'),
    ),
    'after interim answers': join(
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n',
      counted,
      bytes,
    ),
    'with stray bytes behind it': join(counted, bytes, `${ok}Content-Length: 2\r\n\r\n{}`),
  }
  for (const [what, raw] of Object.entries(sound)) {
    test(`${what} arrives`, async () => {
      source.raw(blobPath, raw)
      assert.equal(await requireSound(), 'copied')
    })
  }

  const refused: Readonly<Record<string, readonly [Buffer, string]>> = {
    'with a length and in chunks': [
      join(`${ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`, chunks()),
      'COPY_PROTOCOL',
    ],
    'with two lengths': [
      join(`${ok}Content-Length: ${bytes.length}\r\nContent-Length: 5\r\n\r\n`, bytes),
      'COPY_PROTOCOL',
    ],
    'with a chunk that is longer than it says': [
      join(chunked, '5\r\n', bytes.subarray(0, 900), '\r\n'),
      'COPY_PROTOCOL',
    ],
    'with an endless chunk extension': [
      join(chunked, `5;${'x'.repeat(5000)}\r\n`),
      'COPY_PROTOCOL',
    ],
    'with a byte more in a chunk behind it': [
      join(
        chunked,
        bytes.length.toString(16),
        '\r\n',
        bytes,
        '\r\n',
        '1\r\n',
        'x',
        '\r\n0\r\n\r\n',
      ),
      'COPY_DIGEST_MISMATCH',
    ],
    'after interim answers without end': [
      join('HTTP/1.1 100 Continue\r\n\r\n'.repeat(100), counted, bytes),
      'COPY_PROTOCOL',
    ],
    'in another protocol from the middle on': [
      join(chunked, '10\r\n', bytes.subarray(0, 16), '\r\nSSH-2.0-x\r\n'),
      'COPY_PROTOCOL',
    ],
    'as a part that nobody asked for': [
      join(
        `HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/${bytes.length}\r\n\r\n`,
        bytes.subarray(0, 10),
      ),
      'COPY_PROTOCOL',
    ],
  }
  for (const [what, [raw, code]] of Object.entries(refused)) {
    test(`${what} is refused`, async () => {
      source.raw(blobPath, raw)
      assert.equal(await requireSound(), code)
    })
  }

  test('that is closed early, again and again, is given up', async () => {
    source.play({
      path: blobPath,
      method: 'GET',
      answer: (request) => request.socket.end(join(counted, bytes.subarray(0, 1000))),
    })
    assert.equal(await requireSound(), 'COPY_UNREACHABLE')
  })
})

describe('a blob that is uploaded', () => {
  const isUpload = ({ method, headers }: IncomingMessage) =>
    method === 'PUT' && Number(headers['content-length']) === bytes.length

  test('to a target that says it has it before it was sent is not believed for more than it is', async () => {
    let lies = 0
    target.registry.interceptor = (request, response) => {
      if (!isUpload(request)) return false
      lies += 1
      response.writeHead(201, { 'content-length': 0, location: '/v2/c/d/blobs/x' }).end()
      return true
    }
    // The manifest is refused by a registry that lacks a blob; what was said is forgotten, and tried once more.
    const outcome = await requireUploadsAside()
    assert.ok(lies >= 1)
    assert.equal(outcome, 'COPY_REFUSED')
    assert.equal(target.registry.repository('c/d').tags.size, 0)
  })

  test('is not begun at the target before the source gave any of it', async () => {
    const asked = new Set<string>()
    target.registry.interceptor = (request) => {
      if (isUpload(request)) asked.add('PUT')
      else if (request.method === 'POST') asked.add('POST')
      return false
    }
    source.play({
      path: blobPath,
      method: 'GET',
      answer: async (_, response) => {
        while (!asked.has('POST')) await new Promise((resolve) => setTimeout(resolve, 10))
        await new Promise((resolve) => setTimeout(resolve, 100))
        assert.deepEqual([...asked], ['POST'])
        response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
      },
    })
    assert.equal(await requireSound(), 'copied')
    assert.ok(asked.has('PUT'))
  })

  test('is not mixed with the next request when the answer comes early', async () => {
    target.registry.interceptor = (request, response) => {
      if (!isUpload(request)) return false
      response.writeHead(500, { 'content-length': 0 }).end()
      return true
    }
    await requireUploadsAside()
    // Every request that came is one of ours: no body was read as a head.
    for (const { method, path } of target.registry.requests) {
      assert.match(method, /^(?:GET|HEAD|POST|PUT|PATCH|DELETE)$/)
      assert.match(path, /^\/v2\/c\/d\//)
    }
    assert.equal(target.registry.repository('c/d').tags.size, 0)
  })

  async function requireUploadsAside(): Promise<string> {
    try {
      await copy()
      return 'copied'
    } catch (error) {
      assert.ok(error instanceof RegistryError, String(error))
      return error.code
    }
  }

  test('to a target that never reads is given up', async () => {
    const sockets = new Set<Socket>()
    const deaf = createServer((socket) => {
      sockets.add(socket)
      socket.once('data', (head) => {
        if (/^P(?:UT|ATCH) /.test(String(head))) socket.pause()
        else socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')
      })
      socket.on('error', () => {})
    })
    await new Promise<void>((resolve) => {
      deaf.listen(0, '127.0.0.1', resolve)
    })
    const address = deaf.address()
    const port = typeof address === 'object' ? address?.port : 0
    target.play({
      method: 'POST',
      path: /uploads/,
      answer: (_, response) =>
        response
          .writeHead(202, { location: `http://127.0.0.1:${port}/upload`, 'content-length': 0 })
          .end(),
    })
    try {
      const large = sampleImage({ layers: [noise('deaf', 8_000_000)] })
      await source.registry.client.push(large, 'a/b', 'v1')
      await assert.rejects(copy(), { code: 'COPY_TIMEOUT' })
    } finally {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => deaf.close(resolve))
    }
  })
})
