import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import type { Settings } from '../../../src/config/settings.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { KubeClient, KubeRequest } from '../../../src/kube/client.ts'
import type { DaemonSet } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { connect, daemonSets, fastClock, refuse } from './cluster-bridge.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const deployments = { group: 'apps', version: 'v1', plural: 'deployments', namespace: 'kip' }
const nodes = { group: '', version: 'v1', plural: 'nodes' }
const images = ['r.test/a:1', 'r.test/b:1', 'r.test/c:1']
const listed = images.map((image, index) => `image${index}=${image}`).join(';')

describe('createPuller', () => {
  let kube: FakeKube
  let cluster: SimulatedCluster
  let store: ImageStore
  let disconnect: () => void
  let stops: (() => Promise<void>)[]

  beforeEach(async () => {
    kube = await startFakeKube()
    cluster = new SimulatedCluster(['n1', 'n2'])
    store = createMemoryStore()
    disconnect = connect(kube, cluster)
    stops = []
  })

  afterEach(async () => {
    for (const stop of stops) await stop()
    disconnect()
    await kube.stop()
  })

  function settings(env: Readonly<Record<string, string>> = {}): Settings {
    return loadSettings({
      argv: [],
      env: {
        NAMESPACE: 'kip',
        DAEMONSET_NAME: 'kip',
        IMAGES: listed,
        ...env,
      },
      readFile: () => '',
    }).settings
  }

  /** Runs a puller; gives how to end it. */
  function start(
    chosen = settings(),
    client: KubeClient = kube.client(),
  ): {
    stop: () => Promise<void>
    log: ReturnType<typeof silentLog>
  } {
    const log = silentLog()
    const controller = new AbortController()
    const ended = createPuller({
      client,
      store,
      settings: chosen,
      mapping: createMapping(chosen.mirror),
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
  const versions = (): readonly string[] =>
    kube.list(daemonSets).map(({ metadata }) => `${metadata?.uid}/${metadata?.generation}`)
  const isSettled = (): boolean =>
    names().join() === 'kip' &&
    cluster.members('kip').join() === images.join() &&
    images.every((image) => cluster.isHeld('n1', image) && cluster.isHeld('n2', image))
  const written = () =>
    kube.requests.filter(({ method, path }) => method !== 'GET' && path.includes('daemonsets'))
  const writes = (): number => written().length

  it('shows a private backup the secret that pods show it, and once where it is named twice', async () => {
    const env = { KIP_MIRROR_REGISTRY: 'b.test/m', KIP_MIRROR_PULL_SECRET: 'kip-backup' }
    start(settings({ ...env, IMAGE_PULL_SECRETS: 'corp;kip-backup' }))
    const secrets = (): unknown =>
      (kube.list(daemonSets)[0] as DaemonSet | undefined)?.spec?.template?.spec?.imagePullSecrets
    const named = [{ name: 'corp' }, { name: 'kip-backup' }]
    await waitUntil('a DaemonSet', () => secrets() !== undefined)
    assert.deepEqual(secrets(), named)
    await stops.pop()?.()
    start(settings(env))
    await waitUntil(
      'the other secret alone',
      () => JSON.stringify(secrets()) === JSON.stringify(named.slice(1)),
      10_000,
    )
  })

  it('leads the images to a holding DaemonSet and says so in the store', async () => {
    for (const image of images) await store.putUsage(image, usage(), new AbortController().signal)
    start()
    await waitUntil('the images to be held', isSettled, 10_000)
    await waitUntil('the counts', () => store.get('r.test/a:1')?.nodes?.cached === 2)
    assert.deepEqual(store.get('r.test/a:1')?.nodes, {
      desired: 2,
      cached: 2,
      pulling: 0,
      failed: 0,
      failures: [],
    })
    assert.deepEqual(cluster.losses, [])
  })

  for (const [which, drops] of [
    ['the API server drops image volumes', () => true],
    // Of several servers one may be older than the one that was asked beforehand.
    ['an API server drops image volumes that another took', ({ query }) => !query?.dryRun],
  ] as const satisfies [string, (request: KubeRequest) => boolean][]) {
    it(`holds images by init containers where ${which}`, async () => {
      const client = kube.client()
      const older: KubeClient = {
        server: client.server,
        namespace: client.namespace,
        request: (request) =>
          client.request(drops(request) ? { ...request, body: dropImages(request.body) } : request),
        raw: (request) => client.raw(request),
        stream: (request, sink) => client.stream(request, sink),
        close: () => client.close(),
      }
      start(settings({ KIP_PULLER_STRATEGY: 'volume' }), older)
      await waitUntil('the images to be held', isSettled, 10_000)
      const { initContainers = [], volumes = [] } =
        cluster.daemonSets.get('kip')?.spec?.template?.spec ?? {}
      assert.equal(initContainers.length, images.length + 1)
      assert.ok(volumes.every(({ image }) => image === undefined))
    })
  }

  it('makes no change after a restart, and no write while all is well', async () => {
    const first = start()
    await waitUntil('the images to be held', isSettled, 10_000)
    await first.stop()
    const before = versions()
    const count = writes()
    start()
    // One apply a shard puts right what was changed meanwhile: here nothing.
    await waitUntil('the shard to be looked at', () => writes() > count)
    // A status written meanwhile makes it a conflict, and there is a second look.
    await waitUntil('half a minute without a write', unchanged(writes, 30), 10_000)
    const after = writes()
    await waitUntil('two minutes', elapsed(120), 5000)
    assert.deepEqual(versions(), before)
    const extra = written().slice(after)
    assert.deepEqual(
      extra.map(({ method, path }) => `${method} ${path}`),
      [],
    )
  })

  it('gets there however often it is cut off after a write', async () => {
    let answers = 0
    kube.fault = ({ method, path }) => {
      if (method === 'GET' || !path.includes('daemonsets')) return undefined
      answers += 1
      return answers % 2 === 1 ? 'lose-answer' : undefined
    }
    for (let term = 0; term < 4; term++) {
      const { stop } = start()
      const before = answers
      await waitUntil('a write', () => answers > before || isSettled(), 10_000)
      await stop()
    }
    kube.fault = undefined
    start()
    await waitUntil('the images to be held', isSettled, 10_000)
    assert.deepEqual(cluster.losses, [])
  })

  it('puts right what somebody else changed, and makes again what was deleted', async () => {
    start()
    await waitUntil('the images to be held', isSettled, 10_000)
    const live = kube.get(daemonSets, 'kip')
    assert.ok(live)
    const text = JSON.stringify(live).replace('"maxSurge":"25%"', '"maxSurge":"1%"')
    kube.put(daemonSets, JSON.parse(text))
    await waitUntil(
      'the shard to be put right',
      () => JSON.stringify(kube.get(daemonSets, 'kip')).includes('"maxSurge":"25%"'),
      5000,
    )
    kube.delete(daemonSets, 'kip')
    await waitUntil('the shard to be made again', isSettled, 5000)
    assert.ok(!names().includes('kip-fresh'))
  })

  it('has an image come back that somebody replaced by hand, and the other one leave', async () => {
    start()
    await waitUntil('the images to be held', isSettled, 10_000)
    const text = JSON.stringify(kube.get(daemonSets, 'kip'))
    kube.put(daemonSets, JSON.parse(text.replaceAll('r.test/b:1', 'r.test/other:1')))
    const isEdited = () => cluster.members('kip').includes('r.test/other:1')
    await waitUntil('the other one to be there', isEdited, 5000)
    await waitUntil('the images to be held again', isSettled, 10_000)
  })

  it('pauses a shard whose pods a kubelet refuses, and has it go on a minute after the last', async () => {
    const { log } = start()
    await waitUntil('the images to be held', isSettled, 10_000)
    const spec = () => (kube.get(daemonSets, 'kip') as DaemonSet | undefined)?.spec
    const strategy = () => spec()?.updateStrategy?.type
    const template = spec()?.template
    refuse(kube, template, 'n1')
    await waitUntil('the pause', () => strategy() === 'OnDelete', 10_000)
    assert.deepEqual(spec()?.template, template)
    await waitUntil('the shard to go on', () => strategy() === 'RollingUpdate', 20_000)
    const told = (): readonly string[] => log.lines.map(({ message }) => message)
    await waitUntil('a word of it', () => told().includes('the shard goes on'))
    assert.ok(told().includes('kubelets refuse its pods; the shard is paused'))
    assert.ok(!told().includes('somebody else changed the shard; put right'))
    assert.deepEqual(cluster.losses, [])
  })

  it('makes a shard paused while a node is under disk pressure, and has it go on then', async () => {
    const node = (name: string, ...keys: readonly string[]) => ({
      ...{ apiVersion: 'v1', kind: 'Node' },
      metadata: { name, labels: { 'kubernetes.io/os': 'linux' } },
      spec: { taints: keys.map((key) => ({ key, effect: 'NoSchedule' })) },
    })
    kube.put(nodes, node('n1', 'node.kubernetes.io/disk-pressure'))
    kube.put(nodes, node('n2'))
    const strategies = () =>
      kube.list(daemonSets).map((one) => (one as DaemonSet).spec?.updateStrategy?.type)
    const { log } = start()
    await waitUntil('the shard', () => strategies().length > 0)
    assert.equal(strategies().join(), 'OnDelete')
    const told = 'kubelets refuse its pods; the shard is paused'
    await waitUntil('a word of it', () => log.lines.some(({ message }) => message === told))
    kube.put(nodes, node('n1'))
    await waitUntil('the images to be held', isSettled, 10_000)
    await waitUntil('it to go on', () => strategies().join() === 'RollingUpdate', 10_000)
    assert.deepEqual(cluster.losses, [])
  })

  it('lets nobody wait for a bad image though one node pulls at a time', async () => {
    for (const name of ['n1', 'n2']) {
      const metadata = { name, labels: { 'kubernetes.io/os': 'linux' } }
      kube.put(nodes, { apiVersion: 'v1', kind: 'Node', metadata })
    }
    // So that what is new stays in the fresh shard, which has to change for what comes then.
    kube.fault = ({ method, path }) =>
      method === 'PATCH' && path.endsWith('/kip') ? { status: 500, reason: 'Down' } : undefined
    cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    start(settings({ IMAGES: 'first=r.test/first:1', KIP_PULLER_NODES_AT_ONCE: '1' }))
    const isHeld = (image: string) => () =>
      ['n1', 'n2'].every((name) => cluster.isHeld(name, image))
    await waitUntil('the first to be held', isHeld('r.test/first:1'), 10_000)
    await waitUntil('a look at that', elapsed(10), 5000)
    for (const image of ['r.test/first:1', 'r.test/bad:1', 'r.test/good:1'])
      await store.putUsage(image, usage(), new AbortController().signal)
    await waitUntil('the good one to be held', isHeld('r.test/good:1'), 10_000)
    assert.deepEqual(cluster.losses, [])
  })

  it('rolls nothing when the last node that takes few pods goes', async () => {
    const small = { labels: { 'node.kubernetes.io/instance-type': 't.small' }, slots: '11' }
    cluster.addNode('s1', 'amd64', small)
    for (const [name, labels, pods] of [
      ['n1', {}, '110'],
      ['n2', {}, '110'],
      ['s1', small.labels, '11'],
    ] as const) {
      const metadata = { name, labels: { 'kubernetes.io/os': 'linux', ...labels } }
      kube.put(nodes, { apiVersion: 'v1', kind: 'Node', metadata, status: { capacity: { pods } } })
    }
    cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    start(settings({ IMAGES: `${listed};bad=r.test/bad:1` }))
    const isApart = () => cluster.members('kip').length === 3 && cluster.daemonSets.has('kip-apart')
    await waitUntil('the bad image to be apart', isApart, 10_000)
    await waitUntil('nothing more to be written', unchanged(writes, 30), 10_000)
    assert.match(JSON.stringify(kube.get(daemonSets, 'kip-apart')), /t\.small/)
    const before = versions()
    cluster.removeNode('s1')
    kube.delete(nodes, 's1')
    await waitUntil('a minute', elapsed(60), 5000)
    assert.deepEqual(versions(), before)
  })

  it('is owned by the Deployment that is named', async () => {
    kube.put(deployments, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'puller', namespace: 'kip' },
    })
    start(settings({ DEPLOYMENT_NAME: 'puller' }))
    const made = await waitUntil('a shard', () => kube.get(daemonSets, 'kip-fresh'))
    const [owner] = made.metadata?.ownerReferences ?? []
    assert.equal(owner?.uid, kube.get(deployments, 'puller')?.metadata?.uid)
  })

  for (const [where, env, group, runAsUser] of [
    ['as the cluster says on OpenShift', {}, 200, undefined],
    ['of its own elsewhere', {}, 404, 65532],
    ['of its own where told so', { KIP_PULLER_OPEN_SHIFT: 'false' }, 200, 65532],
  ] as const) {
    it(`has pods run under a user ${where}`, async () => {
      kube.fault = ({ path, method }) => {
        if (path !== '/apis/security.openshift.io' || method !== 'GET') return undefined
        return group === 404 ? { status: 404, reason: 'NotFound' } : { status: 200 }
      }
      start(settings(env))
      const made = await waitUntil('a shard', () => kube.get(daemonSets, 'kip-fresh'))
      const { securityContext } = (made as DaemonSet).spec?.template?.spec ?? {}
      assert.equal(securityContext?.runAsUser, runAsUser)
      assert.equal(securityContext?.runAsNonRoot, true)
    })
  }

  it("leaves somebody else's DaemonSet of its name alone and says so", async () => {
    kube.put(daemonSets, {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'kip', namespace: 'kip' },
      spec: {},
    })
    const { log } = start()
    await waitUntil('another name', () => names().includes('kip-2'), 10_000)
    assert.deepEqual(kube.get(daemonSets, 'kip')?.spec, {})
    assert.ok(log.lines.some(({ message }) => message.includes('left alone')))
  })

  it('goes on when a write is refused, and says why', async () => {
    let refused = 0
    kube.fault = ({ method }) => {
      if (method !== 'PATCH' || refused >= 2) return undefined
      refused += 1
      return { status: 403, reason: 'Forbidden' }
    }
    const { log } = start()
    await waitUntil('the images to be held', isSettled, 10_000)
    assert.equal(log.lines.filter(({ level }) => level === 'error').length, 2)
  })

  it('tells of a bad image by node and in its own words', async () => {
    const bad = 'r.test/bad:1'
    await store.putUsage(bad, usage(), new AbortController().signal)
    cluster.behave = (reference) => (reference === bad ? 'missing' : 'good')
    const { log } = start()
    await waitUntil(
      'the others to be held',
      () => cluster.members('kip').join() === images.join(),
      10_000,
    )
    await waitUntil('the counts', () => store.get(bad)?.nodes?.failed === 2)
    assert.deepEqual(store.get(bad)?.nodes?.failures[0], {
      node: 'n1',
      reason: 'ErrImagePull',
      message: 'the registry does not have it',
    })
    await waitUntil('the log', () =>
      log.lines.some(({ message }) => message.startsWith('image set apart')),
    )
  })
})

function elapsed(seconds: number): () => boolean {
  const end = fastClock.now() + seconds * 1000
  return () => fastClock.now() >= end
}

/** Whether a number stays the same for so long. */
function unchanged(read: () => number, seconds: number): () => boolean {
  let last = read()
  let isOver = elapsed(seconds)
  return () => {
    if (read() !== last) isOver = elapsed(seconds)
    last = read()
    return isOver()
  }
}

function usage() {
  return {
    wanted: ['Static' as const],
    pods: 0,
    workloads: 0,
    namespaces: 0,
    owners: [],
    firstSeen: '2026-01-01T00:00:00Z',
  }
}

/** As a server that knows no image volumes reads them. */
function dropImages(body: unknown): unknown {
  if (body === undefined) return undefined
  return JSON.parse(
    JSON.stringify(body, (key, value) =>
      key === 'image' && typeof value === 'object' ? undefined : value,
    ),
  )
}
