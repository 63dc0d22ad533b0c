import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { StopSignal } from '../../../src/image-copy/src/abortable.ts'
import { CheckpointedHash } from '../../../src/image-copy/src/blob/checkpointed-hash.ts'
import {
  formatPlatform,
  matchesPlatform,
  parsePlatform,
} from '../../../src/image-copy/src/image/platform.ts'
import { BlobLedger } from '../../../src/image-copy/src/registry/blob-ledger.ts'
import {
  backoffMs,
  defaultRetry,
  delay,
  parseRetryAfter,
} from '../../../src/image-copy/src/registry/retry.ts'
import { SharedWrites } from '../../../src/image-copy/src/registry/shared-writes.ts'
import { Window } from '../../../src/image-copy/src/registry/window.ts'
import { digestOf, noise } from '../../support/sample-images.ts'

const { signal } = new AbortController()
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a window', () => {
  test('lets in as many as it is wide, in order, and gives places on', async () => {
    const window = new Window({ start: 2, max: 8 })
    await window.enter(signal)
    await window.enter(signal)
    const order: number[] = []
    const third = window.enter(signal)?.then(() => order.push(3))
    const fourth = window.enter(signal)?.then(() => order.push(4))
    await turn()
    assert.deepEqual([order, window.active], [[], 2])
    window.leave()
    await third
    assert.deepEqual([order, window.active], [[3], 2])
    window.leave()
    await fourth
    assert.deepEqual([order, window.active], [[3, 4], 2])
    window.leave()
    window.leave()
    assert.equal(window.active, 0)
  })

  test('widens by one a success until the first complaint, then by one a window', () => {
    const window = new Window({ start: 2, max: 16 })
    for (let i = 0; i < 4; i += 1) window.succeeded()
    assert.equal(window.size, 6)
    window.congested(10_000)
    assert.equal(window.size, 3)
    for (let i = 0; i < 3; i += 1) window.succeeded()
    assert.ok(window.size <= 4)
    for (let i = 0; i < 500; i += 1) window.succeeded()
    assert.equal(window.size, 16)
  })

  test('takes complaints of one moment for one, and never closes', () => {
    const window = new Window({ start: 16, max: 16 })
    for (let i = 0; i < 10; i += 1) window.congested(50_000 + i)
    assert.equal(window.size, 8)
    for (let i = 1; i < 20; i += 1) window.congested(50_000 + i * 2000)
    assert.equal(window.size, 1)
  })

  test('lets those go who stop waiting', async () => {
    const window = new Window({ start: 1, max: 1 })
    await window.enter(signal)
    const stop = new AbortController()
    const waiting = Promise.resolve(window.enter(stop.signal))
    const next = window.enter(signal)
    stop.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
    window.leave()
    await next
    window.leave()
    assert.equal(window.active, 0)
  })
})

describe('delays', () => {
  test('double, with jitter in their upper half, up to the limit', () => {
    const at = (attempt: number, random: number): number =>
      backoffMs(attempt, { ...defaultRetry, baseMs: 100, maxMs: 1000 }, () => random)
    assert.deepEqual([at(1, 0), at(1, 1), at(3, 0), at(3, 1), at(9, 1)], [50, 100, 200, 400, 1000])
  })

  test('of Retry-After are read from seconds and dates', () => {
    const now = Date.parse('2026-11-21T00:00:00Z')
    const cases: readonly [string | undefined, number | undefined][] = [
      ['7', 7000],
      ['0', 0],
      ['Sat, 21 Nov 2026 00:00:05 GMT', 5000],
      ['Sat, 21 Nov 2020 00:00:05 GMT', 0],
      ['-5', undefined],
      ['soon', undefined],
      [undefined, undefined],
    ]
    for (const [value, ms] of cases) assert.equal(parseRetryAfter(value, now), ms, value)
  })

  test('end with the signal', async () => {
    const stop = new AbortController()
    const waiting = delay(60_000, stop.signal)
    stop.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
    await assert.rejects(delay(1, stop.signal), /enough/)
  })
})

describe('the ledger of blobs', () => {
  const digest = `sha256:${'a'.repeat(64)}`

  test('lets one lead, and the others find what it brought', async () => {
    const ledger = new BlobLedger()
    const blob = ledger.of('h', digest)
    let running = 0
    const seen: (string | undefined)[] = []
    const work = async (): Promise<string> => {
      const { holder } = blob
      seen.push(holder)
      if (holder === undefined) assert.equal(++running, 1)
      await turn()
      return 'brought'
    }
    const lead = (name: string) => blob.lead(name, signal, work)
    const done = await Promise.all(['a', 'b', 'a', 'c'].map(lead))
    assert.deepEqual(seen, [undefined, 'a', 'a'])
    assert.deepEqual(done, ['brought', 'brought', undefined, 'brought'])
    assert.equal(await lead('b'), undefined)
    assert.ok(ledger.of('h', digest).isIn('b') && !ledger.of('other', digest).isIn('b'))
    blob.forget()
    assert.equal(blob.holder, undefined)
  })

  test('has the next lead when the first fails', async () => {
    const blob = new BlobLedger().of('h', digest)
    const failing = blob.lead('a', signal, async () => {
      await turn()
      throw new Error('broken')
    })
    const next = blob.lead('a', signal, async () => 'brought')
    await assert.rejects(failing, /broken/)
    assert.equal(await next, 'brought')
  })
})

describe('writes that are shared', () => {
  test('of one name take turns, and take along what came in between; others do not wait', async () => {
    const writes = new SharedWrites<string>()
    const order: string[] = []
    const write = async (items: readonly string[]): Promise<void> => {
      order.push(`+${items}`)
      await turn()
      order.push(`-${items}`)
    }
    const add = (name: string, item: string) => writes.add(name, item, signal, write)
    const first = add('a', '1')
    await Promise.resolve().then(() => {})
    await Promise.all([first, add('a', '2'), add('a', '3'), add('b', '4')])
    assert.deepEqual(
      order.filter((entry) => !entry.includes('4')),
      ['+1', '-1', '+2,3', '-2,3'],
    )
    assert.ok(order.indexOf('+4') < order.indexOf('-1'))
  })

  test('fail for all who waited, and not for those who come later', async () => {
    const writes = new SharedWrites<string>()
    const add = (item: string) =>
      writes.add('a', item, signal, async (items) => {
        if (items.includes('bad')) throw new Error('broken')
      })
    const outcomes = await Promise.allSettled([add('bad'), add('good')])
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    await add('better')
  })

  test('that nobody waits for any more before their turn take nobody along who comes later', async () => {
    const writes = new SharedWrites<string>()
    const held = Promise.withResolvers<void>()
    const done: string[] = []
    const write = async (items: readonly string[]): Promise<void> => {
      await held.promise
      done.push(...items)
    }
    const first = writes.add('a', 'first', signal, write)
    await turn()
    const stop = new AbortController()
    const leaving = writes.add('a', 'left', stop.signal, write)
    stop.abort(new Error('enough'))
    await assert.rejects(leaving, /enough/)
    const later = writes.add('a', 'later', signal, write)
    held.resolve()
    await Promise.all([first, later])
    assert.deepEqual(done, ['first', 'later'])
  })

  test('go on for one when another stops waiting, and stop when nobody waits', async () => {
    const writes = new SharedWrites<string>()
    const stop = new AbortController()
    const seen: StopSignal[] = []
    let held = Promise.withResolvers<void>()
    const write = async (_: readonly string[], inner: StopSignal): Promise<void> => {
      seen.push(inner)
      await held.promise
    }
    const leaving = writes.add('a', '1', stop.signal, write)
    const staying = writes.add('a', '2', signal, write)
    await turn()
    stop.abort(new Error('enough'))
    await assert.rejects(leaving, /enough/)
    assert.equal(seen[0]?.aborted, false)
    held.resolve()
    await staying
    held = Promise.withResolvers()
    const alone = new AbortController()
    const only = writes.add('a', '3', alone.signal, write)
    await turn()
    alone.abort(new Error('enough'))
    await assert.rejects(only, /enough/)
    assert.equal(seen[1]?.aborted, true)
  })
})

test('a hash that goes back and on again is the hash of the whole', () => {
  const bytes = noise('checkpoints', 21 * 1024 * 1024)
  const hash = new CheckpointedHash(digestOf(bytes), bytes.length)
  const feed = (from: number, to: number): void => {
    for (let at = from; at < to; at += 700_000)
      hash.update(bytes.subarray(at, Math.min(to, at + 700_000)))
  }
  feed(0, 17_000_000)
  const back = hash.rewind(9_000_000)
  assert.ok(back <= 9_000_000 && back >= 4 * 1024 * 1024, `${back}`)
  feed(back, 12_000_000)
  feed(hash.rewind(0), bytes.length)
  assert.equal(hash.finish(), digestOf(bytes))
})

test('platforms are one however they are written', () => {
  const same: readonly [string, string][] = [
    ['linux/arm64', 'linux/arm64/v8'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/armhf', 'linux/arm/v7'],
    ['Linux/AMD64', 'linux/amd64'],
    ['linux/arm/6', 'linux/arm/v6'],
  ]
  for (const [a, b] of same)
    assert.equal(formatPlatform(parsePlatform(a)), formatPlatform(parsePlatform(b)))
  assert.ok(!matchesPlatform(parsePlatform('linux/arm/v6'), parsePlatform('linux/arm/v7')))
  for (const text of ['linux', '', 'a/b/c/d', 'linux/', 'linux/amd64 ;'])
    assert.throws(() => parsePlatform(text), TypeError)
})
