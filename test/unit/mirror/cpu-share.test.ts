import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CpuShare } from '../../../src/mirror/cpu-share.ts'
import { Yielding } from '../../../src/mirror/yielding.ts'

/** A limit that two processes share, and a clock: one copies whenever it does not rest, the other uses what it is told to. */
class Limited {
  limit: number | undefined
  now = 0
  ownMs = 0
  othersMs = 0

  constructor(limit: number | undefined) {
    this.limit = limit
  }

  /** Copies at a full core for so many milliseconds, looking every five, while the others use so many cores. */
  copy(share: CpuShare, ms: number, others: number): number {
    const before = this.ownMs
    for (const end = this.now + ms; this.now < end; ) {
      this.#pass(5, others)
      this.ownMs += 5
      this.#pass(share.pauseMs(), others)
    }
    return (this.ownMs - before) / ms
  }

  #pass(ms: number, others: number): void {
    this.now += ms
    this.othersMs += ms * others
  }
}

function shareOf(limited: Limited): CpuShare {
  return new CpuShare({
    cgroup: {
      limit: () => limited.limit,
      usedMs: () => limited.ownMs + limited.othersMs,
    },
    ownMs: () => limited.ownMs,
    now: () => limited.now,
  })
}

const between = (value: number, low: number, high: number): void =>
  assert.ok(value >= low && value <= high, `${value} is not in ${low}–${high}`)

describe('the share of copying under a limit of 200m', () => {
  test('is three fifths while nobody else wants any', () => {
    const limited = new Limited(0.2)
    between(limited.copy(shareOf(limited), 10_000, 0), 0.11, 0.13)
  })

  test('is what others leave of that', () => {
    const limited = new Limited(0.2)
    between(limited.copy(shareOf(limited), 10_000, 0.05), 0.06, 0.08)
  })

  test('is 5 % of it while others want all', () => {
    const limited = new Limited(0.2)
    between(limited.copy(shareOf(limited), 20_000, 0.2), 0.009, 0.012)
  })

  test('follows the others within seconds, down and up', () => {
    const limited = new Limited(0.2)
    const share = shareOf(limited)
    limited.copy(share, 1_000, 0)
    limited.copy(share, 1_000, 0.18)
    between(limited.copy(share, 10_000, 0.18), 0.009, 0.012)
    limited.copy(share, 5_000, 0)
    between(limited.copy(share, 10_000, 0), 0.11, 0.13)
  })

  test('saves up no more than a moment in a rest', () => {
    const limited = new Limited(0.2)
    const share = shareOf(limited)
    limited.now += 3_600_000
    limited.ownMs += 20
    assert.ok(share.pauseMs() > 100)
  })
})

test('without a limit there is nothing to hold to; one that comes later is', () => {
  const limited = new Limited(undefined)
  const share = shareOf(limited)
  assert.equal(share.cores, undefined)
  assert.equal(limited.copy(share, 1_000, 0), 1)
  limited.limit = 0.5
  limited.copy(share, 1_000, 0)
  between(limited.copy(share, 10_000, 0), 0.28, 0.32)
})

test('yields while work is under way, and leaves no timer behind', async () => {
  let asked = 0
  const yielding = new Yielding({
    pauseMs: () => {
      asked++
      return 1
    },
  })
  const work = Promise.withResolvers<string>()
  const done = yielding.during(() => work.promise)
  const other = yielding.during(async () => 'other')
  assert.equal(await other, 'other')
  while (asked < 3) await new Promise((resolve) => setTimeout(resolve, 5))
  work.resolve('done')
  assert.equal(await done, 'done')
  const { length } = process.getActiveResourcesInfo().filter((name) => name === 'Timeout')
  assert.equal(length, 0)
  await assert.rejects(
    yielding.during(() => Promise.reject(new Error('failed'))),
    /failed/,
  )
})
