import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { Stop } from '../../../src/image-copy/src/abortable.ts'
import { Connection } from '../../../src/image-copy/src/http/connection.ts'
import { ExchangeWatch } from '../../../src/image-copy/src/http/exchange-watch.ts'
import { ReadBuffer } from '../../../src/image-copy/src/http/read-buffer.ts'

const limits = { answerMs: 60_000, stallMs: 60_000 }
const server = createServer({ pauseOnConnect: true })
let connection: Connection
let socket: Socket
let peer: Socket

beforeEach(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const buffer = new ReadBuffer('http')
  connection = new Connection({ buffer, watch: new ExchangeWatch(), onIdle: () => {} })
  socket = connect({
    host: '127.0.0.1',
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    onread: {
      buffer: buffer.current,
      callback: (length, bytes) => connection.onBytes(bytes as Buffer, length),
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
})
