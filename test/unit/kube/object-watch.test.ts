import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { KubeClient } from '../../../src/kube/client.ts'
import { ObjectWatch, type ObjectWatchOptions } from '../../../src/kube/object-watch.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { endWatchesAtOnce, frozenClock } from '../../support/short-watches.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { fastClock } from '../puller/cluster-bridge.ts'

const namespace = 'kip'
const maps = { group: '', version: 'v1', plural: 'configmaps', namespace }

describe('ObjectWatch', () => {
  let kube: FakeKube
  let client: KubeClient
  let watch: ObjectWatch<string>
  let told: (string | undefined)[]
  /** Runs between the server's answer to a read and its coming. */
  let afterRead: (() => Promise<void>) | undefined
  let stop: () => Promise<void>

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
    told = []
    afterRead = undefined
    const read = client.request.bind(client)
    client.request = (request) => read<never>(request).finally(() => afterRead?.())
    // Whoever may only get and watch.
    kube.fault = ({ path, query }) =>
      path.endsWith('/configmaps') && query.watch !== 'true'
        ? { status: 403, reason: 'Forbidden' }
        : undefined
    begin()
  })
  afterEach(async () => {
    await stop()
    await client.close()
    await kube.stop()
  })

  function begin(options: Partial<ObjectWatchOptions<string>> = {}): void {
    watch = new ObjectWatch<string>({
      client,
      resource: maps,
      name: 'one',
      project: (raw) => raw.metadata?.labels?.version,
      onChange: () => {
        told.push(watch.value)
      },
      log: silentLog(),
      clock: fastClock,
      ...options,
    })
    const controller = new AbortController()
    const ended = watch.run(controller.signal)
    stop = async () => {
      controller.abort()
      await ended
    }
  }

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
    assert.ok(told.length >= 3)
  })

  for (const [what, before] of [
    ['of which there is an older state', '2'],
    ['that is not there', undefined],
  ] as const) {
    it(`goes on with an object ${what} in a cluster that went back in time`, async () => {
      put('1')
      await becomes('1')
      await kube.stop()
      kube.store.restoreAt(500)
      if (before === undefined) kube.delete(maps, 'one')
      else put(before)
      await kube.start()
      await becomes(before)
      put('3')
      await becomes('3')
      kube.delete(maps, 'one')
      await becomes(undefined)
    })
  }

  it('takes the newer one of a read and of what the watch tells meanwhile', async () => {
    put('1')
    await becomes('1')
    await watch.synced
    let held = true
    afterRead = async () => {
      afterRead = undefined
      put('2')
      await becomes('2')
      held = false
    }
    kube.endWatches()
    await waitUntil('a read', () => !held)
    put('3')
    await becomes('3')
    assert.ok(told.lastIndexOf('1') < told.indexOf('2'), told.join())
  })

  for (const there of [true, false]) {
    const what = there ? 'there' : 'not there'
    it(`waits longer and longer for a server that ends each watch at once, of an object that is ${what}`, async () => {
      await stop()
      if (there) put('1')
      endWatchesAtOnce(kube)
      const log = silentLog()
      begin({ log, clock: frozenClock, random: () => 0.5 })
      await waitUntil('some failures', () => log.lines.length >= 4, 5000)
      const waits = log.lines.slice(0, 4).map(({ fields }) => Object(fields).waitMs)
      assert.deepEqual(waits, [1200, 2400, 4800, 9600])
    })
  }
})
