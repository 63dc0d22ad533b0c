import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Doubts } from '../../../src/mirror/doubts.ts'

const minute = 60_000

test('doubts that keep coming count after growing pauses, up to an hour', () => {
  let now = 0
  const doubts = new Doubts(() => now)
  const counted: number[] = []
  for (; now < 300 * minute; now += 10_000) if (doubts.raise('a')) counted.push(now / minute)
  assert.deepEqual(counted, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243])
})

test('doubts as rare as the tries of one pod are a row too', () => {
  let now = 0
  const doubts = new Doubts(() => now)
  let counted = 0
  for (let wait = 10_000; now < 600 * minute; wait = Math.min(2 * wait, 5 * minute)) {
    if (doubts.raise('a')) counted += 1
    now += wait
  }
  assert.ok(counted < 20, `${counted} in ten hours`)
})

test('a doubt after a long quiet counts at once, and begins a new row', () => {
  let now = 0
  const doubts = new Doubts(() => now)
  for (const at of [0, 1, 3]) {
    now = at * minute
    assert.equal(doubts.raise('a'), true)
  }
  now = 100 * minute
  assert.equal(doubts.raise('a'), true)
  now = 101 * minute
  assert.equal(doubts.raise('a'), true)
})

test('a doubt is open until it is settled, of one image alone', () => {
  const doubts = new Doubts(() => 0)
  doubts.raise('a')
  doubts.raise('b')
  doubts.settle('a')
  assert.deepEqual([doubts.has('a'), doubts.has('b')], [false, true])
  assert.equal(doubts.raise('a'), false)
  doubts.forget('a')
  assert.equal(doubts.raise('a'), true)
})
