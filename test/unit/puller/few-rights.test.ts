import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { connect, daemonSets, fastClock } from './cluster-bridge.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const three = ['r.test/a:1', 'r.test/b:1', 'r.test/c:1']

for (const [whose, verbs] of [
  ["KIP's Role", ['create', 'delete', 'list', 'watch', 'get']],
  ["the multi-cluster mode's users", ['create', 'delete', 'watch', 'get']],
] as const) {
  describe(`the puller under the verbs of ${whose}`, () => {
    let kube: FakeKube
    let cluster: SimulatedCluster
    let disconnect: () => void
    let stops: (() => Promise<void>)[]

    beforeEach(async () => {
      kube = await startFakeKube()
      cluster = new SimulatedCluster(['n1', 'n2'])
      disconnect = connect(kube, cluster)
      stops = []
      kube.fault = ({ method, path, query }) => {
        if (path.includes('selfsubjectaccessreviews')) return { status: 404, reason: 'NotFound' }
        const isDaemonSet = path.includes('/daemonsets')
        const isOne = path.includes('/daemonsets/')
        const verb = { POST: 'create', DELETE: 'delete', PATCH: 'patch', PUT: 'update' }[method]
        const read = query.watch === 'true' ? 'watch' : isOne ? 'get' : 'list'
        const allowed: readonly string[] = verbs
        if (isDaemonSet && allowed.includes(verb ?? read)) return undefined
        const kind = isDaemonSet ? 'daemonsets' : 'pods'
        const message = `User "x" cannot ${verb ?? read} resource "${kind}" in API group "apps"`
        return { status: 403, reason: 'Forbidden', message }
      }
    })

    afterEach(async () => {
      for (const stop of stops) await stop()
      disconnect()
      await kube.stop()
    })

    function start(
      images: readonly string[],
      cpu = '10m',
      more: Readonly<Record<string, string>> = {},
    ) {
      const client = kube.client()
      const log = silentLog()
      const controller = new AbortController()
      const { settings } = loadSettings({
        argv: [],
        env: {
          NAMESPACE: 'kip',
          DAEMONSET_NAME: 'kip',
          IMAGES: images.map((image, index) => `image${index}=${image}`).join(';'),
          CACHING_CPU_REQUEST: cpu,
          ...more,
        },
        readFile: () => '',
      })
      const ended = createPuller({
        client,
        store: createMemoryStore(),
        settings,
        mapping: createMapping({ registry: '', mapping: 'path' }),
        log,
        metrics: createMetrics({ processMetrics: false }),
        clock: fastClock,
      }).run(controller.signal)
      const stop = async (): Promise<void> => {
        controller.abort()
        await ended
        await client.close()
      }
      stops.push(stop)
      return { stop, log }
    }

    const names = (): readonly string[] =>
      kube.list(daemonSets).map(({ metadata }) => metadata?.name ?? '')
    const holds = (images: readonly string[]) => (): boolean => {
      const [name = '', ...rest] = names()
      return (
        rest.length === 0 &&
        !name.includes('fresh') &&
        cluster.members(name).join() === images.join() &&
        images.every((image) => cluster.isHeld('n1', image) && cluster.isHeld('n2', image))
      )
    }
    const patches = () => kube.requests.filter(({ method }) => method === 'PATCH')

    it('leads images to one DaemonSet, and a change to its successor, losing none', async () => {
      const first = start(three)
      await waitUntil('the images to be held', holds(three), 10_000)
      await first.stop()
      const [before] = names()
      const refused = patches().length
      const four = [...three, 'r.test/d:1']
      start(four)
      await waitUntil('the fourth to be held', holds(four), 10_000)
      assert.notEqual(names()[0], before, 'a successor has another name')
      assert.deepEqual(cluster.losses, [])
      assert.ok(refused <= 1, 'a refusal to patch is believed')
    })

    it('changes nothing when it starts again', async () => {
      const first = start(three)
      await waitUntil('the images to be held', holds(three), 10_000)
      await first.stop()
      const before = kube.list(daemonSets).map(({ metadata }) => metadata?.uid)
      start(three)
      await waitUntil('a second look', elapsed(60), 5000)
      assert.deepEqual(
        kube.list(daemonSets).map(({ metadata }) => metadata?.uid),
        before,
      )
    })

    it('follows changed settings, and undoes what somebody edited, by successors', async () => {
      const first = start(three)
      await waitUntil('the images to be held', holds(three), 10_000)
      await first.stop()
      start(three, '20m')
      const isSet = (text: string) => () =>
        holds(three)() && JSON.stringify(kube.list(daemonSets)).includes(text)
      await waitUntil('the request', isSet('"cpu":"20m"'), 10_000)
      const [name = ''] = names()
      const live = kube.get(daemonSets, name)
      kube.put(daemonSets, JSON.parse(JSON.stringify(live).replace('"25%"', '"1%"')))
      await waitUntil('it to be undone', isSet('"maxSurge":"25%"'), 10_000)
      assert.notEqual(names()[0], name)
      assert.deepEqual(cluster.losses, [])
    })

    it('says that nobody opens the startup gate, and holds images all the same', async () => {
      const { log } = start(three, '10m', { KIP_PULLER_STARTUP_TAINT_SECONDS: '300' })
      await waitUntil('the images to be held', holds(three), 10_000)
      const errors = log.lines.filter(({ level }) => level === 'error')
      assert.deepEqual(
        errors.map(({ message }) => message),
        ['nodes may not be listed: none is released of the startup taint'],
      )
    })

    it('makes again what was deleted', async () => {
      start(three)
      await waitUntil('the images to be held', holds(three), 10_000)
      kube.delete(daemonSets, names()[0] ?? '')
      await waitUntil('it to be made again', holds(three), 10_000)
    })
  })
}

function elapsed(seconds: number): () => boolean {
  const end = fastClock.now() + seconds * 1000
  return () => fastClock.now() >= end
}
