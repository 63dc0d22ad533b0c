import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Exchange } from '../../../src/image-copy/src/http/exchange.ts'
import { ExchangeWatch } from '../../../src/image-copy/src/http/exchange-watch.ts'

/** Looked at every 10 ms. */
const limits = { answerMs: 20, stallMs: 60_000 }

function exchange(look: () => void): Exchange {
  return { look } as unknown as Exchange
}

test('every exchange is looked at each time until it ends, though another ends meanwhile, or twice', async () => {
  const watch = new ExchangeWatch()
  const seen: string[] = []
  const ended = exchange(() => {
    watch.delete(ended)
    watch.delete(ended)
    seen.push('ended')
    queueMicrotask(() => seen.push('all were looked at'))
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  const slow = exchange(() => {
    seen.push('slow')
    if (seen.length < 4) return
    watch.delete(slow)
    resolve()
  })
  watch.add(ended, limits)
  watch.add(slow, limits)
  await promise
  assert.deepEqual(seen, ['ended', 'slow', 'all were looked at', 'slow'])
})

test('an exchange that is under way keeps the process alive, and one that has ended does not', () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  const watch = new ExchangeWatch()
  const one = exchange(() => {})
  for (const round of ['first', 'second']) {
    watch.add(one, limits)
    assert.equal(timers(), before + 1, round)
    watch.delete(one)
    assert.equal(timers(), before, round)
  }
})
