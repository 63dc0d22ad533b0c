import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Stop } from '../../../src/image-copy/src/abortable.ts'
import { Connection } from '../../../src/image-copy/src/http/connection.ts'
import type { BodySink, Exchange } from '../../../src/image-copy/src/http/exchange.ts'
import { ExchangeWatch } from '../../../src/image-copy/src/http/exchange-watch.ts'
import { ReadBuffer } from '../../../src/image-copy/src/http/read-buffer.ts'
import { ReadStops } from '../../../src/image-copy/src/http/read-stops.ts'
import { seededRandom } from '../../support/random.ts'

const limits = { answerMs: 60_000, stallMs: 60_000 }
const server = createServer({ pauseOnConnect: true })
let connection: Connection
let socket: Socket
let peer: Socket
/** How often the socket was told at once to stop reading. */
let stops: number

beforeEach(async () => {
  stops = 0
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const buffer = new ReadBuffer(false)
  const parts = { buffer, watch: new ExchangeWatch(), stops: new ReadStops() }
  connection = new Connection({ ...parts, onIdle: () => {} })
  socket = connect({
    host: '127.0.0.1',
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    onread: {
      buffer: buffer.room,
      callback: (length) => {
        const goOn = connection.onBytes(length)
        if (!goOn) stops += 1
        return goOn
      },
    },
  })
  const [[accepted]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')])
  peer = accepted as Socket
  connection.attach(socket)
})
afterEach(async () => {
  connection.destroy()
  peer.destroy()
  server.close()
  await once(server, 'close')
})

function put(bodyBytes: number) {
  const text = `PUT / HTTP/1.1\r\nContent-Length: ${bodyBytes}\r\n\r\n`
  const head = { method: 'PUT', text, bodyBytes }
  return connection.start(head, undefined, { limits, signal: new Stop(), expect: [201] })
}

describe('a connection', () => {
  test('tells when small pieces that the kernel did not take at once are on their way', async () => {
    const piece = Buffer.alloc(32 * 1024, 'x')
    const pieces = 1000
    const exchange = put(pieces * piece.length)
    let waits = 0
    let received = 0
    peer.on('data', (bytes: Buffer) => {
      received += bytes.length
    })
    peer.pause()
    for (let sent = 0; sent < pieces; sent += 1) {
      const flushed = Promise.withResolvers<void>()
      const taken = exchange.write(piece, flushed.resolve)
      if (taken) continue
      waits += 1
      assert.equal(exchange.requestSent, false)
      peer.resume()
      await flushed.promise
      peer.pause()
    }
    assert.ok(waits > 0)
    assert.equal(exchange.requestSent, true)
    peer.resume()
    while (received < pieces * piece.length) await once(peer, 'data')
    peer.write('HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n')
    assert.equal((await exchange.answer()).status, 201)
  })

  test('sends a head that waits for its body with the first bytes of it', async () => {
    const exchange = put(5)
    assert.equal(socket.bytesWritten, 0)
    assert.equal(exchange.write(Buffer.from('hello')), true)
    peer.resume()
    const [bytes] = await once(peer, 'data')
    assert.equal(String(bytes), 'PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello')
  })

  test('tells when an answer has ended that is kept, and one that is not', async () => {
    const exchange = put(1)
    exchange.write(Buffer.from('x'))
    const [whole, answer] = [exchange.whole(), exchange.answer()]
    peer.write('HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nkept')
    await whole
    assert.equal(String((await answer).body), 'kept')
    const sunk: Buffer[] = []
    const next = get((bytes) => sunk.push(Buffer.from(bytes)) > 0)
    peer.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsunk')
    await next.whole()
    assert.equal(String(Buffer.concat(sunk)), 'sunk')
    assert.equal((await next.answer()).body.length, 0)
  })

  for (const resets of [false, true])
    test(`takes a body that ends with the connection for ${resets ? 'broken after a reset' : 'whole after an end'}`, async () => {
      const first = Promise.withResolvers<void>()
      const exchange = get(() => {
        first.resolve()
        return true
      })
      const whole = exchange.whole()
      peer.write('HTTP/1.1 200 OK\r\n\r\nhalf')
      await first.promise
      if (resets) peer.resetAndDestroy()
      else peer.end()
      if (resets) await assert.rejects(whole, /broke inside the answer/)
      else await whole
    })

  test('reads nothing over what a sink was lent that takes no more', async () => {
    const { exchange, lent } = await getStopped()
    peer.write('y'.repeat(50))
    // Longer than the turn at whose end reading stops.
    await sleep(50)
    assert.deepEqual(lent.map(String), ['x'.repeat(50)])
    exchange.resume()
    while (lent.length < 2) await sleep(1)
    assert.deepEqual(lent.map(String), ['y'.repeat(50), 'y'.repeat(50)])
    assert.equal(connection.closed, undefined)
  })

  test('reads on without a stop where the sink takes more within the turn', async () => {
    let received = 0
    const exchange = get((bytes) => {
      received += bytes.length
      queueMicrotask(() => exchange.resume())
      return false
    })
    peer.write(`HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n${'x'.repeat(50)}`)
    await exchange.answer()
    socket.pause = () => {
      stops += 1
      return socket
    }
    peer.write('y'.repeat(50))
    await exchange.whole()
    await sleep(1)
    assert.deepEqual({ received, stops }, { received: 100, stops: 0 })
  })

  test('is given up when it was read over what a sink was lent', async () => {
    const { exchange } = await getStopped()
    connection.onBytes(7)
    assert.match(String(connection.closed), /nobody had asked for/)
    await assert.rejects(exchange.whole(), /nobody had asked for/)
  })
})

/** As {@link connection}, for a socket whose reads are small and may come after it was stopped. */
describe('a connection that gathers', () => {
  const pattern = (bytes: number) =>
    Buffer.from(Array.from({ length: bytes }, (_, n) => (n * 7) % 251))
  let feed: (bytes: Uint8Array) => boolean
  let gathering: Connection

  beforeEach(() => {
    const buffer = new ReadBuffer(true)
    const parts = { buffer, watch: new ExchangeWatch(), stops: new ReadStops() }
    gathering = new Connection({ ...parts, onIdle: () => {} })
    gathering.attach(socket)
    // As the platform does: it asks where the next read goes right after each.
    let room = buffer.room()
    feed = (bytes) => {
      let goOn = true
      for (let from = 0; from < bytes.length; ) {
        const length = Math.min(room.length, bytes.length - from)
        room.set(bytes.subarray(from, from + length))
        from += length
        goOn = gathering.onBytes(length)
        room = buffer.room()
      }
      return goOn
    }
  })

  afterEach(() => gathering.destroy())

  function feedSmall(bytes: Buffer): boolean {
    let goOn = true
    for (let from = 0; from < bytes.length && goOn; from += 1000)
      goOn = feed(bytes.subarray(from, from + 1000))
    return goOn
  }

  const head = (bytes: number) => Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`)

  test('makes few pieces of many small reads', async () => {
    const pieces: Buffer[] = []
    const exchange = get((bytes) => pieces.push(Buffer.from(bytes)) > 0, gathering)
    const body = pattern(300_000)
    feed(head(body.length))
    feedSmall(body)
    await exchange.whole()
    assert.ok(Buffer.concat(pieces).equals(body))
    assert.equal(pieces.length, 3)
    assert.equal(gathering.closed, undefined)
  })

  test('gives chunks to their end, and does not wait for more', async () => {
    const pieces: string[] = []
    const exchange = get((bytes) => pieces.push(String(bytes)) > 0, gathering)
    feed(Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'))
    feed(Buffer.from('5\r\nhe'))
    feed(Buffer.from('llo\r\n'))
    assert.equal(pieces.join(''), 'hello')
    feed(Buffer.from('0\r\n\r\n'))
    await exchange.whole()
  })

  test('keeps an answer in chunks of one byte in hardly more memory than it has bytes', async () => {
    const chunks = 1000
    const rounds = 500
    const exchange = keep(chunks * rounds, gathering)
    feed(Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'))
    const piece = Buffer.from('1\r\nx\r\n'.repeat(chunks))
    const before = memoryUsed()
    for (let round = 0; round < rounds; round += 1) feed(piece)
    assert.ok(memoryUsed() - before < 5 * chunks * rounds)
    feed(Buffer.from('0\r\n\r\n'))
    const { body } = await exchange.answer()
    assert.ok(body.equals(Buffer.alloc(chunks * rounds, 'x')))
  })

  test('keeps an answer byte for byte, however its chunks fall, announced or not', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const random = seededRandom(seed)
      const upTo = (most: number) => 1 + Math.floor(random() * most)
      const body = pattern(upTo(200_000))
      const exchange = keep(200_000, gathering)
      const counted = Buffer.concat([head(body.length), body])
      feed(seed % 2 === 1 ? inChunks(body, upTo) : counted)
      assert.ok((await exchange.answer()).body.equals(body), `seed ${seed}`)
    }
  })

  test('reads on while its sink takes no more, until it has enough', async () => {
    let pieces = 0
    get(() => {
      pieces += 1
      return false
    }, gathering)
    feed(head(1_000_000))
    feed(pattern(200_000).subarray(0, 131_072))
    assert.equal(pieces, 1)
    assert.equal(feed(pattern(50_000)), true)
    assert.equal(feed(pattern(50_000)), false)
    assert.equal(pieces, 1)
  })

  test('gives every byte once and lets what it lent alone, however reads and stops fall', async () => {
    const blocks = new Set<ArrayBufferLike>()
    for (let seed = 0; seed < 20; seed += 1) {
      const random = seededRandom(seed)
      const upTo = (most: number) => 1 + Math.floor(random() * most)
      const body = pattern(400_000 + upTo(400_000))
      const taken: Buffer[] = []
      let lent: Buffer | undefined
      const exchange = get((bytes) => {
        assert.equal(lent, undefined)
        taken.push(Buffer.from(bytes))
        if (random() < 0.3) return true
        lent = bytes
        blocks.add(bytes.buffer)
        return false
      }, gathering)
      const answer =
        seed % 2 === 1 ? inChunks(body, upTo) : Buffer.concat([head(body.length), body])
      /** Bytes that came although reading was stopped: only those that were on their way. */
      let late: number | undefined
      socket.resume = () => {
        late = undefined
        return socket
      }
      const goOn = () => {
        assert.ok(lent === undefined || taken.at(-1)?.equals(lent))
        lent = undefined
        exchange.resume()
      }
      for (let from = 0; from < answer.length; ) {
        const most = Math.min(random() < 0.7 ? 16 * 1024 : 99, 64 * 1024 - (late ?? 0))
        if (most === 0 || random() < 0.2) {
          goOn()
          continue
        }
        const bytes = answer.subarray(from, from + upTo(most))
        from += bytes.length
        const flows = feed(bytes)
        if (late !== undefined) late += bytes.length
        else if (!flows) late = 0
      }
      while (lent !== undefined) goOn()
      await exchange.whole()
      assert.ok(Buffer.concat(taken).equals(body), `seed ${seed}`)
      assert.equal(gathering.closed, undefined)
    }
    // The first, and two that go round since a body was announced.
    assert.ok(blocks.size <= 3, `${blocks.size} blocks`)
  })

  test('gives what came before its end', async () => {
    const pieces: Buffer[] = []
    const exchange = get((bytes) => pieces.push(Buffer.from(bytes)) > 0, gathering)
    feed(head(100_000))
    feedSmall(pattern(50_000))
    assert.equal(bytesOf(pieces), 0)
    peer.destroy()
    await assert.rejects(exchange.whole(), /broke inside the answer/)
    assert.ok(Buffer.concat(pieces).equals(pattern(50_000)))
  })

  test('gives what came before its end once its sink goes on', async () => {
    const pieces: Buffer[] = []
    const exchange = get((bytes) => {
      pieces.push(Buffer.from(bytes))
      return pieces.length > 1
    }, gathering)
    feed(head(300_000))
    feedSmall(pattern(150_000))
    peer.destroy()
    await new Promise((resolve) => socket.once('close', resolve))
    assert.equal(pieces.length, 1)
    exchange.resume()
    await assert.rejects(exchange.whole(), /broke inside the answer/)
    assert.ok(Buffer.concat(pieces).equals(pattern(150_000)))
  })

  test('that is reset while its sink takes no more does not take the body for whole', async () => {
    const exchange = get(() => false, gathering)
    feed(Buffer.from('HTTP/1.1 200 OK\r\n\r\nhalf'))
    peer.resetAndDestroy()
    await new Promise((resolve) => socket.once('close', resolve))
    exchange.resume()
    await assert.rejects(exchange.whole(), /broke inside the answer/)
  })

  test('is not used again when bytes came behind the answer while its sink took no more', async () => {
    const exchange = get(() => false, gathering)
    feed(Buffer.concat([head(10), Buffer.from('0123456789')]))
    feed(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'))
    exchange.resume()
    await exchange.whole()
    assert.match(String(gathering.closed), /not reusable/)
  })

  test('is given up when more comes after a stop than is ever on its way', async () => {
    const exchange = get(() => false, gathering)
    feed(head(10_000_000))
    for (let n = 0; n < 1000 && gathering.closed === undefined; n += 1) feed(pattern(16 * 1024))
    assert.match(String(gathering.closed), /nobody had asked for/)
    await assert.rejects(exchange.whole(), /nobody had asked for/)
  })
})

function inChunks(body: Buffer, upTo: (most: number) => number): Buffer {
  const parts = [Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')]
  for (let from = 0; from < body.length; ) {
    const chunk = Buffer.from(body.subarray(from, from + upTo(70_000)))
    from += chunk.length
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'))
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}

function bytesOf(buffers: readonly Buffer[]): number {
  return buffers.reduce((bytes, buffer) => bytes + buffer.length, 0)
}

function get(sink: BodySink, on = connection): Exchange {
  const head = { method: 'GET', text: 'GET / HTTP/1.1\r\n\r\n', bodyBytes: 0 }
  const options = { limits, signal: new Stop(), expect: [200], sink: () => sink }
  return on.start(head, undefined, options)
}

/** Asks for an answer that is not given to a sink. */
function keep(maxBytes: number, on: Connection): Exchange {
  const head = { method: 'GET', text: 'GET / HTTP/1.1\r\n\r\n', bodyBytes: 0 }
  const options = { limits, signal: new Stop(), expect: [200], maxBytes }
  return on.start(head, undefined, options)
}

/** In bytes, after a full collection. */
function memoryUsed(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Half of an answer has come, and its sink takes no more; `lent` stays as the sink got it, views of the read buffer. */
async function getStopped() {
  const lent: Buffer[] = []
  const exchange = get((bytes) => {
    lent.push(bytes)
    return false
  })
  peer.write(`HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n`)
  await exchange.answer()
  peer.write('x'.repeat(50))
  while (lent.length === 0) await sleep(1)
  return { exchange, lent }
}
