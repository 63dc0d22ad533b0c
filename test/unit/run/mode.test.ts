import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { KubeClient } from '../../../src/kube/client.ts'
import type { Clock } from '../../../src/kube/clock.ts'
import { Doubt } from '../../../src/kube/doubt.ts'
import { chooseMode, mayElect } from '../../../src/mode.ts'
import { type FakeKube, type FakeRequest, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'

const forbidden = { status: 403, reason: 'Forbidden' } as const
const settings = (enabled: 'auto' | 'true' | 'false') =>
  ({ discovery: { enabled } }) as Parameters<typeof chooseMode>[1]
const election = {
  leaderElection: { name: 'kip', namespace: 'kip' },
  namespace: 'kip',
} as Parameters<typeof mayElect>[1]

const isOfImages = (path: string): boolean => path.endsWith('/cachedimages')

/** Time passes only where it is waited for, and then at once. */
function leapingClock(): Clock {
  let time = 0
  return {
    now: () => time,
    timer: (callback, ms) => {
      const immediate = setImmediate(() => {
        time += ms
        callback()
      })
      return () => clearImmediate(immediate)
    },
  }
}

describe('what is decided at the start', () => {
  let kube: FakeKube
  let client: KubeClient
  const { signal } = new AbortController()
  /** Nobody turns it: who waits by it waits for ever. */
  const stopped = new ManualClock()
  const doubt = (clock: Clock): Doubt => new Doubt({ client, clock })
  /** Waits, if it comes to that, by the clock of the doubt. */
  const choose = (
    enabled: 'auto' | 'true' | 'false',
    clock: Clock,
  ): ReturnType<typeof chooseMode> =>
    chooseMode(client, settings(enabled), signal, { doubt: doubt(clock), clock, log })
  const log = silentLog()
  const paths = (): string[] => kube.requests.map(({ path }) => path.replace(/.*\//, ''))

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
  })
  afterEach(async () => {
    await client.close()
    await kube.stop()
  })

  /** As a server that has not read its roles, for so many requests. */
  const startsFor = (requests: number, fault: Exclude<FakeKube['fault'], undefined>): void => {
    kube.fault = (request) => (kube.requests.length > requests ? undefined : fault(request))
  }
  const refuse = (isRefused: (request: FakeRequest) => boolean): void => {
    kube.fault = (request) => (isRefused(request) ? forbidden : undefined)
  }

  it('is all of kip where images and pods can be read', async () => {
    assert.equal((await choose('auto', stopped)).mode, 'cluster')
    assert.deepEqual(paths(), ['cachedimages', 'pods'])
  })

  for (const { when, fault } of [
    { when: 'has not read its roles', fault: () => forbidden },
    {
      when: 'has not read its resources, and says so',
      fault: ({ path }: FakeRequest) => ({ status: path === '/readyz' ? 500 : 404 }),
    },
  ]) {
    it(`is all of kip although a server that starts ${when}`, async () => {
      startsFor(6, fault)
      for (const enabled of ['auto', 'true'] as const) {
        kube.requests.length = 0
        const { mode } = await choose(enabled, leapingClock())
        assert.equal(mode, 'cluster')
      }
    })
  }

  it('is the puller alone, without delay, where a server that is ready refuses pods', async () => {
    refuse(({ path }) => path.endsWith('/pods'))
    const { mode, reason } = await choose('auto', stopped)
    assert.equal(mode, 'alone')
    assert.equal(reason, 'kip may not list pods of the whole cluster')
    assert.deepEqual(paths(), ['cachedimages', 'pods', 'readyz', 'cachedimages', 'pods'])
    await assert.rejects(choose('true', stopped), {
      code: 'KIP_MODE',
      message: /discovery\.enabled is true, but kip may not list pods/,
    })
  })

  for (const enabled of ['auto', 'true'] as const) {
    it(`is all of kip where CachedImages come while it starts, discovery ${enabled}`, async () => {
      const lookups = (): number => kube.requests.filter(({ path }) => isOfImages(path)).length
      kube.fault = ({ path }) => (isOfImages(path) && lookups() <= 12 ? { status: 404 } : undefined)
      assert.equal((await choose(enabled, leapingClock())).mode, 'cluster')
    })
  }

  it('is the puller alone where no CachedImages come within half a minute', async () => {
    kube.fault = ({ path }) => (isOfImages(path) ? { status: 404 } : undefined)
    const clock = leapingClock()
    const { mode, reason } = await choose('auto', clock)
    assert.deepEqual([mode, reason], ['alone', 'the resource CachedImages is not installed'])
    assert.equal(clock.now(), 30_000)
    await assert.rejects(choose('true', leapingClock()), { code: 'KIP_MODE' })
  })

  it('is the puller alone, without delay, where there are no CachedImages and pods are refused', async () => {
    kube.fault = ({ path }) =>
      isOfImages(path) ? { status: 404 } : path.endsWith('/pods') ? forbidden : undefined
    assert.equal((await choose('auto', stopped)).mode, 'alone')
  })

  it('is the puller alone where the server refuses to say whether it is ready', async () => {
    refuse(() => true)
    const { mode } = await choose('auto', leapingClock())
    assert.equal(mode, 'alone')
  })

  it('waits once for a server that refuses everything, however much it is asked', async () => {
    refuse(() => true)
    const clock = leapingClock()
    const shared = doubt(clock)
    await chooseMode(client, settings('auto'), signal, { doubt: shared, clock, log })
    kube.requests.length = 0
    assert.equal(await mayElect(client, election, signal, shared), false)
    assert.deepEqual(paths(), ['kip'])
  })

  it('is the puller alone, and nothing is asked, where discovery is off', async () => {
    assert.equal((await choose('false', stopped)).mode, 'alone')
    assert.deepEqual(paths(), [])
  })

  it('is told when nobody answers', async () => {
    await kube.stop()
    await assert.rejects(choose('auto', stopped), {
      reason: 'Unreachable',
    })
  })

  it('is to elect a leader where Leases can be read, or will be when the server has started', async () => {
    assert.equal(await mayElect(client, election, signal, doubt(stopped)), true)
    kube.requests.length = 0
    startsFor(6, () => forbidden)
    assert.equal(await mayElect(client, election, signal, doubt(leapingClock())), true)
  })

  it('is to lead without a Lease where a server that is ready refuses it', async () => {
    refuse(({ path }) => path.includes('/leases/'))
    assert.equal(await mayElect(client, election, signal, doubt(stopped)), false)
    assert.deepEqual(paths(), ['kip', 'readyz', 'kip'])
  })
})
