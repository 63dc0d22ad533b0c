import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Measurement } from '../../bench/harness/measurement.ts'
import { type Contender, runRounds } from '../../bench/harness/rounds.ts'

const quiet = () => undefined
const never = new AbortController().signal

function contender(name: string, wallMs: number, order: string[]): Contender {
  return {
    name,
    run: async (): Promise<Measurement> => {
      order.push(name)
      return { wallMs, cpuMs: 1, rssMib: 1 }
    },
  }
}

describe('rounds', () => {
  test('contenders take turns, and each comes after each other one as often', async () => {
    const order: string[] = []
    const contenders = ['a', 'b', 'c'].map((name) => contender(name, 10, order))
    const { rounds } = await runRounds({
      ...{ name: 'case', ours: 'a', contenders, rounds: 6, keep: [] },
      ...{ report: quiet, signal: never },
    })
    assert.equal(order.join(' ').replace(/(. . .) /g, '$1,'), 'a b c,b a c,c a b,a c b,b c a,c b a')
    assert.equal(rounds.length, 6)
    for (const round of rounds) assert.deepEqual(Object.keys(round).sort(), ['a', 'b', 'c'])
  })

  test('the first contender may warm up, which does not count', async () => {
    const order: string[] = []
    const contenders = ['a', 'b'].map((name) => contender(name, 10, order))
    const { rounds } = await runRounds({
      ...{ name: 'case', ours: 'a', contenders, rounds: 1, keep: [], warmUp: true },
      ...{ report: quiet, signal: never },
    })
    assert.deepEqual([order.join(''), rounds.length], ['aab', 1])
  })

  test('a peer far behind is left out after the first round, unless it has to stay', async () => {
    const order: string[] = []
    const contenders = [
      contender('ours', 1000, order),
      contender('fast', 10, order),
      contender('named', 90, order),
      contender('slow', 90, order),
    ]
    const report: string[] = []
    const { rounds, leftOut } = await runRounds({
      ...{ name: 'case', ours: 'ours', contenders, rounds: 2, keep: ['named'] },
      ...{ report: (line: string) => report.push(line), signal: never },
    })
    assert.deepEqual(Object.keys(rounds[0] ?? {}).sort(), ['fast', 'named', 'ours', 'slow'])
    assert.deepEqual(Object.keys(rounds[1] ?? {}).sort(), ['fast', 'named', 'ours'])
    assert.deepEqual(leftOut, ['slow'])
    assert.ok(report.some((line) => /slow: left out/.test(line)))
  })

  test('an abort ends it before the next run', async () => {
    const order: string[] = []
    const stop = new AbortController()
    const first = contender('first', 10, order)
    const stopping: Contender = {
      name: 'first',
      run: async (round, signal) => {
        stop.abort(new Error('stopped'))
        return first.run(round, signal)
      },
    }
    const contenders = [stopping, contender('second', 10, order)]
    const running = runRounds({
      ...{ name: 'case', ours: 'first', contenders, rounds: 2, keep: [] },
      ...{ report: quiet, signal: stop.signal },
    })
    await assert.rejects(running, /stopped/)
    assert.deepEqual(order, ['first'])
  })

  test('a contender that fails fails the bench', async () => {
    const failing: Contender = { name: 'peer', run: () => Promise.reject(new Error('exit code 1')) }
    const running = runRounds({
      ...{ name: 'case', ours: 'kip', contenders: [failing], rounds: 2, keep: [] },
      ...{ report: quiet, signal: never },
    })
    await assert.rejects(running, /exit code 1/)
  })
})
