import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { KubeApiError } from '../../../src/kube/errors.ts'
import { WorkQueue } from '../../../src/kube/work-queue.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'

/** A queue whose workers end when the test lets them. */
function start(concurrency = 1) {
  const clock = new ManualClock()
  const log = silentLog()
  const queue = new WorkQueue({ clock, log })
  const stop = new AbortController()
  const begun: string[] = []
  const open = new Map<string, (error?: Error) => void>()
  const done = queue.run(
    (key) =>
      new Promise((resolve, reject) => {
        begun.push(key)
        open.set(key, (error) => (error === undefined ? resolve() : reject(error)))
      }),
    { concurrency, signal: stop.signal },
  )
  const finish = async (key: string, error?: Error): Promise<void> => {
    const end = open.get(key)
    assert.ok(end, `${key} is worked on`)
    open.delete(key)
    end(error)
    await turn()
  }
  return { clock, log, queue, stop, begun, finish, done }
}

describe('work queue', () => {
  test('a key waits once, however often it is added, and keys come in order', async () => {
    const { queue, begun, finish, stop, done } = start()
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key)
    await turn()
    for (const key of ['a', 'b', 'c']) await finish(key)
    assert.deepEqual(begun, ['a', 'b', 'c'])
    assert.ok(queue.idle)
    stop.abort()
    await done
  })

  test('dropped, it waits no more, whatever it waits for', async () => {
    const { clock, queue, begun, finish, stop, done } = start()
    for (const key of ['a', 'b', 'a']) queue.add(key)
    await turn()
    queue.add('a')
    queue.addAfter('c', 1_000)
    queue.addRateLimited('d')
    for (const key of ['a', 'b', 'c', 'd']) queue.drop(key)
    assert.equal(clock.pending, 0)
    assert.equal(queue.failures('d'), 0)
    await finish('a')
    assert.deepEqual(begun, ['a'])
    assert.ok(queue.idle)
    queue.add('b')
    await turn()
    assert.deepEqual(begun, ['a', 'b'], 'and comes again')
    await finish('b')
    stop.abort()
    await done
  })

  test('added while it is worked on, it is worked on exactly once more, afterwards', async () => {
    const { queue, begun, finish, stop, done } = start(4)
    queue.add('a')
    await turn()
    queue.add('a')
    queue.add('a')
    await turn()
    assert.deepEqual(begun, ['a'], 'never twice at a time')
    await finish('a')
    assert.deepEqual(begun, ['a', 'a'])
    await finish('a')
    assert.deepEqual(begun, ['a', 'a'])
    stop.abort()
    await done
  })

  test('no more keys at a time than asked for', async () => {
    const { queue, begun, finish, stop, done } = start(2)
    for (const key of ['a', 'b', 'c']) queue.add(key)
    await turn()
    assert.deepEqual(begun, ['a', 'b'])
    await finish('b')
    assert.deepEqual(begun, ['a', 'b', 'c'])
    await finish('a')
    await finish('c')
    stop.abort()
    await done
  })

  test('many keys whose work waits for nothing leave everything else its turns', async () => {
    const queue = new WorkQueue({ log: silentLog() })
    const stop = new AbortController()
    let worked = 0
    const done = queue.run(
      async () => {
        worked += 1
      },
      { concurrency: 4, signal: stop.signal },
    )
    const all = 10_000
    for (let i = 0; i < all; i++) queue.add(`key ${i}`)
    await turn()
    assert.ok(worked < all, 'a turn came in between')
    while (worked < all) await turn()
    stop.abort()
    await done
  })

  test('a key that fails comes back after 5 ms, doubled each time, and forgotten when it works', async () => {
    const { clock, queue, begun, finish, stop, done, log } = start()
    queue.add('a')
    await turn()
    for (const delayMs of [5, 10, 20, 40]) {
      const before = begun.length
      await finish('a', new Error('not yet'))
      clock.advance(delayMs - 1)
      await turn()
      assert.equal(begun.length, before, `not before ${delayMs} ms`)
      clock.advance(1)
      await turn()
      assert.equal(begun.length, before + 1)
    }
    assert.equal(log.lines.length, 4)
    await finish('a')
    assert.equal(queue.failures('a'), 0)
    queue.add('a')
    await turn()
    await finish('a', new Error('again'))
    clock.advance(5)
    await turn()
    await finish('a')
    stop.abort()
    await done
  })

  test('a server that asks for a pause (429) gets it', async () => {
    const { clock, queue, begun, finish, stop, done } = start()
    queue.add('a')
    await turn()
    await finish(
      'a',
      new KubeApiError({
        status: 429,
        reason: 'TooManyRequests',
        message: 'x',
        retryAfterMs: 3000,
      }),
    )
    clock.advance(2999)
    await turn()
    assert.equal(begun.length, 1)
    clock.advance(1)
    await turn()
    assert.equal(begun.length, 2)
    await finish('a')
    stop.abort()
    await done
  })

  test('the back-off ends at 1000 s', () => {
    const clock = new ManualClock()
    const queue = new WorkQueue({ clock, log: silentLog() })
    for (let times = 0; times < 100; times += 1) {
      queue.addRateLimited('a')
      clock.advance(1_000_000)
      assert.equal(queue.depth, 1)
    }
  })

  test('of two delays the sooner counts, and a delayed key does not come twice', async () => {
    const { clock, queue, begun, finish, stop, done } = start()
    queue.addAfter('a', 100)
    queue.addAfter('a', 50)
    queue.addAfter('a', 70)
    clock.advance(49)
    await turn()
    assert.deepEqual(begun, [])
    clock.advance(1)
    await turn()
    assert.deepEqual(begun, ['a'])
    await finish('a')
    clock.advance(1000)
    await turn()
    assert.deepEqual(begun, ['a'])
    assert.equal(clock.pending, 0)
    stop.abort()
    await done
  })

  test('a worker that asked for a delay itself keeps its back-off', async () => {
    const clock = new ManualClock()
    const queue = new WorkQueue({ clock, log: silentLog() })
    const stop = new AbortController()
    const done = queue.run(async (key) => queue.addRateLimited(key), { signal: stop.signal })
    queue.add('a')
    await turn()
    clock.advance(5)
    await turn()
    assert.equal(queue.failures('a'), 2)
    stop.abort()
    await done
  })

  test('stopping waits for what is under way and leaves no timer', async () => {
    const { clock, queue, begun, finish, stop, done } = start()
    queue.add('a')
    queue.add('b')
    queue.addAfter('c', 1000)
    await turn()
    stop.abort()
    let ended = false
    void done.then(() => {
      ended = true
    })
    await turn()
    assert.equal(ended, false)
    await finish('a')
    await done
    assert.deepEqual(begun, ['a'])
    assert.equal(clock.pending, 0)
    assert.ok(queue.idle)
  })

  test('two runs at a time are refused, one after the other is not', async () => {
    const { queue, stop, done } = start()
    await assert.rejects(
      queue.run(async () => {}, { signal: stop.signal }),
      /worked on already/,
    )
    stop.abort()
    await done
    const second = new AbortController()
    const seen: string[] = []
    queue.add('late')
    const again = queue.run(async (key) => void seen.push(key), { signal: second.signal })
    await turn()
    second.abort()
    await again
    assert.deepEqual(seen, ['late'])
  })

  test('metrics: depth, adds, retries, times', async () => {
    const clock = new ManualClock()
    const seen: string[] = []
    const queue = new WorkQueue({
      clock,
      log: silentLog(),
      metrics: {
        depth: (items) => seen.push(`depth ${items}`),
        added: () => seen.push('added'),
        retried: () => seen.push('retried'),
        waited: (seconds) => seen.push(`waited ${seconds}`),
        working: () => {
          seen.push('working')
          return (seconds) => seen.push(`worked ${seconds}`)
        },
      },
    })
    queue.add('a')
    clock.advance(2000)
    const stop = new AbortController()
    const done = queue.run(
      async () => {
        clock.advance(3000)
        throw new Error('no')
      },
      { signal: stop.signal },
    )
    await turn()
    stop.abort()
    await done
    assert.deepEqual(seen, [
      'added',
      'depth 1',
      'depth 0',
      'waited 2',
      'working',
      'retried',
      'worked 3',
      'depth 0',
    ])
  })

  test('options that make no sense are refused', async () => {
    const log = silentLog()
    assert.throws(() => new WorkQueue({ log, baseDelayMs: 0 }), RangeError)
    assert.throws(() => new WorkQueue({ log, baseDelayMs: 10, maxDelayMs: 5 }), RangeError)
    const queue = new WorkQueue({ log })
    const { signal } = new AbortController()
    await assert.rejects(
      queue.run(async () => {}, { concurrency: 0, signal }),
      RangeError,
    )
  })
})
