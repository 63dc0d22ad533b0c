import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { mayChangePullPolicy } from '../../../src/admission/pull-policy.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { Doubt } from '../../../src/kube/doubt.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'

const pod = { namespace: 'kip', name: 'kip-1' }
const forbidden = { status: 403, reason: 'Forbidden' } as const

describe('whether pull policies may be changed', () => {
  let kube: FakeKube
  let client: KubeClient
  const { signal } = new AbortController()

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
    kube.put(
      { group: '', version: 'v1', plural: 'pods', namespace: pod.namespace },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: pod,
        spec: { containers: [{ name: 'kip', imagePullPolicy: 'IfNotPresent' }] },
      },
    )
  })
  afterEach(async () => {
    await client.close()
    await kube.stop()
  })

  /** Nobody turns the clock: who waits by it waits for ever. */
  const ask = (): Promise<boolean> => {
    const doubt = new Doubt({ client, clock: new ManualClock() })
    return mayChangePullPolicy({ client, doubt, pod, log: silentLog() }, signal)
  }

  it("is told by kip's own pod, although a server that starts refused it", async () => {
    kube.fault = () => (kube.requests.length === 1 ? forbidden : undefined)
    assert.equal(await ask(), true)
  })

  it("is taken for no, without delay, where kip's own pod may not be read", async () => {
    kube.fault = ({ path }) => (path.endsWith('/kip-1') ? forbidden : undefined)
    assert.equal(await ask(), false)
  })
})
