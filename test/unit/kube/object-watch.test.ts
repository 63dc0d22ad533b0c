import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { KubeClient } from '../../../src/kube/client.ts'
import { ObjectWatch } from '../../../src/kube/object-watch.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { fastClock } from '../puller/cluster-bridge.ts'

const namespace = 'kip'
const maps = { group: '', version: 'v1', plural: 'configmaps', namespace }

describe('ObjectWatch', () => {
  let kube: FakeKube
  let client: KubeClient
  let watch: ObjectWatch<string>
  let changes: number
  let stop: () => Promise<void>

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
    changes = 0
    watch = new ObjectWatch<string>({
      client,
      resource: maps,
      name: 'one',
      project: (raw) => raw.metadata?.labels?.version,
      onChange: () => {
        changes += 1
      },
      log: silentLog(),
      clock: fastClock,
    })
    const controller = new AbortController()
    // Whoever may only get and watch.
    kube.fault = ({ path, query }) =>
      path.endsWith('/configmaps') && query.watch !== 'true'
        ? { status: 403, reason: 'Forbidden' }
        : undefined
    const ended = watch.run(controller.signal)
    stop = async () => {
      controller.abort()
      await ended
    }
  })
  afterEach(async () => {
    await stop()
    await client.close()
    await kube.stop()
  })

  function put(version: string, name = 'one'): void {
    const metadata = { name, namespace, labels: { version } }
    kube.put(maps, { apiVersion: 'v1', kind: 'ConfigMap', metadata })
  }
  const becomes = (value: string | undefined) =>
    waitUntil(`${value}`, () => watch.value === value, 5000)

  it('is in step when the object is missing, comes, changes and goes', async () => {
    await watch.synced
    assert.equal(watch.value, undefined)
    put('1')
    await becomes('1')
    put('other', 'two')
    put('2')
    await becomes('2')
    kube.delete(maps, 'one')
    await becomes(undefined)
  })

  it('notices what went while it was cut off', async () => {
    put('1')
    await becomes('1')
    await kube.stop()
    kube.delete(maps, 'one')
    await kube.start()
    await becomes(undefined)
    put('2')
    await becomes('2')
    assert.ok(changes >= 3)
  })
})
