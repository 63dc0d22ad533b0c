import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { Stop } from '../../../src/image-copy/src/abortable.ts'
import { Dialer } from '../../../src/image-copy/src/http/dial.ts'
import { largestReadBytes } from '../../../src/image-copy/src/http/read-buffer.ts'

test('a socket that is dialled takes a head and the largest piece without asking to wait for room', async () => {
  const server = createServer((peer) => peer.resume()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const dialer = new Dialer({ allowAddress: () => true, connectMs: 10_000 })
  const origin = { scheme: 'http', hostname: '127.0.0.1', port } as const
  const receiver = { room: () => Buffer.alloc(1), onBytes: () => true }
  const purpose = { registry: `127.0.0.1:${port}`, derived: false }
  const socket = await dialer.dial(origin, purpose, receiver, [new Stop()])
  try {
    // Corked, so that what the kernel takes at once does not count.
    socket.cork()
    assert.equal(socket.write('PUT / HTTP/1.1\r\n\r\n'), true)
    assert.equal(socket.write(Buffer.alloc(largestReadBytes)), true)
  } finally {
    socket.destroy()
    server.close()
  }
})
