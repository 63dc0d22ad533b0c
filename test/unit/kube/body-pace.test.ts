import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent } from 'undici'
import { BodyPace } from '../../../src/kube/body-pace.ts'
import { exchange } from '../../../src/kube/exchange.ts'
import { openAuthority } from '../../cluster/pki.ts'
import { seededRandom } from '../../support/random.ts'
import { waitUntil } from '../../support/wait-until.ts'

const long = process.env.KIP_TEST_LONG === '1'
const piece = Buffer.alloc(4096, 'x')
/** A rest that ends only with what is tested. */
const forEver = 1_000_000

/** What the client has of the answer by now. */
interface Taken {
  bytes: number
  rests: number
}

interface Scene {
  readonly answer: (response: ServerResponse, taken: Taken) => Promise<void>
  readonly restMs: () => number
  readonly onChunk?: (chunk: Buffer) => void
  readonly signal?: AbortSignal
}

for (const name of ['plain', 'TLS']) {
  describe(`a body over ${name} that is gathered`, () => {
    let folder: string
    let tls: { ca: string; cert: string; key: string } | undefined
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'body-pace-'))
      if (name === 'plain') return
      const authority = await openAuthority(folder)
      const { certificate, key } = await authority.issue({ commonName: 's', hosts: ['127.0.0.1'] })
      tls = { ca: authority.certificate, cert: certificate, key }
    })
    after(() => rm(folder, { recursive: true, force: true }))

    async function run({ answer, restMs, onChunk, signal }: Scene): Promise<Taken> {
      const taken: Taken = { bytes: 0, rests: 0 }
      let answering: Promise<void> | undefined
      const listen = (_request: unknown, response: ServerResponse): void => {
        answering = answer(response, taken)
      }
      const server = tls ? createTlsServer(tls, listen) : createServer(listen)
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const { port } = server.address() as AddressInfo
      const dispatcher = new Agent({ connect: { ...(tls && { ca: tls.ca }) } })
      try {
        await exchange({
          dispatcher,
          request: {
            origin: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
            ...{ path: '/', method: 'GET' },
          },
          signal: signal ?? new AbortController().signal,
          onHead: () => (chunk) => {
            taken.bytes += chunk.length
            onChunk?.(chunk)
          },
          restMs: () => {
            const ms = restMs()
            if (ms > 0) taken.rests += 1
            return ms
          },
        })
        return taken
      } finally {
        await dispatcher.destroy()
        server.closeAllConnections()
        server.close()
        await answering
      }
    }

    test('never stands still, however it is cut and whenever it pauses', async () => {
      const pieces = long ? 20_000 : 1_000
      const random = seededRandom(name.length)
      const [sent, came] = [createHash('sha256'), createHash('sha256')]
      let sentBytes = 0
      const taken = await run({
        answer: async (response, taken) => {
          for (let number = 0; number < pieces; number += 1) {
            const length = 1 + Math.floor(random() ** 4 * 20_000)
            const bytes = Buffer.alloc(length, String(number))
            sent.update(bytes)
            sentBytes += length
            response.write(bytes)
            const choice = random()
            // In one go with the next, in another turn, in the next rest or its middle, or when all of it was taken.
            if (choice < 0.5) continue
            if (choice < 0.7) await new Promise(setImmediate)
            else if (choice < 0.95) await sleep(random() * 3)
            else await waitUntil('all that was sent', () => taken.bytes === sentBytes)
          }
          response.end()
        },
        restMs: () => Math.floor(random() * 4),
        onChunk: (chunk) => came.update(chunk),
      })
      assert.equal(came.digest('hex'), sent.digest('hex'))
      assert.ok(taken.rests > pieces / 20, `${taken.rests} rests`)
    })

    test('is kept back in a rest but for one chunk, and can be aborted there', async () => {
      const enough = new AbortController()
      let bytes = 0
      const ended = run({
        answer: async (response, taken) => {
          response.write(piece)
          await waitUntil('a rest', () => taken.rests === 1)
          // The piece, or as much of it as came at once.
          const first = taken.bytes
          for (let number = 0; number < 20; number += 1) {
            response.write(piece)
            await sleep(2)
          }
          await waitUntil('one more', () => taken.bytes > first)
          await sleep(20)
          ;({ bytes } = taken)
          enough.abort(new Error('enough'))
        },
        restMs: () => forEver,
        signal: enough.signal,
      })
      await assert.rejects(ended, /enough/)
      assert.ok(bytes <= 2 * piece.length, `${bytes} bytes were taken`)
    })

    test('is whole when its answer ended in a rest', async () => {
      const { bytes } = await run({
        answer: async (response, taken) => {
          response.write(piece)
          await waitUntil('a rest', () => taken.rests > 0)
          response.write(piece)
          response.end(piece)
        },
        restMs: () => 20,
      })
      assert.equal(bytes, 3 * piece.length)
    })

    test('fails when its answer broke off in a rest', async () => {
      const broken = run({
        answer: async (response, taken) => {
          response.write(piece)
          await waitUntil('a rest', () => taken.rests > 0)
          response.write(piece)
          response.destroy()
        },
        restMs: () => 20,
      })
      await assert.rejects(broken, { code: /^(UND_ERR_SOCKET|ECONNRESET)$/ })
    })

    test('fails when what takes it throws in a rest', async () => {
      let chunks = 0
      const failed = run({
        answer: async (response, taken) => {
          response.write(piece)
          await waitUntil('a rest', () => taken.rests > 0)
          response.write(piece)
        },
        restMs: () => forEver,
        onChunk: () => {
          chunks += 1
          if (chunks === 2) throw new Error('no more')
        },
      })
      await assert.rejects(failed, /no more/)
    })
  })
}

describe('what comes as a flood', () => {
  /** What the body was told when one chunk had come, a while after the beginning. */
  async function toldAfter(chunk: Buffer): Promise<readonly string[]> {
    const told: string[] = []
    const controller = {
      ...{ aborted: false, paused: false, reason: null, abort: () => undefined },
      pause: () => void told.push('pause'),
      resume: () => void told.push('resume'),
    }
    const pace = new BodyPace({ onChunk: () => undefined, restMs: () => 1 })
    await sleep(5)
    pace.take(controller, chunk)
    await waitUntil('an end of the turn', () => told.length > 0)
    pace.stop()
    return told.slice(0, 1)
  }

  test('is not gathered, as what trickles is', async () => {
    // More than 10 MB a second, had it taken six seconds to come.
    assert.deepEqual(await toldAfter(Buffer.alloc(64 * 2 ** 20)), ['resume'])
    assert.deepEqual(await toldAfter(Buffer.alloc(1)), ['pause'])
  })
})
