import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { KubeClient } from '../../../src/kube/client.ts'
import { learnRights, type Rights } from '../../../src/puller/rights.ts'
import { type FakeKube, type FakeRequest, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { fastClock } from './cluster-bridge.ts'

const forbidden = { status: 403, reason: 'Forbidden' }

describe('learnRights', () => {
  let kube: FakeKube
  let client: KubeClient

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
  })
  afterEach(async () => {
    await client.close()
    await kube.stop()
  })

  const learn = (): Promise<Rights | undefined> =>
    learnRights(
      { client, namespace: 'kip', openShift: 'false', log: silentLog(), clock: fastClock },
      new AbortController().signal,
    )

  it('believes no refusal of a server that has just started', async () => {
    let isReady = false
    kube.fault = ({ path }: FakeRequest) => {
      if (isReady) return undefined
      if (path !== '/readyz') return forbidden
      isReady = true
      return { status: 500, reason: 'InternalError' }
    }
    const rights = await learn()
    assert.deepEqual(rights, {
      ...{ patch: true, list: true, pods: true, nodes: true },
      assignsUsers: false,
    })
  })

  it('believes a refusal of one that is ready, and of one that says for ten seconds no more', async () => {
    for (const readyz of [undefined, forbidden]) {
      kube.fault = ({ path }: FakeRequest) =>
        path === '/readyz' ? readyz : path.includes('/nodes') ? forbidden : undefined
      const rights = await learn()
      assert.equal(rights?.nodes, false)
      assert.equal(rights?.pods, true)
    }
  })
})
