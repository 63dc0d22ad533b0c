import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { Agent } from 'undici'
import { exchange } from '../../../src/kube/exchange.ts'

const piece = Buffer.alloc(4096, 'x')
const pieces = 200
/** Of what is done with a piece. */
const workMs = 1

describe('an exchange', () => {
  test('whose answer comes faster than it is taken lets others have their turn', async () => {
    const server = createServer((_request, response) => {
      for (let number = 0; number < pieces; number += 1) response.write(piece)
      response.end()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const dispatcher = new Agent()
    let bytes = 0
    let inTurn = 0
    let mostInTurn = 0
    const turns = setInterval(() => {
      inTurn = 0
    }, 1)
    try {
      await exchange({
        dispatcher,
        request: {
          origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          path: '/',
          method: 'GET',
        },
        signal: new AbortController().signal,
        onHead: () => (chunk) => {
          bytes += chunk.length
          inTurn += 1
          mostInTurn = Math.max(mostInTurn, inTurn)
          const until = performance.now() + workMs
          while (performance.now() < until);
        },
      })
    } finally {
      clearInterval(turns)
      await dispatcher.destroy()
      server.close()
    }
    assert.equal(bytes, pieces * piece.length, 'every byte came')
    assert.ok(mostInTurn <= 20, `${mostInTurn} pieces in a turn of the event loop`)
  })
})
