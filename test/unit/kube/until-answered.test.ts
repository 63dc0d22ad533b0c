import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as soon } from 'node:timers/promises'
import { untilAnswered } from '../../../src/kube/until-answered.ts'
import { ManualClock } from '../../support/manual-clock.ts'

describe('asking until there is an answer', () => {
  const complaint = 'no answer, trying again'

  /** Fails so many times before it answers; advances the clock by each wait that it was told of. */
  async function ask(failures: number, options: { longestMs?: number } = {}) {
    const clock = new ManualClock()
    const waits: unknown[] = []
    const log = {
      warn: (fields: object, message: string) => {
        assert.equal(message, complaint)
        waits.push('waitMs' in fields && fields.waitMs)
      },
    }
    let asked = 0
    const answer = untilAnswered(
      async () => {
        asked++
        if (asked <= failures) throw new Error('not now')
        return asked
      },
      { log, clock, complaint, ...options },
      new AbortController().signal,
    )
    while (asked <= failures) {
      await soon()
      clock.advance(Number(waits.at(-1)))
    }
    return { answer: await answer, waits }
  }

  it('waits twice as long after each failure, half a minute at most', async () => {
    const { answer, waits } = await ask(7)
    assert.equal(answer, 8)
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
  })

  it('waits no longer than it is told to', async () => {
    assert.deepEqual((await ask(4, { longestMs: 5_000 })).waits, [1_000, 2_000, 4_000, 5_000])
  })

  it('throws what does not pass', async () => {
    const log = { warn: () => assert.fail('it is not tried again') }
    const options = { log, clock: new ManualClock(), complaint, isPassing: () => false }
    const asking = untilAnswered(
      () => Promise.reject(new Error('never')),
      options,
      new AbortController().signal,
    )
    await assert.rejects(asking, /never/)
  })

  it('has no answer when it is aborted amid a wait, or before', async () => {
    const stop = new AbortController()
    const log = { warn: () => stop.abort() }
    const options = { log, clock: new ManualClock(), complaint }
    const fail = () => Promise.reject(new Error('not now'))
    assert.equal(await untilAnswered(fail, options, stop.signal), undefined)
    assert.equal(await untilAnswered(fail, options, stop.signal), undefined)
  })
})
