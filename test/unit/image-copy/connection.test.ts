import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Stop } from '../../../src/image-copy/src/abortable.ts'
import { Connection } from '../../../src/image-copy/src/http/connection.ts'
import type { BodySink, Exchange } from '../../../src/image-copy/src/http/exchange.ts'
import { ExchangeWatch } from '../../../src/image-copy/src/http/exchange-watch.ts'
import { ReadBuffer } from '../../../src/image-copy/src/http/read-buffer.ts'
import { ReadStops } from '../../../src/image-copy/src/http/read-stops.ts'

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
  const buffer = new ReadBuffer('http')
  const parts = { buffer, watch: new ExchangeWatch(), stops: new ReadStops() }
  connection = new Connection({ ...parts, onIdle: () => {} })
  socket = connect({
    host: '127.0.0.1',
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    onread: {
      buffer: buffer.current,
      callback: (length, bytes) => {
        const goOn = connection.onBytes(length, bytes as Buffer)
        if (!goOn) stops += 1
        return goOn
      },
    },
  })
  const [[accepted]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')])
  peer = accepted as Socket
  connection.attach({ socket, stable: true })
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
    connection.onBytes(7, Buffer.from('over it'))
    assert.match(String(connection.closed), /nobody had asked for/)
    await assert.rejects(exchange.whole(), /nobody had asked for/)
  })
})

function get(sink: BodySink): Exchange {
  const head = { method: 'GET', text: 'GET / HTTP/1.1\r\n\r\n', bodyBytes: 0 }
  const options = { limits, signal: new Stop(), expect: [200], sink: () => sink }
  return connection.start(head, undefined, options)
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
