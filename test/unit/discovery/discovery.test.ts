import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, type Mock, mock } from 'node:test'
import { defaultSettings } from '../../../src/config/leaves.ts'
import type { DiscoverySettings } from '../../../src/config/settings.ts'
import { createDiscovery, type Discovery } from '../../../src/discovery/discovery.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import type { EventNote } from '../../../src/kube/events.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createExclusions } from '../../../src/state/exclusions.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { ConflictError, type ImageStore } from '../../../src/state/store.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const registry = 'backup.test:5001/m'
const digest = `sha256:${'a'.repeat(64)}`
const flag = { 'images.kip/ignore': 'true' }
const library = (name: string): string => `docker.io/library/${name}`

describe('discovery', () => {
  let kube: FakeKube
  let store: ImageStore
  let writes: number
  let clock: ManualClock
  let now: number
  let log: ReturnType<typeof silentLog>
  let events: EventNote[]
  let discovery: Discovery
  let unpulled: string[]
  let leaving: string[]
  let demandsAsked: boolean
  let demandsTold: number
  /** What was asked for as a stream, and what takes it. */
  let streams: Mock<KubeClient['stream']>
  let stop: () => Promise<void>

  const resource = (group: string, plural: string, namespace?: string): ResourcePath => ({
    group,
    version: 'v1',
    plural,
    ...(namespace === undefined ? {} : { namespace }),
  })
  const put = (group: string, plural: string, namespace: string, object: object): void => {
    const { metadata, ...rest } = object as { metadata: { name: string } }
    const full = { metadata: { ...metadata, namespace }, ...rest } as FakeObject
    kube.put(resource(group, plural, namespace), full)
  }
  const namespace = (name: string, metadata: object = {}): void => {
    kube.put(resource('', 'namespaces'), { metadata: { name, ...metadata } } as FakeObject)
  }
  const spec = (...images: string[]): object => ({
    containers: images.map((image, i) => ({ name: `c${i}`, image })),
  })
  const pod = (ns: string, name: string, image: string, metadata: object = {}): void =>
    put('', 'pods', ns, { metadata: { name, ...metadata }, spec: spec(image) })
  const deployment = (ns: string, name: string, image: string, metadata: object = {}): void =>
    put('apps', 'deployments', ns, {
      metadata: { name, ...metadata },
      spec: { replicas: 0, template: { spec: spec(image) } },
    })

  const run = async ({
    images = [],
    ...change
  }: { images?: string[] } & Partial<DiscoverySettings> = {}): Promise<void> => {
    const client = kube.client()
    streams = mock.method(client, 'stream')
    const settings = {
      namespace: 'k8s-image-puller',
      discovery: {
        ...defaultSettings.discovery,
        ignoreNamespaces: ['left-out'],
        keepSeconds: 3600,
        ...change,
      },
      puller: { images: images.map((image) => ({ name: 'x', image })) },
    }
    const exclusions = createExclusions({ client, settings, log })
    discovery = createDiscovery({
      client,
      store,
      exclusions,
      mapping: createMapping({ registry, mapping: 'path' }),
      settings,
      log,
      metrics: createMetrics({ processMetrics: false }),
      events: { record: (note) => events.push(note), close: async () => {} },
      onUnpulled: (reference) => unpulled.push(reference),
      onLeaving: ({ metadata }) => leaving.push(metadata?.name ?? ''),
      demands: {
        isAsked: () => demandsAsked,
        onChange: () => {
          demandsTold++
        },
      },
      clock,
      now: () => now,
    })
    const controller = new AbortController()
    const running = [discovery.run(controller.signal), exclusions.run(controller.signal)]
    stop = async () => {
      controller.abort()
      await Promise.all(running)
      await client.close()
      stop = async () => {}
    }
    await waitUntil('everything is read', () =>
      log.lines.some(({ message }) => message === 'all workloads read'),
    )
  }
  /** Waits for a state of the store, turning the clock on meanwhile. */
  const become = <T>(what: string, check: () => T): Promise<unknown> =>
    waitUntil(what, () => {
      clock.advance(250)
      return check()
    })
  const users = (reference: string): string[] | undefined =>
    store
      .get(reference)
      ?.usage?.owners.map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`)
  const known = (): string[] => [...store.list()].map(({ reference }) => reference).sort()

  beforeEach(async () => {
    kube = await startFakeKube()
    store = createMemoryStore()
    writes = 0
    store.onChange(() => {
      writes++
    })
    clock = new ManualClock()
    now = Date.parse('2026-03-01T12:00:00Z')
    log = silentLog()
    events = []
    unpulled = []
    leaving = []
    demandsAsked = false
    demandsTold = 0
    for (const name of ['shop', 'lone', 'kube-system', 'k8s-image-puller', 'left-out']) {
      namespace(name)
    }
    namespace('flagged', { annotations: flag })
  })
  afterEach(async () => {
    await stop()
    await kube.stop()
  })

  it('gathers changes of pods, of which there are many, and of nothing else', async () => {
    pod('shop', 'web', 'nginx:1')
    await run()
    const gathered = streams.mock.calls
      .map(({ arguments: [{ path }, sink] }) => ({ path, ms: sink.restMs?.() ?? 0 }))
      .filter(({ ms }) => ms > 0)
    assert.deepEqual(gathered, [{ path: '/api/v1/pods', ms: 100 }])
  })

  it('tells with which pull secrets the pods of an image come, of namespaces that count', async () => {
    const login = (ns: string, name: string, secret: string, metadata: object = {}): void =>
      put('', 'pods', ns, {
        metadata: { name, ...metadata },
        spec: { ...spec('nginx:1'), imagePullSecrets: [{ name: secret }] },
      })
    login('shop', 'web', 'shop-login')
    login('shop', 'opted-out', 'other-login', { annotations: flag })
    login('left-out', 'hidden', 'hidden-login')
    pod('lone', 'bare', 'nginx:1')
    deployment('shop', 'hidden', 'redis:7', { labels: flag })
    await run()
    assert.deepEqual(discovery.pullIdentities([library('nginx:1')])?.get(library('nginx:1')), [
      { namespace: 'lone', secrets: [] },
      { namespace: 'shop', secrets: ['shop-login'] },
    ])
    await stop()
    assert.equal(discovery.pullIdentities([library('nginx:1')]), undefined)
  })

  it('tells no pull secrets of pods whose workload is opted out by a flag of its own', async () => {
    const login = (name: string, owner: string): void => {
      const controller = { apiVersion: 'apps/v1', kind: 'DaemonSet', name: owner, uid: owner }
      put('', 'pods', 'shop', {
        metadata: { name, ownerReferences: [{ ...controller, controller: true }] },
        spec: { ...spec('nginx:1'), imagePullSecrets: [{ name: `${owner}-login` }] },
      })
    }
    const daemonSet = (name: string, metadata: object = {}): void =>
      put('apps', 'daemonsets', 'shop', {
        metadata: { name, ...metadata },
        spec: { template: { spec: spec('nginx:1') } },
      })
    daemonSet('opted-out', { labels: flag })
    daemonSet('open')
    login('a', 'opted-out')
    login('b', 'open')
    await run()
    const told = () => discovery.pullIdentities([library('nginx:1')])?.get(library('nginx:1'))
    assert.deepEqual(told(), [{ namespace: 'shop', secrets: ['open-login'] }])
    daemonSet('opted-out')
    await become('both', () => told()?.length === 2)
  })

  it('names the namespace that uses an image with too many pull secrets, once', async () => {
    for (let i = 0; i < 65; i++) {
      put('', 'pods', i === 0 ? 'lone' : 'shop', {
        metadata: { name: `web-${i}` },
        spec: { ...spec('nginx:1'), imagePullSecrets: [{ name: `login-${i}` }] },
      })
    }
    await run()
    const told = () => discovery.pullIdentities([library('nginx:1')])?.get(library('nginx:1'))
    assert.equal(told()?.length, 64)
    assert.equal(told()?.[0]?.namespace, 'lone')
    const warned = log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)
    assert.deepEqual(warned, [{ image: library('nginx:1'), namespace: 'shop' }])
  })

  it('tells on which nodes the users of an image may run, if anybody asks', async () => {
    const image = library('nginx:1')
    const demand = (pool: string) => ({
      terms: [[{ key: 'pool', operator: 'In', values: [pool] }]],
      tolerations: [],
    })
    const selecting = (pool: string): void =>
      put('', 'pods', 'shop', {
        metadata: { name: 'web' },
        spec: { ...spec('nginx:1'), nodeSelector: { pool } },
      })
    selecting('a')
    await run()
    await become('the image', () => known().length === 1)
    assert.equal(discovery.demandsOf(image), undefined)
    await stop()
    demandsAsked = true
    await run()
    await become('the demand', () => discovery.demandsOf(image))
    assert.deepEqual(discovery.demandsOf(image), [demand('a')])
    const told = demandsTold
    selecting('b')
    await become('the change', () => demandsTold > told)
    assert.deepEqual(discovery.demandsOf(image), [demand('b')])
    kube.delete(resource('', 'pods', 'shop'), 'web')
    await become('no user', () => discovery.demandsOf(image)?.length === 0)
  })

  it('tells which nodes have the pods that a roll-out is to replace', async () => {
    const owned = (kind: string, name: string) => ({
      ownerReferences: [{ apiVersion: 'apps/v1', kind, name, controller: true, uid: name }],
    })
    const replicas = (name: string, image: string): void =>
      put('apps', 'replicasets', 'shop', {
        metadata: { name, ...owned('Deployment', 'web') },
        spec: { replicas: 1, template: { spec: spec(image) } },
      })
    const replica = (name: string, owner: string, image: string, nodeName: string): void =>
      put('', 'pods', 'shop', {
        metadata: { name, ...owned('ReplicaSet', owner) },
        spec: { ...spec(image), nodeName },
      })
    deployment('shop', 'web', 'nginx:2')
    replicas('web-1', 'nginx:1')
    replicas('web-2', 'nginx:2')
    replica('web-1-a', 'web-1', 'nginx:1', 'n1')
    replica('web-1-b', 'web-1', 'nginx:1', 'n2')
    replica('web-1-c', 'web-1', 'nginx:1', '')
    replica('web-2-a', 'web-2', 'nginx:2', 'n3')
    put('', 'pods', 'shop', {
      metadata: { name: 'other' },
      spec: { ...spec('nginx:1'), nodeName: 'n4' },
    })
    await run()
    assert.deepEqual(discovery.nodesBefore(library('nginx:2')), ['n1', 'n2'])
    assert.deepEqual(discovery.nodesBefore(library('nginx:1')), ['n3'], 'a way back is one too')
    assert.deepEqual(discovery.nodesBefore(library('redis:7')), [])
  })

  it('finds pods and workloads, those that never ran too, and no others', async () => {
    pod('shop', 'bare', 'nginx:1')
    deployment('shop', 'zero', 'redis:7')
    put('batch', 'cronjobs', 'shop', {
      metadata: { name: 'nightly' },
      spec: { jobTemplate: { spec: { template: { spec: spec('busybox:1') } } } },
    })
    for (const ns of ['kube-system', 'k8s-image-puller', 'left-out', 'flagged']) {
      pod(ns, 'hidden', `hidden-${ns}:1`)
      deployment(ns, 'hidden', `hidden-${ns}:1`)
    }
    pod('shop', 'flagged-pod', 'hidden:2', { annotations: flag })
    deployment('shop', 'flagged-workload', 'hidden:3', { labels: flag })
    await run()
    await become('all three', () => known().length === 3)
    assert.deepEqual(known(), ['busybox:1', 'nginx:1', 'redis:7'].map(library))
    assert.deepEqual(users(library('nginx:1')), ['Pod shop/bare'])
    assert.deepEqual(users(library('redis:7')), ['Deployment shop/zero'])
    assert.deepEqual(users(library('busybox:1')), ['CronJob shop/nightly'])
    assert.equal(store.get(library('redis:7'))?.usage?.pods, 0)
    assert.deepEqual(discovery.waiting(), [])
  })

  it('tells of an image that a node could not pull', async () => {
    await run()
    const waiting = (reason: string) => ({
      metadata: { name: 'web' },
      spec: spec('nginx:1'),
      status: { containerStatuses: [{ name: 'c0', state: { waiting: { reason } } }] },
    })
    put('', 'pods', 'shop', waiting('ContainerCreating'))
    await become('pod is known', () => known().length === 1)
    assert.deepEqual(unpulled, [])
    put('', 'pods', 'shop', waiting('ErrImagePull'))
    await become('failed pull is told', () => unpulled.length > 0)
    assert.deepEqual(unpulled, [library('nginx:1')])
  })

  it('tells of every pod that is being deleted', async () => {
    await run()
    pod('shop', 'stays', 'nginx:1')
    pod('shop', 'goes', 'nginx:1')
    await become('both are known', () => store.get(library('nginx:1'))?.usage?.pods === 2)
    assert.deepEqual(leaving, [])
    pod('shop', 'goes', 'nginx:1', { deletionTimestamp: new Date(now).toISOString() })
    await become('the end is told', () => leaving.length > 0)
    assert.deepEqual(leaving, ['goes'])
  })

  it('follows what comes, changes and goes, and keeps the unused for a while', async () => {
    await run()
    deployment('shop', 'web', 'nginx:1')
    await become('the first', () => users(library('nginx:1')))
    deployment('shop', 'web', 'nginx:2')
    await become('the second', () => users(library('nginx:2')))
    await become('the first unused', () => store.get(library('nginx:1'))?.usage?.lastSeen)
    assert.deepEqual(store.get(library('nginx:1'))?.usage?.wanted, ['InUse'])
    now += 3_599_000
    clock.advance(3_599_000)
    assert.ok(store.get(library('nginx:1')))
    now += 2_000
    await become('the first gone', () => store.get(library('nginx:1')) === undefined)
    assert.deepEqual(known(), [library('nginx:2')])
  })

  it('keeps the time of the last use over a restart', async () => {
    await run()
    pod('shop', 'x', 'nginx:1')
    await become('found', () => users(library('nginx:1')))
    kube.delete(resource('', 'pods', 'shop'), 'x')
    const lastSeen = await become('unused', () => store.get(library('nginx:1'))?.usage?.lastSeen)
    await stop()
    now += 1_800_000
    log.lines.length = 0
    await run()
    clock.advance(60_000)
    assert.equal(store.get(library('nginx:1'))?.usage?.lastSeen, lastSeen)
    now += 1_801_000
    clock.advance(1_800_000)
    await become('gone', () => known().length === 0)
  })

  it('follows the flag of a namespace, live', async () => {
    pod('shop', 'x', 'nginx:1')
    pod('flagged', 'x', 'redis:7')
    await run()
    await become('the open one', () => users(library('nginx:1')))
    namespace('shop', { labels: flag })
    await become('opted out, so not kept', () => store.get(library('nginx:1')) === undefined)
    namespace('shop')
    await become('back', () => users(library('nginx:1')))
    namespace('flagged', { labels: { other: 'x' }, annotations: { 'images.kip/ignore': 'false' } })
    await become('the other too', () => users(library('redis:7')))
  })

  it('follows the selector of namespaces, live', async () => {
    pod('shop', 'x', 'nginx:1')
    pod('lone', 'x', 'redis:7')
    namespace('lone', { labels: { care: 'yes' } })
    await run({ namespaceSelector: { matchLabels: { care: 'yes' } } })
    await become('the selected one', () => users(library('redis:7')))
    assert.deepEqual(known(), [library('redis:7')])
    namespace('shop', { labels: { care: 'yes' } })
    namespace('lone')
    await become('selected, and not any more', () => known().join() === library('nginx:1'))
  })

  it('follows the flag of a workload with its pods, and of a pod', async () => {
    const owner = (kind: string, name: string): object => ({
      ownerReferences: [{ apiVersion: 'apps/v1', kind, name, uid: name, controller: true }],
    })
    deployment('shop', 'web', 'nginx:1')
    put('apps', 'replicasets', 'shop', {
      metadata: { name: 'web-1', ...owner('Deployment', 'web') },
      spec: { replicas: 1, template: { spec: spec('nginx:1') } },
    })
    put('', 'pods', 'shop', {
      metadata: { name: 'web-1-x', ...owner('ReplicaSet', 'web-1') },
      spec: spec('nginx:1', 'sidecar:1'),
    })
    await run()
    await become('both', () => users(library('nginx:1')) && users(library('sidecar:1')))
    assert.deepEqual(users(library('sidecar:1')), ['Deployment shop/web'])
    assert.equal(store.get(library('nginx:1'))?.usage?.pods, 1)
    deployment('shop', 'web', 'nginx:1', { labels: flag })
    await become('none', () => known().length === 0)
    deployment('shop', 'web', 'nginx:1')
    await become('both again', () => known().length === 2)
  })

  it('knows the source of a copy, and never takes a copy for an image', async () => {
    pod('shop', 'x', `${registry}/docker.io/library/nginx:1@${digest}`, {
      annotations: { 'images.kip/original-images': '{"c0":"quay.io/evil:1"}' },
    })
    await run()
    await become('the source', () => users(library('nginx:1')))
    assert.deepEqual(known(), [library('nginx:1')])
  })

  it('tells once of what is no reference, on its owner', async () => {
    deployment('shop', 'typo', 'Nginx latest')
    deployment('flagged', 'typo', 'also bad!')
    pod('shop', 'good', 'nginx:1')
    await run()
    await become('the good one', () => users(library('nginx:1')))
    deployment('shop', 'typo', 'Nginx latest', { labels: { a: 'b' } })
    pod('shop', 'good', 'nginx:2')
    await become('a later change', () => users(library('nginx:2')))
    assert.equal(events.length, 1)
    assert.deepEqual(
      [events[0]?.regarding.kind, events[0]?.regarding.metadata?.name, events[0]?.reason],
      ['Deployment', 'typo', 'InvalidImageReference'],
    )
    assert.match(events[0]?.note ?? '', /^"Nginx latest" is no image reference/)
  })

  it('holds static images without any user, and reports nobody for them', async () => {
    await run({ images: ['redis:7', 'Bad Item', 'redis:7'] })
    await become('the image', () => store.get(library('redis:7')))
    assert.deepEqual(store.get(library('redis:7'))?.usage?.wanted, ['Static'])
    pod('shop', 'x', 'redis:7')
    await become('a user', () => (users(library('redis:7'))?.length ?? 0) > 0)
    assert.deepEqual(store.get(library('redis:7'))?.usage?.wanted, ['InUse', 'Static'])
  })

  it('removes what nobody used when it starts', async () => {
    const usage = { pods: 0, workloads: 0, namespaces: 0, owners: [] }
    const firstSeen = '2025-01-01T00:00:00.000Z'
    const { signal } = new AbortController()
    await store.putUsage('quay.io/old:1', { ...usage, wanted: ['Static'], firstSeen }, signal)
    await run()
    await become('gone', () => known().length === 0)
  })

  it('leaves out what exceeds the limit of a namespace, and says so', async () => {
    for (const i of [1, 2, 3]) pod('shop', `p${i}`, `image:${i}`)
    pod('lone', 'p', 'other:1')
    await run({ imagesPerNamespace: 2 })
    await become('two and the one of the other', () => known().length === 3)
    assert.deepEqual(
      events.map(({ reason, regarding }) => [reason, regarding.metadata?.name]),
      [['TooManyImages', 'shop']],
    )
    const [left] = [1, 2, 3].filter((i) => !known().includes(library(`image:${i}`)))
    const held = left === 1 ? 2 : 1
    kube.delete(resource('', 'pods', 'shop'), `p${held}`)
    await become('room', () => known().includes(library(`image:${left}`)))
  })

  it('keeps no more of a namespace that uses one image after the other than its limit', async () => {
    pod('lone', 'once', 'other:1')
    await run({ imagesPerNamespace: 2 })
    await become('that of the other', () => known().length === 1)
    kube.delete(resource('', 'pods', 'lone'), 'once')
    const most: number[] = []
    for (const i of [1, 2, 3, 4, 5]) {
      now += 60_000
      pod('shop', 'p', `image:${i}`)
      await become(`image ${i}`, () => users(library(`image:${i}`)))
      kube.delete(resource('', 'pods', 'shop'), 'p')
      await become('unused', () => store.get(library(`image:${i}`))?.usage?.lastSeen)
      await become('no more than that', () => known().length <= 3)
      most.push(known().length)
    }
    assert.deepEqual(most, [2, 3, 3, 3, 3])
    const newest = [library('image:4'), library('image:5'), library('other:1')]
    assert.deepEqual(known(), newest)

    // What was used last is known to the next leader too.
    await stop()
    log.lines.length = 0
    await run({ imagesPerNamespace: 2 })
    for (const i of [6, 7]) pod('shop', `p${i}`, `image:${i}`)
    await become('both', () => [6, 7].every((i) => users(library(`image:${i}`))))
    await become('no others', () => known().length === 3)
    assert.deepEqual(known(), [library('image:6'), library('image:7'), library('other:1')])
    assert.deepEqual(events, [])
  })

  it('leaves out what makes a namespace too large, once sizes are known, and keeps it out', async () => {
    for (const i of [1, 2]) pod('shop', `p${i}`, `image:${i}`)
    await run({ gigabytesPerNamespace: 10 })
    await become('both', () => known().length === 2)
    const size = async (reference: string, digest: string, sizeBytes: number): Promise<void> => {
      const image = store.get(reference) ?? assert.fail(reference)
      const source = { state: 'Available' as const, digest, sizeBytes, checkedAt: '2026-01-01' }
      await store.putSource(image, source, new AbortController().signal)
    }
    await size(library('image:1'), 'sha256:1', 6e9)
    await size(library('image:2'), 'sha256:2', 6e9)
    await become('one', () => known().length === 1)
    assert.deepEqual(
      events.map(({ reason, note }) => [reason, note.includes('10 GB')]),
      [['TooManyImages', true]],
    )
    const [held = ''] = known()
    const [left] = [1, 2].filter((i) => library(`image:${i}`) !== held)
    pod('shop', 'again', `image:${left}`)
    pod('shop', 'tick', 'tick:1')
    await become('another', () => known().includes(library('tick:1')))
    assert.deepEqual(known().sort(), [held, library('tick:1')].sort())
    kube.delete(resource('', 'pods', 'shop'), `p${held === library('image:1') ? 1 : 2}`)
    await become('room', () => known().includes(library(`image:${left}`)))
  })

  it('reads custom resources, and waits for kinds that the cluster lacks', async () => {
    const rollout = { group: 'argoproj.io', version: 'v1', kind: 'Rollout', plural: 'rollouts' }
    const owner = { apiVersion: 'argoproj.io/v1', kind: 'Rollout', name: 'web', uid: 'u' }
    const object = (metadata: object = {}): object => ({
      metadata: { name: 'web', ...metadata },
      spec: { template: { spec: spec('nginx:1') } },
    })
    kube.fault = ({ path }) => (path.includes('absent.io') ? { status: 404 } : undefined)
    put('argoproj.io', 'rollouts', 'shop', object())
    pod('shop', 'web-x', 'sidecar:1', { ownerReferences: [{ ...owner, controller: true }] })
    await run({ templates: [rollout, { ...rollout, group: 'absent.io' }] })
    await become('both', () => known().length === 2)
    assert.deepEqual(users(library('nginx:1')), ['Rollout.argoproj.io shop/web'])
    assert.deepEqual(users(library('sidecar:1')), ['Rollout.argoproj.io shop/web'])
    assert.deepEqual(discovery.waiting(), [])
    assert.ok(!log.lines.some(({ level }) => level === 'warn'))
    put('argoproj.io', 'rollouts', 'shop', object({ labels: flag }))
    await become('none', () => known().length === 0)
  })

  it('keeps what a rollback may go to, and no more', async () => {
    deployment('shop', 'web', 'nginx:4')
    for (const number of [1, 2, 3, 4]) {
      const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'u' }
      put('apps', 'replicasets', 'shop', {
        metadata: {
          name: `web-${number}`,
          annotations: { 'deployment.kubernetes.io/revision': `${number}` },
          ownerReferences: [{ ...owner, controller: true }],
        },
        spec: { replicas: 0, template: { spec: spec(`nginx:${number}`) } },
      })
    }
    await run({ rollbackRevisions: 1 })
    await become('two', () => known().length === 2)
    assert.deepEqual(known(), [library('nginx:3'), library('nginx:4')])
    assert.deepEqual(users(library('nginx:3')), ['Deployment shop/web'])
  })

  it('leaves out what include and exclude refuse, at once after they changed', async () => {
    for (const image of ['quay.io/team/app:1', 'quay.io/team/app:dev', 'nginx:1']) {
      pod('shop', image.replaceAll(/[/:.]/g, '-'), image)
    }
    await run({ images: ['nginx:1'] })
    await become('all', () => known().length === 3)
    await stop()
    log.lines.length = 0
    await run({ images: ['nginx:1'], include: ['quay.io/team/*'], exclude: ['**:dev'] })
    await become('one and the static', () => known().length === 2)
    assert.deepEqual(known(), [library('nginx:1'), 'quay.io/team/app:1'])
    assert.deepEqual(store.get(library('nginx:1'))?.usage?.wanted, ['Static'])
    pod('shop', 'later', 'quay.io/team/b:dev')
    pod('shop', 'last', 'quay.io/team/b:2')
    await become('a later one', () => known().length === 3)
    assert.equal(known().at(-1), 'quay.io/team/b:2')
  })

  it('writes nothing when nothing of an image changed, and counts at a bounded rate', async () => {
    pod('shop', 'p0', 'nginx:1')
    await run()
    await become('found', () => users(library('nginx:1')))
    const before = writes
    pod('shop', 'p0', 'nginx:1', { labels: { some: 'change' } })
    pod('shop', 'p0', 'nginx:1', { labels: { other: 'change' } })
    for (let i = 1; i <= 50; i++) {
      pod('shop', `p${i}`, 'nginx:1')
      if (i % 10 === 0) await become('a while', () => true)
    }
    await become('all counted', () => store.get(library('nginx:1'))?.usage?.pods === 51)
    assert.ok(writes - before <= 3, `${writes - before} writes`)
    const settled = writes
    clock.advance(3_600_000)
    assert.equal(writes, settled)
  })

  it('makes nothing known that was merely sighted', async () => {
    await run()
    discovery.sight('quay.io/tried:1')
    pod('shop', 'x', 'nginx:1')
    await become('another', () => users(library('nginx:1')))
    assert.deepEqual(known(), [library('nginx:1')])
  })

  it('counts again when a write was overtaken', async () => {
    const inner = store
    let failures = 2
    store = {
      ...inner,
      putUsage: async (...args) => {
        if (failures-- > 0) throw new ConflictError(args[0])
        await inner.putUsage(...args)
      },
    }
    pod('shop', 'x', 'nginx:1')
    await run()
    await become('found', () => inner.get(library('nginx:1')))
    assert.ok(!log.lines.some(({ level }) => level === 'warn'))
  })
})
