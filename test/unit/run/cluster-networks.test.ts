import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { clusterNetworks } from '../../../src/cluster-networks.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { Doubt } from '../../../src/kube/doubt.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const ranges = { group: 'networking.k8s.io', version: 'v1', plural: 'servicecidrs' }

describe('the addresses of the cluster', () => {
  let kube: FakeKube
  let client: KubeClient
  const { signal } = new AbortController()

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
    kube.put(ranges, {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'ServiceCIDR',
      metadata: { name: 'kubernetes' },
      spec: { cidrs: ['10.96.0.0/12', 'fd00::/108'] },
    })
  })
  afterEach(async () => {
    await client.close()
    await kube.stop()
  })

  /** Nobody turns the clock: who waits by it waits for ever. */
  const read = (): Promise<readonly string[]> => {
    const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1' }
    return clusterNetworks(client, env, signal, new Doubt({ client, clock: new ManualClock() }))
  }

  it("are the API server's and the Service ranges", async () => {
    assert.deepEqual(await read(), ['10.96.0.1', '127.0.0.1', '10.96.0.0/12', 'fd00::/108'])
  })

  it('hold the Service ranges although a server that starts refused them', async () => {
    kube.fault = ({ path }) =>
      path.endsWith('/servicecidrs') && kube.requests.length === 1
        ? { status: 403, reason: 'Forbidden' }
        : undefined
    assert.deepEqual(await read(), ['10.96.0.1', '127.0.0.1', '10.96.0.0/12', 'fd00::/108'])
  })

  for (const { why, status, requests } of [
    { why: 'may not be read', status: 403, requests: 3 },
    { why: 'are not known yet, before Kubernetes 1.33,', status: 404, requests: 1 },
  ]) {
    it(`are the API server's alone, without delay, where Service ranges ${why}`, async () => {
      kube.fault = ({ path }) => (path.endsWith('/servicecidrs') ? { status } : undefined)
      assert.deepEqual(await read(), ['10.96.0.1', '127.0.0.1'])
      assert.equal(kube.requests.length, requests)
    })
  }
})
