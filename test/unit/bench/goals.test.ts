import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Goal, judge } from '../../bench/harness/goals.ts'
import type { Round } from '../../bench/harness/measurement.ts'
import { bestOf, median, ratiosOf } from '../../bench/harness/statistics.ts'

const one = (wallMs: number, rssMib = 10) => ({ wallMs, cpuMs: wallMs / 2, rssMib })

const rounds: readonly Round[] = [
  { kip: one(50, 60), crane: one(100), oras: one(80) },
  // A disturbed round: everything takes twice as long.
  { kip: one(100, 66), crane: one(200), oras: one(160) },
  { kip: one(90, 61), crane: one(100), oras: one(80) },
]

describe('statistics', () => {
  test('the median is the middle, or between the middle two', () => {
    assert.equal(median([3, 1, 2]), 2)
    assert.equal(median([4, 1, 2, 3]), 2.5)
    assert.equal(median([7]), 7)
    assert.throws(() => median([]), RangeError)
  })

  test('ratios are taken within a round, and only of rounds that both were in', () => {
    assert.deepEqual(ratiosOf(rounds, 'wallMs', { of: 'kip', to: 'crane' }), [0.5, 0.5, 0.9])
    const partial = [{ kip: one(50), slow: one(500) }, { kip: one(50) }]
    assert.deepEqual(ratiosOf(partial, 'wallMs', { of: 'kip', to: 'slow' }), [0.1])
  })

  test('the best is who has the lowest median of those measured in every round', () => {
    assert.equal(bestOf(rounds, ['crane', 'oras'], 'wallMs'), 'oras')
    const partial = [{ fast: one(1), steady: one(5) }, { steady: one(5) }]
    assert.equal(bestOf(partial, ['fast', 'steady'], 'wallMs'), 'steady')
    assert.equal(bestOf(rounds, ['nobody'], 'wallMs'), undefined)
  })
})

describe('goals', () => {
  const wall = (beside: readonly string[], atMost: number): Goal => ({
    kind: 'ratio',
    figure: 'wallMs',
    of: 'kip',
    beside,
    atMost,
  })

  test('a difference has to be small enough in every round', () => {
    const goal: Goal = { kind: 'difference', figure: 'wallMs', of: 'kip', from: 'oras', atMost: 5 }
    const worst = judge('case', goal, rounds)
    assert.equal(worst.value, 10)
    assert.equal(worst.met, false)
    assert.equal(worst.shown, '10.0 ms')
    assert.equal(judge('case', { ...goal, from: 'nobody' }, rounds).met, false)
  })

  test('a ratio is the median of the rounds, beside one peer or the best', () => {
    const beside = judge('case', wall(['crane'], 0.5), rounds)
    assert.equal(beside.value, 0.5)
    assert.equal(beside.met, true)
    assert.equal(beside.what, 'wall beside crane')
    const best = judge('case', wall(['crane', 'oras'], 0.6), rounds)
    assert.equal(best.value, 0.625)
    assert.equal(best.met, false)
    assert.match(best.what, /the best, oras/)
  })

  test('a bound holds for the worst round, and for each of many', () => {
    const rss: Goal = { kind: 'bound', figure: 'rssMib', of: 'kip', atMost: 64 }
    assert.deepEqual(
      { value: judge('case', rss, rounds).value, met: judge('case', rss, rounds).met },
      { value: 66, met: false },
    )
    const counted: readonly Round[] = [{ kip: { ...one(1), requests: 400 } }]
    const requests: Goal = { kind: 'bound', figure: 'requests', of: 'kip', atMost: 2, per: 200 }
    assert.equal(judge('case', requests, counted).value, 2)
    assert.equal(judge('case', requests, counted).met, true)
  })

  test('what was not measured is missed, not met', () => {
    assert.equal(judge('case', wall(['crane'], 1), []).met, false)
    assert.equal(judge('case', wall(['absent'], 1), rounds).met, false)
    const requests: Goal = { kind: 'bound', figure: 'requests', of: 'kip', atMost: 3 }
    const result = judge('case', requests, rounds)
    assert.equal(result.met, false)
    assert.equal(result.shown, 'not measured')
  })
})
