import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
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

  describe('that may rest', () => {
    test('gathers what comes piece by piece', async () => {
      const { turns, bytes } = await restingExchange(async (response) => {
        for (let number = 0; number < 100; number += 1) {
          response.write(piece)
          await sleep(4)
        }
        response.end()
      })
      assert.equal(bytes, 100 * piece.length, 'every byte came')
      assert.ok(turns <= 25, `100 pieces were taken in ${turns} turns`)
    })

    test('is over when its answer ended in a rest', async () => {
      const { bytes } = await restingExchange(async (response) => {
        response.write(piece)
        await sleep(20)
        response.write(piece)
        response.end(piece)
      })
      assert.equal(bytes, 3 * piece.length, 'every byte came')
    })

    test('fails when its answer broke off in a rest', async () => {
      const broken = restingExchange(async (response) => {
        response.write(piece)
        await sleep(20)
        response.write(piece)
        response.destroy()
      })
      await assert.rejects(broken, { code: /^(UND_ERR_SOCKET|ECONNRESET)$/ })
    })

    test('can be aborted in a rest', async () => {
      const abort = new AbortController()
      const aborted = restingExchange(async (response) => {
        response.write(piece)
        await sleep(20)
        abort.abort(new Error('enough'))
      }, abort.signal)
      await assert.rejects(aborted, /enough/)
    })
  })
})

/** What came of an answer, and in how many turns of the event loop. */
async function restingExchange(
  answer: (response: ServerResponse) => Promise<void>,
  signal: AbortSignal = new AbortController().signal,
): Promise<{ readonly bytes: number; readonly turns: number }> {
  const server = createServer((_request, response) => void answer(response))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const dispatcher = new Agent()
  let bytes = 0
  let turns = 0
  let isInTurn = false
  try {
    await exchange({
      dispatcher,
      request: { origin: `http://127.0.0.1:${port}`, path: '/', method: 'GET' },
      signal,
      mayRest: () => true,
      onHead: () => (chunk) => {
        bytes += chunk.length
        if (isInTurn) return
        isInTurn = true
        turns += 1
        setImmediate(() => {
          isInTurn = false
        })
      },
    })
    return { bytes, turns }
  } finally {
    await dispatcher.destroy()
    server.closeAllConnections()
    server.close()
  }
}
