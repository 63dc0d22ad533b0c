import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { KubeApiError } from '../../../src/kube/errors.ts'
import { untilAborted } from '../../../src/kube/until-aborted.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { keepLooking } from '../../../src/resolver/keep-looking.ts'
import type { Outcome } from '../../../src/resolver/outcome.ts'
import type { Usage } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'

const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`
const available = (digit: string): Outcome => ({
  state: 'Available',
  digest: digestOf(digit),
  mediaType: 'type',
  details: { platforms: ['linux/amd64'], sizeBytes: 5 },
})
const away: Outcome = { state: 'Unreachable', message: 'COPY_TLS: why' }
const usage: Usage = {
  wanted: ['InUse'],
  pods: 1,
  workloads: 1,
  namespaces: 1,
  owners: [],
  firstSeen: '2026-01-01T00:00:00.000Z',
}

describe('keep looking', () => {
  let store: ImageStore
  let clock: ManualClock
  let looked: string[]
  let answer: (reference: string, signal: AbortSignal) => Outcome | Promise<Outcome>
  let log: ReturnType<typeof silentLog>
  let hasten: (reference: string) => void
  let stop: () => Promise<void>
  const { signal } = new AbortController()

  const run = (): void => {
    const controller = new AbortController()
    const running = keepLooking(
      {
        store,
        look: async ({ reference }, signal) => {
          looked.push(reference)
          return await answer(reference, signal)
        },
        settings: { puller: { intervalHours: 1 } },
        log,
        metrics: createMetrics({ processMetrics: false }),
        clock,
        now: () => Date.parse('2026-03-01T12:00:00Z') + clock.now(),
        random: () => 0.5,
        onHints: (take) => {
          hasten = take
        },
      },
      controller.signal,
    )
    stop = async () => {
      controller.abort()
      await running
      assert.equal(clock.pending, 0, 'timers are left')
    }
  }
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await setImmediate()
  }
  const advance = async (ms: number): Promise<void> => {
    clock.advance(ms)
    await settle()
  }
  const want = (reference: string, change: Partial<Usage> = {}): Promise<void> =>
    store.putUsage(reference, { ...usage, ...change }, signal)

  beforeEach(() => {
    store = createMemoryStore()
    clock = new ManualClock()
    looked = []
    answer = () => available('a')
    log = silentLog()
  })
  afterEach(() => stop())

  it('looks at what is wanted at once, and again every interval', async () => {
    await want('quay.io/before:1')
    run()
    await want('quay.io/after:1')
    await settle()
    assert.deepEqual(looked, ['quay.io/before:1', 'quay.io/after:1'])
    assert.equal(store.get('quay.io/after:1')?.source?.digest, digestOf('a'))
    await advance(3_600_000 * 0.94)
    assert.equal(looked.length, 2)
    answer = () => available('b')
    await advance(3_600_000 * 0.02)
    assert.equal(looked.length, 4)
    assert.equal(store.get('quay.io/after:1')?.source?.history?.[0]?.digest, digestOf('a'))
  })

  it('writes nothing when it finds nothing new', async () => {
    run()
    await want('quay.io/a:1')
    await settle()
    const version = store.get('quay.io/a:1')?.resourceVersion
    for (let hour = 0; hour < 10; hour++) await advance(3_600_000)
    assert.ok(looked.length > 9)
    assert.equal(store.get('quay.io/a:1')?.resourceVersion, version)
  })

  it('looks more often while a source is away, until it is back', async () => {
    answer = () => away
    run()
    await want('quay.io/a:1')
    await settle()
    assert.equal(store.get('quay.io/a:1')?.source?.state, 'Unreachable')
    await advance(11_250)
    assert.equal(looked.length, 2)
    await advance(11_250)
    assert.equal(looked.length, 2)
    answer = () => available('a')
    await advance(11_250)
    assert.equal(looked.length, 3)
    assert.equal(store.get('quay.io/a:1')?.source?.state, 'Available')
    assert.equal(store.get('quay.io/a:1')?.source?.message, undefined)
  })

  it('does not look at what nobody wants', async () => {
    run()
    await want('quay.io/a:1')
    await settle()
    await want('quay.io/a:1', { wanted: [] })
    await want('quay.io/b:1', { wanted: [] })
    await advance(36_000_000)
    assert.deepEqual(looked, ['quay.io/a:1'])
    await want('quay.io/a:1')
    await advance(300_000)
    assert.equal(looked.length, 2)
  })

  it('keeps nothing of images that went, nor of registries without any', async () => {
    run()
    for (const image of ['a.test/a:1', 'b.test/a:1', 'b.test/b:1']) await want(image)
    await settle()
    assert.equal(clock.pending, 3)
    await want('a.test/a:1', { wanted: [] })
    await want('b.test/a:1', { wanted: [] })
    assert.equal(clock.pending, 1)
    await want('a.test/a:1')
    await advance(300_000)
    assert.equal(looked.filter((image) => image === 'a.test/a:1').length, 2)
    assert.equal(clock.pending, 2)
  })

  it('breaks off what it asks a registry for whose last image went', async () => {
    let asking: AbortSignal | undefined
    answer = async (_, signal) => {
      asking = signal
      await untilAborted(signal)
      throw signal.reason
    }
    run()
    await want('a.test/a:1')
    await settle()
    await want('a.test/a:1', { wanted: [] })
    await settle()
    assert.equal(asking?.aborted, true)
    assert.equal(clock.pending, 0)
    assert.deepEqual(log.lines, [])
  })

  it('does not let a slow registry keep others waiting', async () => {
    const { promise, resolve } = Promise.withResolvers<Outcome>()
    answer = (reference) => (reference.startsWith('slow') ? promise : available('a'))
    run()
    for (let i = 0; i < 9; i++) await want(`slow.test/a:${i}`)
    await want('quay.io/a:1')
    await settle()
    assert.equal(looked.filter((reference) => reference.startsWith('slow')).length, 4)
    assert.ok(store.get('quay.io/a:1')?.source)
    resolve(available('a'))
    await settle()
    assert.equal(looked.length, 10)
  })

  it('does not hurry at a start over what is known', async () => {
    await want('quay.io/known:1')
    const image = store.get('quay.io/known:1') ?? assert.fail()
    const checkedAt = '2026-02-01T00:00:00.000Z'
    await store.putSource(image, { state: 'Available', digest: digestOf('a'), checkedAt }, signal)
    await want('quay.io/new:1')
    run()
    await settle()
    assert.deepEqual(looked, ['quay.io/new:1'])
    await advance(150_000)
    assert.deepEqual(looked, ['quay.io/new:1', 'quay.io/known:1'])
  })

  it('sees at once that a source lost an image that a node could not pull', async () => {
    run()
    await want('quay.io/a:1')
    await settle()
    answer = () => ({ state: 'Missing', message: 'COPY_NOT_FOUND: why' })
    hasten('quay.io/a:1')
    await advance(1)
    assert.equal(looked.length, 2)
    assert.equal(store.get('quay.io/a:1')?.source?.state, 'Missing')
    hasten('quay.io/a:1')
    hasten('quay.io/unknown:1')
    await advance(1)
    assert.equal(looked.length, 2)
  })

  it('looks once a minute, however often nodes fail to pull what is there', async () => {
    run()
    await want('quay.io/a:1')
    await settle()
    for (let second = 0; second < 120; second++) {
      hasten('quay.io/a:1')
      await advance(1_000)
    }
    assert.equal(looked.length, 3)
  })

  it('writes onto what others wrote meanwhile', async () => {
    const { promise, resolve } = Promise.withResolvers<Outcome>()
    answer = () => promise
    run()
    await want('quay.io/a:1')
    await settle()
    await want('quay.io/a:1', { pods: 5 })
    resolve(available('a'))
    await settle()
    assert.equal(store.get('quay.io/a:1')?.usage?.pods, 5)
    assert.equal(store.get('quay.io/a:1')?.source?.state, 'Available')
  })

  describe('while the API server refuses the status', () => {
    let refusals: number
    let refuses: boolean

    beforeEach(() => {
      const { putSource } = store
      refusals = 0
      refuses = true
      store = {
        ...store,
        putSource: async (...written) => {
          if (!refuses) return await putSource(...written)
          refusals += 1
          throw new KubeApiError({ status: 403, reason: 'Forbidden', message: 'no' })
        },
      }
    })

    it('does not ask the registry again for every try to write', async () => {
      run()
      await want('quay.io/a:1')
      await settle()
      for (let minute = 0; minute < 30; minute++) await advance(60_000)
      assert.ok(refusals > 20)
      assert.equal(looked.length, 1)
      refuses = false
      await advance(60_000)
      assert.equal(looked.length, 1)
      const source = store.get('quay.io/a:1')?.source
      assert.equal(source?.digest, digestOf('a'))
      assert.equal(source?.checkedAt, '2026-03-01T12:00:00.000Z')
    })

    it('looks again when it would have had the write been taken', async () => {
      run()
      await want('quay.io/a:1')
      await settle()
      for (let minute = 0; minute < 130; minute++) await advance(60_000)
      assert.equal(looked.length, 3)
      answer = () => available('b')
      for (let minute = 0; minute < 60; minute++) await advance(60_000)
      refuses = false
      await advance(60_000)
      assert.equal(store.get('quay.io/a:1')?.source?.digest, digestOf('b'))
      assert.equal(looked.length, 4)
    })

    it('looks at the other images of that registry', async () => {
      run()
      for (let i = 0; i < 9; i++) await want(`quay.io/a:${i}`)
      await settle()
      assert.equal(looked.length, 9)
    })

    it('heeds a hint that an image cannot be pulled, until it saw that itself', async () => {
      run()
      await want('quay.io/a:1')
      await settle()
      answer = () => ({ state: 'Missing', message: 'COPY_NOT_FOUND: why', retryAfterMs: 3_600_000 })
      for (let minute = 0; minute < 10; minute++) {
        hasten('quay.io/a:1')
        await advance(60_000)
      }
      assert.equal(looked.length, 2)
    })
  })

  it('tells of a change once', async () => {
    answer = () => away
    run()
    await want('quay.io/a:1')
    await settle()
    for (let minute = 0; minute < 10; minute++) await advance(60_000)
    assert.ok(looked.length > 3)
    assert.equal(log.lines.filter(({ level }) => level === 'info').length, 1)
  })
})
