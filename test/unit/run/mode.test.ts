import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { KubeClient } from '../../../src/kube/client.ts'
import type { Clock } from '../../../src/kube/clock.ts'
import { Doubt } from '../../../src/kube/doubt.ts'
import { chooseMode, mayElect } from '../../../src/mode.ts'
import { type FakeKube, type FakeRequest, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const forbidden = { status: 403, reason: 'Forbidden' } as const
const settings = (enabled: 'auto' | 'true' | 'false') =>
  ({ discovery: { enabled } }) as Parameters<typeof chooseMode>[1]
const election = {
  leaderElection: { name: 'kip', namespace: 'kip' },
  namespace: 'kip',
} as Parameters<typeof mayElect>[1]

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
    assert.equal(
      (await chooseMode(client, settings('auto'), signal, doubt(stopped))).mode,
      'cluster',
    )
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
        const { mode } = await chooseMode(client, settings(enabled), signal, doubt(leapingClock()))
        assert.equal(mode, 'cluster')
      }
    })
  }

  it('is the puller alone, without delay, where a server that is ready refuses pods', async () => {
    refuse(({ path }) => path.endsWith('/pods'))
    const { mode, reason } = await chooseMode(client, settings('auto'), signal, doubt(stopped))
    assert.equal(mode, 'alone')
    assert.equal(reason, 'kip may not list pods of the whole cluster')
    assert.deepEqual(paths(), ['cachedimages', 'pods', 'readyz', 'cachedimages', 'pods'])
    await assert.rejects(chooseMode(client, settings('true'), signal, doubt(stopped)), {
      code: 'KIP_MODE',
      message: /discovery\.enabled is true, but kip may not list pods/,
    })
  })

  it('is the puller alone where the server refuses to say whether it is ready', async () => {
    refuse(() => true)
    const { mode } = await chooseMode(client, settings('auto'), signal, doubt(leapingClock()))
    assert.equal(mode, 'alone')
  })

  it('waits once for a server that refuses everything, however much it is asked', async () => {
    refuse(() => true)
    const shared = doubt(leapingClock())
    await chooseMode(client, settings('auto'), signal, shared)
    kube.requests.length = 0
    assert.equal(await mayElect(client, election, signal, shared), false)
    assert.deepEqual(paths(), ['kip'])
  })

  it('is the puller alone, and nothing is asked, where discovery is off', async () => {
    assert.equal(
      (await chooseMode(client, settings('false'), signal, doubt(stopped))).mode,
      'alone',
    )
    assert.deepEqual(paths(), [])
  })

  it('is told when nobody answers', async () => {
    await kube.stop()
    await assert.rejects(chooseMode(client, settings('auto'), signal, doubt(stopped)), {
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
