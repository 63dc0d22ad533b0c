import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settleHeap } from '../../../src/settle-heap.ts'

test('what is garbage after the start is collected, and no function to do so is left behind', async () => {
  let rubbish: object | undefined = {}
  const seen = new WeakRef(rubbish)
  rubbish = undefined
  await settleHeap(new AbortController().signal, 0)
  assert.equal(seen.deref(), undefined)
  assert.equal('gc' in globalThis, false)
})

test('a start that is broken off collects nothing more, and leaves no timer', async () => {
  await settleHeap(AbortSignal.abort())
})
