import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { Stop } from '../../../src/image-copy/src/abortable.ts'
import { Dialer } from '../../../src/image-copy/src/http/dial.ts'
import { largestReadBytes } from '../../../src/image-copy/src/http/read-buffer.ts'
import { tlsIdentity } from '../../../src/image-copy/src/http/tls-identity.ts'
import { openAuthority } from '../../cluster/pki.ts'

const receiver = { room: () => Buffer.alloc(1), onBytes: () => true }

test('a socket that is dialled takes a head and the largest piece without asking to wait for room', async () => {
  const server = createServer((peer) => peer.resume()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const dialer = new Dialer({ allowAddress: () => true, connectMs: 10_000 })
  const origin = { scheme: 'http', hostname: '127.0.0.1', port } as const
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

test('a connection under an authority of its own prefers the same cipher as any other', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'dial-'))
  const authority = await openAuthority(folder)
  const { certificate, key } = await authority.issue({ commonName: 'x', hosts: ['localhost'] })
  const options = { cert: certificate, key, honorCipherOrder: false }
  const server = createTlsServer(options, (peer) => peer.resume()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const dialer = new Dialer({ allowAddress: () => true, connectMs: 10_000 })
  const tls = tlsIdentity({ ca: authority.certificate })
  const origin = { scheme: 'https', hostname: 'localhost', port, tls } as const
  const purpose = { registry: `localhost:${port}`, derived: false }
  const socket = await dialer.dial(origin, purpose, receiver, [new Stop()])
  try {
    assert.equal((socket as TLSSocket).getCipher().name, 'TLS_AES_128_GCM_SHA256')
  } finally {
    socket.destroy()
    server.close()
    await rm(folder, { recursive: true })
  }
})

test('an address that accepts is not given up after a quarter of a second, however many there are', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const dialer = new Dialer({
    allowAddress: () => true,
    connectMs: 15_000,
    lookup: (_name, _options, callback) => {
      callback(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '::1', family: 6 },
      ])
      // As a process that is held back does: by when it looks again, its timers are due.
      const until = performance.now() + 300
      while (performance.now() < until);
    },
  })
  const origin = { scheme: 'http', hostname: 'registry.test', port } as const
  const purpose = { registry: `registry.test:${port}`, derived: false }
  const socket = await dialer.dial(origin, purpose, receiver, [new Stop()])
  assert.equal(socket.remoteAddress, '127.0.0.1')
  socket.destroy()
})
