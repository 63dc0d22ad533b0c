import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { offAbort, onAbort } from '../../../src/image-copy/src/abortable.ts'

describe('what waits for a signal', () => {
  test('is called in order, and not when an earlier one took it back', () => {
    const stop = new AbortController()
    const called: string[] = []
    const second = (): void => void called.push('second')
    const third = (): void => void called.push('third')
    onAbort(stop.signal, () => {
      called.push('first')
      offAbort(stop.signal, second)
    })
    onAbort(stop.signal, second)
    onAbort(stop.signal, third)
    stop.abort()
    assert.deepEqual(called, ['first', 'third'])
  })

  test('is called though another was taken back twice', () => {
    const stop = new AbortController()
    let called = 0
    const other = (): void => {}
    onAbort(stop.signal, () => {
      called += 1
    })
    onAbort(stop.signal, other)
    offAbort(stop.signal, other)
    offAbort(stop.signal, other)
    stop.abort()
    assert.equal(called, 1)
  })

  test('is not kept by a signal that outlives it, however many came since the last full collection', () => {
    setFlagsFromString('--expose-gc')
    const collect: (options?: { type: 'minor' }) => void = runInNewContext('gc')
    const { signal } = new AbortController()
    const heapAfter = (callbacks: number): number => {
      for (let count = 0; count < callbacks; count += 1) {
        const held = Array.from({ length: 100 })
        const callback = (): unknown => held
        onAbort(signal, callback)
        offAbort(signal, callback)
      }
      collect({ type: 'minor' })
      return process.memoryUsage().heapUsed
    }
    heapAfter(500)
    collect()
    const before = heapAfter(500)
    for (let round = 0; round < 20; round += 1) heapAfter(500)
    assert.ok(heapAfter(500) - before < 300_000)
  })
})
