import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  abortSignalOf,
  offAbort,
  onAbort,
  Stop,
  type StopSignal,
} from '../../../src/image-copy/src/abortable.ts'

type Kind = readonly [name: string, make: () => readonly [StopSignal, abort: () => void]]

const kinds: readonly Kind[] = [
  [
    "a caller's signal",
    () => {
      const caller = new AbortController()
      return [caller.signal, () => caller.abort()]
    },
  ],
  [
    'a stop below it',
    () => {
      const caller = new AbortController()
      return [new Stop(caller.signal), () => caller.abort()]
    },
  ],
]

for (const [kind, make] of kinds) {
  describe(`what waits for ${kind}`, () => {
    test('is called in order, and not when an earlier one took it back', () => {
      const [signal, abort] = make()
      const called: string[] = []
      const second = (): void => void called.push('second')
      const third = (): void => void called.push('third')
      onAbort(signal, () => {
        called.push('first')
        offAbort(signal, second)
      })
      onAbort(signal, second)
      onAbort(signal, third)
      abort()
      assert.deepEqual(called, ['first', 'third'])
    })

    test('is called though another was taken back twice', () => {
      const [signal, abort] = make()
      let called = 0
      const other = (): void => {}
      onAbort(signal, () => {
        called += 1
      })
      onAbort(signal, other)
      offAbort(signal, other)
      offAbort(signal, other)
      abort()
      assert.equal(called, 1)
    })

    test('is not kept by a signal that outlives it, however many came since the last full collection', () => {
      setFlagsFromString('--expose-gc')
      const collect: (options?: { type: 'minor' }) => void = runInNewContext('gc')
      const [signal] = make()
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
}

describe('a stop', () => {
  test('has the reason of the signal that aborted, of those above it', () => {
    const [first, second] = [new AbortController(), new AbortController()]
    const stop = new Stop(first.signal, second.signal)
    assert.doesNotThrow(() => stop.throwIfAborted())
    second.abort(new Error('second'))
    first.abort(new Error('first'))
    assert.throws(() => stop.throwIfAborted(), /second/)
  })

  test('is aborted from the start below a signal that is', () => {
    const above = new Stop()
    above.abort(new Error('before'))
    above.abort(new Error('after'))
    const stop = new Stop(new AbortController().signal, above)
    assert.ok(stop.aborted)
    assert.match(String(stop.reason), /before/)
  })

  test('aborts nothing above it, and follows nobody when it has ended', () => {
    const above = new Stop()
    const [one, other] = [new Stop(above), new Stop(above)]
    one.abort(new Error('alone'))
    other.end()
    assert.equal(above.aborted, false)
    above.abort(new Error('late'))
    assert.match(String(one.reason), /alone/)
    assert.equal(other.aborted, false)
  })

  test('is an AbortSignal to those who ask for one, whenever it aborts', () => {
    const stop = new Stop()
    const before = abortSignalOf(stop)
    stop.abort(new Error('enough'))
    for (const signal of [before, abortSignalOf(stop)]) {
      assert.ok(signal.aborted)
      assert.match(String(signal.reason), /enough/)
    }
    assert.equal(abortSignalOf(before), before)
  })
})
