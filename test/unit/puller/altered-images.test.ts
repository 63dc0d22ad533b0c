import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import type { DaemonSet, Pod } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { AlteredImages, replacedMembers } from '../../../src/puller/altered-images.ts'
import { buildDaemonSet, readDaemonSet } from '../../../src/puller/daemon-set.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { connect, daemonSets, fastClock, mutated } from './cluster-bridge.ts'
import { pullerSettings } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const altered = 'r.test/altered:1'
const others = ['r.test/a:1', 'r.test/b:1']

/** What mutators in use make of a reference. */
const mutators = [
  ['pins the digest', `${altered}@sha256:${'0'.repeat(64)}`],
  ['points at another registry', 'copies.test/altered:1'],
] as const

describe('an image whose reference another mutator changes', () => {
  let kube: FakeKube
  let cluster: SimulatedCluster
  let store: ImageStore
  let stops: (() => Promise<void> | void)[]

  beforeEach(async () => {
    kube = await startFakeKube()
    cluster = new SimulatedCluster(['n1', 'n2'])
    store = createMemoryStore()
    stops = []
  })

  afterEach(async () => {
    for (const stop of stops.reverse()) await stop()
    await kube.stop()
  })

  /** Runs a puller behind a client. */
  function start(client: KubeClient, images: readonly string[] = [altered, ...others]) {
    const log = silentLog()
    const controller = new AbortController()
    const IMAGES = images.map((image, index) => `i${index}=${image}`).join(';')
    const env = {
      ...{ NAMESPACE: 'kip', DAEMONSET_NAME: 'kip', IMAGES },
      KIP_PULLER_STRATEGY: 'init',
    }
    const ended = createPuller({
      client,
      store,
      settings: loadSettings({ argv: [], env, readFile: () => '' }).settings,
      mapping: createMapping({ registry: '', mapping: 'path' }),
      log,
      metrics: createMetrics({ processMetrics: false }),
      clock: fastClock,
    }).run(controller.signal)
    stops.push(async () => {
      controller.abort()
      await ended
      await client.close()
    })
    return log
  }

  function names(): string {
    return kube
      .list(daemonSets)
      .map(({ metadata }) => metadata?.name ?? '')
      .join()
  }

  /** All are held for good, and nothing else is there. */
  async function untilHeld(images: readonly string[]): Promise<void> {
    const isHeld = (): boolean =>
      names() === 'kip' && cluster.members('kip').join() === images.join()
    await waitUntil('all to be held', isHeld, 10_000)
  }

  /** The others are held for good, nothing else is there, and DaemonSets are left in peace. */
  async function untilAtRest(becomes: string): Promise<void> {
    await waitUntil(
      'the others to be held alone',
      () => names() === 'kip' && cluster.members('kip').join() === others.join(),
      10_000,
    )
    const generation = (): string =>
      kube
        .list(daemonSets)
        .map((one) => (one as DaemonSet).metadata?.generation)
        .join()
    const before = generation()
    const end = fastClock.now() + 120_000
    await waitUntil('two minutes', () => fastClock.now() >= end, 5000)
    assert.equal(generation(), before)
    assert.equal(names(), 'kip')
    assert.ok(!cluster.isHeld('n1', becomes))
    assert.deepEqual(
      cluster.losses.filter((loss) => others.some((one) => loss.includes(one))),
      [],
    )
  }

  async function expectTold(log: ReturnType<typeof silentLog>, becomes: string): Promise<void> {
    await waitUntil('the reason', () => store.get(altered)?.nodes?.reason === 'Altered')
    const messages = log.lines.map(({ message }) => message)
    assert.ok(!messages.includes('a round failed, trying again'))
    const told = log.lines.filter(({ message }) => message.startsWith('images are not held'))
    assert.deepEqual(
      told.map(({ level, fields }) => [level, fields]),
      [['warn', { images: [altered], count: 1, becomes }]],
    )
  }

  for (const [does, becomes] of mutators) {
    it(`is left out, and rolls nothing for ever, where that ${does} in DaemonSets`, async () => {
      for (const image of [altered, ...others]) await put(image)
      stops.push(connect(kube, cluster))
      const log = start(mutated(kube.client(), (json) => alter(json, becomes)))
      await untilAtRest(becomes)
      await expectTold(log, becomes)
    })

    it(`is left out, and keeps nothing new from nodes, where that ${does} in pods`, async () => {
      for (const image of [altered, ...others]) await put(image)
      stops.push(connect(kube, cluster, (pod) => alter(pod, becomes)))
      const log = start(kube.client())
      await untilAtRest(altered)
      await expectTold(log, becomes)
    })
  }

  it('leaves what is held for good once that is stored with another name, and nothing else', async () => {
    const [[, becomes]] = mutators
    let isThere = false
    const [first = '', last = ''] = others
    for (const image of [altered, first]) await put(image)
    stops.push(connect(kube, cluster))
    const admit = (json: string): string => (isThere ? alter(json, becomes) : json)
    const log = start(mutated(kube.client(), admit), [altered, first])
    const held = (): string => cluster.members('kip').join()
    await waitUntil('both to be held', () => held() === [first, altered].join(), 10_000)
    isThere = true
    await put(last)
    await untilAtRest(becomes)
    await expectTold(log, becomes)
  })

  it('stays where it is held for good, and counts where pods name it', async () => {
    const images = [altered, ...others].toSorted()
    for (const image of images) await put(image)
    const [[, becomes]] = mutators
    stops.push(connect(kube, cluster, (pod) => (pod.includes('"n3"') ? alter(pod, becomes) : pod)))
    start(kube.client())
    const held = (): string => cluster.members('kip').join()
    await waitUntil('all to be held', () => held() === images.join(), 10_000)
    await waitUntil('the counts', () => store.get(altered)?.nodes?.cached === 2, 10_000)
    cluster.addNode('n3')
    const isTold = (): boolean => store.get(altered)?.nodes?.reason === 'Altered'
    await waitUntil('the reason', isTold, 10_000)
    await waitUntil('the others there', () => store.get(others[0] ?? '')?.nodes?.cached === 3)
    const end = fastClock.now() + 120_000
    await waitUntil('two minutes', () => fastClock.now() >= end, 5000)
    assert.equal(store.get(altered)?.nodes?.cached, 2)
    assert.equal(held(), images.join())
    assert.deepEqual(cluster.losses, [])
  })

  it('is set apart as any other when it fails by its own name, where one pod once named another', async () => {
    const images = [altered, ...others].toSorted()
    for (const image of images) await put(image)
    const [[, becomes]] = mutators
    let isThere = true
    const isAltered = (pod: string): boolean => isThere && pod.includes('"n3"')
    stops.push(connect(kube, cluster, admission(isAltered, becomes)))
    start(kube.client())
    await untilHeld(images)
    cluster.addNode('n3')
    const nodes = () => store.get(altered)?.nodes
    await waitUntil('the reason', () => nodes()?.reason === 'Altered', 10_000)
    isThere = false
    cluster.behave = (image, node) => (image === altered && node === 'n4' ? 'missing' : 'good')
    cluster.addNode('n4')
    const last = others.at(-1) ?? ''
    await waitUntil('what comes after it', () => cluster.isHeld('n4', last), 10_000)
    await waitUntil('it to leave', () => cluster.members('kip').join() === others.join(), 10_000)
    await waitUntil('the failure', () => nodes()?.failed === 1)
    const end = fastClock.now() + 120_000
    await waitUntil('two minutes', () => fastClock.now() >= end, 5000)
    assert.deepEqual(cluster.members('kip-apart'), [altered])
    assert.ok(cluster.isHeld('n1', altered))
    assert.deepEqual(cluster.losses, [])
  })

  it('keeps what comes after it from no node where what it becomes cannot be pulled', async () => {
    const images = [altered, ...others].toSorted()
    for (const image of images) await put(image)
    const [, [, becomes]] = mutators
    stops.push(connect(kube, cluster, (pod) => (pod.includes('"n3"') ? alter(pod, becomes) : pod)))
    const log = start(kube.client())
    await untilHeld(images)
    cluster.behave = (image, node) => (image === altered && node === 'n3' ? 'missing' : 'good')
    cluster.addNode('n3')
    const last = others.at(-1) ?? ''
    await waitUntil('what comes after it', () => cluster.isHeld('n3', last), 10_000)
    await untilAtRest(becomes)
    await expectTold(log, becomes)
  })

  it('is what a pod names something else in place of, and not what came besides', () => {
    const members = ['a', 'b', 'c'].map((reference) => ({ reference, container: reference }))
    const object = buildDaemonSet(
      { kind: 'holding', index: 1, members },
      { namespace: 'kip', settings: pullerSettings, strategy: 'init', owner: undefined },
    )
    const shard = readDaemonSet(object, pullerSettings.daemonSetName)
    assert.ok(shard)
    const meantAt = replacedMembers([shard])
    const replaced = (images: Readonly<Record<string, string>>, template = shard.template) => {
      const lists = { images: Object.values(images), containers: Object.keys(images) }
      const pod = {
        ...{ name: 'p', shard: 'kip', node: 'n1', template, ready: true, lost: false },
        ...{ ...lists, verdicts: [], failures: new Map() },
      }
      return lists.images.map((_, place) => meantAt(pod, place))
    }
    const none = undefined
    const well = { a: 'a', b: 'b', c: 'c' }
    assert.deepEqual(replaced(well), [none, none, none])
    assert.deepEqual(replaced({ ...well, b: 'x' }), [none, 'b', none])
    assert.deepEqual(replaced({ mesh: 'mesh', ...well }), [none, none, none, none])
    assert.deepEqual(replaced({ mesh: 'mesh', a: 'x', b: 'y', c: 'c' }), [none, 'a', 'b', none])
    assert.deepEqual(replaced({ ...well, b: 'x' }, 'old'), [none, none, none])
  })

  it('is tried again after ten minutes, and four times as late each time, up to a day', () => {
    const known = new AlteredImages()
    const wanted = new Map([[altered, {}]])
    const minutes: number[] = []
    let now = 0
    for (let time = 0; time < 6; time++) {
      known.note(new Map([[altered, 'x']]), now)
      // Seen all the while.
      known.note(new Map([[altered, 'x']]), now + 1)
      assert.deepEqual([...known.among(wanted, now + 1)], [[altered, 'x']])
      const next = known.wakeAt(now + 1)
      assert.equal(known.among(wanted, next).size, 0)
      minutes.push((next - now) / 60_000)
      now = next
    }
    assert.deepEqual(minutes, [10, 40, 160, 640, 1440, 1440])
    assert.equal(known.wakeAt(now), Number.POSITIVE_INFINITY)
    known.note(new Map(), now + 86_400_000)
    known.note(new Map([[altered, 'x']]), now + 86_400_000)
    assert.equal(known.wakeAt(now + 86_400_000), now + 86_400_000 + 600_000)
    assert.equal(known.among(new Map(), now + 86_400_001).size, 0)
  })

  async function put(image: string): Promise<void> {
    const usage = {
      ...{ wanted: ['Static' as const], pods: 0, workloads: 0, namespaces: 0, owners: [] },
      firstSeen: '2026-01-01T00:00:00Z',
    }
    await store.putUsage(image, usage, new AbortController().signal)
  }
})

/** A mutating webhook for pods: what it made of one when that came stays. */
function admission(isAltered: (pod: string) => boolean, becomes: string): (pod: string) => string {
  const known = new Map<string, boolean>()
  return (pod) => {
    const { metadata } = JSON.parse(pod) as Pod
    const name = metadata?.name ?? ''
    const is = known.get(name) ?? isAltered(pod)
    known.set(name, is)
    return is ? alter(pod, becomes) : pod
  }
}

function alter(json: string, becomes: string): string {
  return json.replaceAll(`"image":"${altered}"`, `"image":"${becomes}"`)
}
