import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RepairPace } from '../../../src/admission/repair-pace.ts'
import { ManualClock } from '../../support/manual-clock.ts'

test('ten repairs at once, then one every 30 s', () => {
  const clock = new ManualClock()
  const pace = new RepairPace(clock)
  for (let repair = 0; repair < 10; repair++) {
    assert.equal(pace.waitMs(), 0)
    pace.repaired()
  }
  clock.advance(10_000)
  for (const wait of [20_000, 30_000, 30_000]) {
    assert.equal(pace.waitMs(), wait)
    clock.advance(wait)
    assert.equal(pace.waitMs(), 0)
    pace.repaired()
  }
})

test('quiet time gives repairs back, ten at most', () => {
  const clock = new ManualClock()
  const pace = new RepairPace(clock)
  for (let repair = 0; repair < 10; repair++) pace.repaired()
  clock.advance(60_000)
  for (const wait of [0, 0, 30_000]) {
    assert.equal(pace.waitMs(), wait)
    pace.repaired()
  }
  clock.advance(3_600_000)
  for (let repair = 0; repair < 10; repair++) {
    assert.equal(pace.waitMs(), 0)
    pace.repaired()
  }
  assert.equal(pace.waitMs(), 30_000)
})
