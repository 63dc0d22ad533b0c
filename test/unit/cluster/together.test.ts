import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { together } from '../../cluster/together.ts'

describe('branches that go together', () => {
  it('give their results in order', async () => {
    const results = await together(undefined, [
      async () => {
        await setImmediate()
        return 'a'
      },
      async () => 2,
    ])
    assert.deepEqual(results, ['a', 2])
  })

  it('are all at an end when one has failed, and the first failure is the one told', async () => {
    let ended = false
    const failure = new Error('first')
    const all = together(undefined, [
      async (signal) => {
        while (!signal.aborted) await setImmediate()
        await setImmediate()
        ended = true
        throw new Error('second')
      },
      async () => {
        throw failure
      },
    ])
    await assert.rejects(all, failure)
    assert.equal(ended, true)
  })

  it('hear of the caller’s end', async () => {
    const outer = new AbortController()
    const reason = new Error('stopped')
    const all = together(outer.signal, [
      async (signal) => {
        outer.abort(reason)
        signal.throwIfAborted()
      },
    ])
    await assert.rejects(all, reason)
  })
})
