import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { allWorkloadKinds } from '../../../src/images/templates.ts'
import type { ObjectMeta } from '../../../src/kube/types.ts'
import {
  createFlaggedWorkloads,
  type FlaggedWorkloads,
} from '../../../src/state/flagged-workloads.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const flag = { 'images.kip/ignore': 'true' }

describe('flagged workloads', () => {
  let kube: FakeKube
  let workloads: FlaggedWorkloads
  let stop: () => Promise<void>

  const put = (group: string, plural: string, name: string, labels: object): void => {
    const resource = { group, version: 'v1', plural, namespace: 'shop' }
    kube.put(resource, { metadata: { namespace: 'shop', name, labels } } as FakeObject)
  }
  const podOf = (apiVersion: string, kind: string, name: string, hash?: string): ObjectMeta => ({
    ...(hash === undefined ? {} : { labels: { 'pod-template-hash': hash } }),
    ownerReferences: [{ apiVersion, kind, name, uid: '1', controller: true }],
  })
  const owns = (...pod: Parameters<typeof podOf>): boolean =>
    workloads.ownsPod(podOf(...pod), 'shop')

  before(async () => {
    kube = await startFakeKube()
    put('apps', 'deployments', 'web', flag)
    put('apps', 'deployments', 'open', {})
    put('apps', 'statefulsets', 'db', flag)
    put('batch', 'cronjobs', 'nightly', flag)
    const client = kube.client()
    const custom = { group: 'argoproj.io', version: 'v1', kind: 'Rollout', plural: 'rollouts' }
    const absent = { ...custom, group: 'absent.io' }
    put('argoproj.io', 'rollouts', 'blue', flag)
    kube.fault = ({ path }) => (path.includes('absent.io') ? { status: 404 } : undefined)
    const kinds = allWorkloadKinds([custom, absent])
    workloads = createFlaggedWorkloads({ client, kinds, log: silentLog() })
    const controller = new AbortController()
    const running = workloads.run(controller.signal)
    stop = async () => {
      controller.abort()
      await running
      await client.close()
      await kube.stop()
    }
    await workloads.synced
  })
  after(() => stop())

  it('own pods directly, and through ReplicaSets and Jobs', () => {
    assert.equal(owns('apps/v1', 'StatefulSet', 'db'), true)
    assert.equal(owns('apps/v1', 'ReplicaSet', 'web-7d9c', '7d9c'), true)
    assert.equal(owns('batch/v1', 'Job', 'nightly-29384756'), true)
  })

  it('own pods of custom resources, directly and through ReplicaSets', () => {
    assert.equal(owns('argoproj.io/v1', 'Rollout', 'blue'), true)
    assert.equal(owns('apps/v1', 'ReplicaSet', 'blue-5f6'), true)
    assert.equal(owns('apps/v1', 'ReplicaSet', 'green-5f6'), false)
    assert.equal(owns('apps/v1', 'ReplicaSet', 'blue'), false)
  })

  it('own no others', () => {
    assert.equal(owns('apps/v1', 'ReplicaSet', 'open-7d9c', '7d9c'), false)
    assert.equal(owns('apps/v1', 'ReplicaSet', 'web-7d9c', 'other'), false)
    assert.equal(owns('apps/v1', 'ReplicaSet', 'web-7d9c'), false)
    assert.equal(owns('batch.volcano.sh/v1', 'Job', 'nightly-1'), false)
    assert.equal(owns('v1', 'Node', 'web'), false)
    assert.equal(workloads.ownsPod({}, 'shop'), false)
    assert.equal(workloads.ownsPod(undefined, 'shop'), false)
    assert.equal(workloads.ownsPod(podOf('apps/v1', 'StatefulSet', 'db'), 'other'), false)
  })

  it('follow the flag', async () => {
    put('apps', 'deployments', 'open', flag)
    await waitUntil('flagged', () => owns('apps/v1', 'ReplicaSet', 'open-1', '1'))
    put('apps', 'deployments', 'open', {})
    await waitUntil('unflagged', () => !owns('apps/v1', 'ReplicaSet', 'open-1', '1'))
  })
})
