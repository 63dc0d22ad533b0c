import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Settings } from '../../../src/config/settings.ts'
import { putStaticImages } from '../../../src/discovery/static-images.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { applyObject, createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { Container, DaemonSet, KubeList, KubeObject, Pod } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { buildDaemonSet } from '../../../src/puller/daemon-set.ts'
import { named } from '../../../src/puller/draft.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import type { Shard } from '../../../src/puller/shard.ts'
import { type StrategyName, strategyOf } from '../../../src/puller/strategies/strategies.ts'
import { fieldManager } from '../../../src/puller/writer.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { acquireCluster } from '../../support/cluster.ts'
import { playedNodes, pullerSettings } from '../../support/puller-settings.ts'
import { roleClient } from '../../support/role-client.ts'
import { startSidecarWebhook } from '../../support/sidecar.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { startFakeKubelets } from './fake-kubelets.ts'

const cluster = await acquireCluster({ nodes: 0 })
const namespace = `puller-${process.pid}`
const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
const { signal } = new AbortController()
const images = ['a', 'b', 'c'].map((name) => `origin.test:5000/${name}:1`)

const settings = (env?: Readonly<Record<string, string>>): Settings =>
  pullerSettings(namespace, { ...playedNodes(namespace), ...env })

/** As kubelets of 1.35 on containerd have it. */
function kubeletStatus({ spec }: Pod): object {
  const digest = '0'.repeat(64)
  const containerID = `containerd://${digest}`
  const times = { startedAt: '2026-01-01T00:00:00Z', finishedAt: '2026-01-01T00:00:00Z' }
  const statusOf = (
    { name, image = '', volumeMounts = [], resources = {} }: Container,
    state: object,
  ) => ({
    ...{ name, image, imageID: `${image.replace(/:[^:/]+$/, '')}@sha256:${digest}`, containerID },
    ...{ ready: true, restartCount: 0, state, resources },
    allocatedResources: resources.requests,
    volumeMounts: volumeMounts.map(({ name, mountPath, readOnly }) => ({
      ...{ name, mountPath, readOnly },
      ...(readOnly === true ? { recursiveReadOnly: 'Disabled' } : {}),
    })),
  })
  return {
    phase: 'Running',
    initContainerStatuses: (spec?.initContainers ?? []).map((one) =>
      statusOf(one, { terminated: { exitCode: 0, reason: 'Completed', ...times, containerID } }),
    ),
    containerStatuses: (spec?.containers ?? []).map((one) =>
      statusOf(one, { running: { startedAt: times.startedAt } }),
    ),
  }
}

describe('the puller on a real API server', () => {
  let admin: KubeClient

  before(async () => {
    admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' }
    await createObject(
      admin,
      { group: '', version: 'v1', plural: 'namespaces' },
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } },
      { signal },
    )
    // Pods are refused until the account that they run under is there.
    const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace }
    await waitUntil('the default service account', () =>
      getObject(admin, accounts, 'default', { signal }),
    )
  })

  after(async () => {
    await deleteObject(admin, { group: '', version: 'v1', plural: 'namespaces' }, namespace, {
      signal,
    })
    await admin.close()
  })

  const shard = (kind: Shard['kind'], ...names: readonly string[]): Shard => ({
    kind,
    index: 1,
    members: names.map((name) => ({ container: name, reference: `origin.test:5000/${name}:1` })),
  })
  const build = (one: Shard, chosen = settings()): DaemonSet =>
    buildDaemonSet(one, {
      namespace,
      settings: chosen.puller,
      strategy: chosen.puller.strategy === 'auto' ? 'init' : chosen.puller.strategy,
      owner: undefined,
    })
  const apply = async (object: DaemonSet): Promise<DaemonSet> =>
    await applyObject<DaemonSet>(admin, daemonSets, object, { fieldManager, force: true, signal })

  for (const strategy of ['volume', 'init', 'sleep']) {
    for (const kind of ['holding', 'originals', 'fresh', 'apart'] as const) {
      it(`has its ${kind} shard and pods accepted under ${strategy} and Pod Security restricted`, async () => {
        const chosen = settings({
          KIP_PULLER_STRATEGY: strategy,
          CACHING_CPU_REQUEST: '.05',
          TOLERATIONS: '[{"operator":"Exists"}]',
          IMAGE_PULL_SECRETS: 'one;two',
        })
        const object = build(shard(kind, 'a', 'b'), chosen)
        await applyObject(admin, daemonSets, object, { fieldManager, dryRun: true, signal })
        const { metadata, spec } = object.spec?.template ?? {}
        await createObject(
          admin,
          { group: '', version: 'v1', plural: 'pods', namespace },
          {
            apiVersion: 'v1',
            kind: 'Pod',
            metadata: { ...metadata, name: 'one', namespace },
            spec,
          } as KubeObject,
          { dryRun: true, signal },
        )
      })
    }
  }

  it('has its pods admitted by a ResourceQuota with just the room that the docs tell, and counted by it', async (t) => {
    const limited = `${namespace}-quota`
    const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
    const own = (plural: string) => ({ group: '', version: 'v1', plural, namespace: limited })
    const metadata = { name: limited }
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata }
    await createObject(admin, namespaces, object, { signal })
    t.after(() => deleteObject(admin, namespaces, limited, { signal }))
    await waitUntil('the default service account', () =>
      getObject(admin, own('serviceaccounts'), 'default', { signal }),
    )
    const create = async (name: string, of: Shard, strategy: string): Promise<Pod> => {
      const built = build(of, settings({ KIP_PULLER_STRATEGY: strategy }))
      const template = built.spec?.template
      const pod = {
        ...{ apiVersion: 'v1', kind: 'Pod', spec: template?.spec },
        metadata: { ...template?.metadata, name, namespace: limited },
      } as KubeObject
      return await createObject<Pod>(admin, own('pods'), pod, { dryRun: true, signal })
    }
    const quota = (hard: object) => ({
      ...{ apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'all' }, spec: { hard } },
    })
    const limits = { 'limits.cpu': '200m', 'limits.memory': '32Mi' }
    const requests = { 'requests.cpu': '10m', 'requests.memory': '16Mi' }
    const hard = { pods: '1', ...requests, ...limits }
    await createObject(admin, own('resourcequotas'), quota(hard), { signal })
    const range = { type: 'Container', default: { cpu: '1', memory: '1Gi' } }
    const defaults = { kind: 'LimitRange', metadata: { name: 'much' }, spec: { limits: [range] } }
    await createObject(admin, own('limitranges'), { apiVersion: 'v1', ...defaults }, { signal })
    await waitUntil('the quota to be reckoned', () =>
      create('first', shard('holding', 'a'), 'volume').then(
        () => true,
        () => false,
      ),
    )
    for (const strategy of ['volume', 'init']) {
      await create('holding', shard('holding', 'a', 'b', 'c'), strategy)
      await create('originals', shard('originals', 'a', 'b', 'c'), strategy)
      await create('fresh', shard('fresh', 'a'), strategy)
      await assert.rejects(
        create('fresh', shard('fresh', 'a', 'b'), strategy),
        /exceeded quota: all, requested: limits.cpu=400m,limits.memory=64Mi/,
      )
    }
    await create('sleep', shard('holding', 'a'), 'sleep')
  })

  it('makes no generation and no version of what is unchanged', async () => {
    const chosen = settings({ CACHING_CPU_REQUEST: '.05', CACHING_MEMORY_LIMIT: '20Mi' })
    const object = build(shard('holding', 'a', 'b'), chosen)
    const first = await apply(object)
    const { generation } = first.metadata ?? {}
    // The DaemonSet controller writes the status meanwhile.
    await waitUntil('the status', async () => {
      const seen = await getObject<DaemonSet>(admin, daemonSets, 'kip', { signal })
      return seen?.status?.observedGeneration === generation
    })
    const before = await getObject<DaemonSet>(admin, daemonSets, 'kip', { signal })
    const second = await apply(object)
    assert.equal(second.metadata?.generation, generation)
    assert.equal(second.metadata?.resourceVersion, before?.metadata?.resourceVersion)
  })

  for (const strategy of ['volume', 'init', 'sleep'] as const) {
    for (const kind of ['holding', 'fresh'] as const) {
      it(`stores no more of an image than it reckons with, in a ${kind} shard under ${strategy}`, async () => {
        const small = await storedBytes(kind, strategy, 1)
        const large = await storedBytes(kind, strategy, 41)
        const { imageBytes } = strategyOf(kind, strategy)
        const bytes = (large - small) / 40
        assert.ok(bytes <= imageBytes, `${bytes} bytes an image, reckoned with ${imageBytes}`)
        assert.ok(
          bytes > 0.8 * imageBytes,
          `${bytes} bytes an image are far fewer than ${imageBytes}`,
        )
      })
    }
  }

  /** What etcd has of a pod with so many images whose names have 60 characters, once its kubelet has said all it says. */
  async function storedBytes(
    kind: Shard['kind'],
    strategy: StrategyName,
    count: number,
  ): Promise<number> {
    const wanted = Array.from({ length: count }, (_, index) => ({
      reference: `registry.example.test/platform/team/${`service-${index}`.padEnd(20, 'x')}:1.2`,
      bestEffort: false,
    }))
    const one = { kind, index: 1, members: named([], wanted) }
    const chosen = settings({ KIP_PULLER_STRATEGY: strategy })
    const { metadata, spec } = build(one, chosen).spec?.template ?? {}
    const name = `stored-${strategy}-${kind}-${count}`
    const pods = { group: '', version: 'v1', plural: 'pods', namespace }
    // The scheduler would say of it that it fits on no node, sooner or later than it is read.
    const unscheduled = { ...spec, schedulerName: 'nobody' }
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, name },
      spec: unscheduled,
    }
    const made = await createObject<Pod>(admin, pods, pod as KubeObject, { signal })
    const path = resourcePath(pods, name)
    const contentType = 'application/strategic-merge-patch+json'
    const body = { status: kubeletStatus(made) }
    await admin.request({ method: 'PATCH', path: `${path}/status`, contentType, body, signal })
    // The API server stores what it sends to who asks for protobuf.
    const accept = 'application/vnd.kubernetes.protobuf'
    const { body: stored } = await admin.raw({ method: 'GET', path, accept, signal })
    await deleteObject(admin, pods, name, { signal })
    return stored.length
  }

  it('has the init containers in its own order, whatever comes and goes', async () => {
    for (const names of [['a', 'c'], ['a', 'b', 'c', 'd'], ['d'], ['b', 'd'], ['a', 'b', 'z']]) {
      const stored = await apply(build(shard('holding', ...names)))
      const order = stored.spec?.template?.spec?.initContainers?.map(({ name }) => name)
      assert.deepEqual(order, ['copy-sleep', ...names])
    }
    await deleteObject(admin, daemonSets, 'kip', { signal })
  })

  it('gets no sidecar from webhooks that keep to the opt-outs of Istio and Linkerd', async (t) => {
    const injected = `${namespace}-injected`
    const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
    const pods = { group: '', version: 'v1', plural: 'pods', namespace: injected }
    await createObject(
      admin,
      namespaces,
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: injected } },
      { signal },
    )
    t.after(() => deleteObject(admin, namespaces, injected, { signal }))
    await waitUntil('the default service account', () =>
      getObject(admin, { ...pods, plural: 'serviceaccounts' }, 'default', { signal }),
    )
    const istio = {
      objectSelector: {
        matchExpressions: [
          { key: 'sidecar.istio.io/inject', operator: 'NotIn', values: ['false'] },
        ],
      },
    }
    const linkerd = {
      matchConditions: [
        {
          name: 'enabled',
          expression:
            "!has(object.metadata.annotations) || !('linkerd.io/inject' in object.metadata.annotations) || object.metadata.annotations['linkerd.io/inject'] != 'disabled'",
        },
      ],
    }
    const containersOf = async (metadata: object, spec: object): Promise<readonly string[]> => {
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec } as KubeObject
      const made = await createObject<Pod>(admin, pods, pod, { dryRun: true, signal })
      const { initContainers = [], containers = [] } = made.spec ?? {}
      return [...initContainers, ...containers].map(({ name }) => name)
    }
    for (const [mesh, selector] of Object.entries({ istio, linkerd })) {
      const remove = await startSidecarWebhook({
        client: admin,
        enter: (command) => cluster.enter(command),
        name: `${injected}-${mesh}`,
        image: 'origin.test:5000/sidecar:1',
        selector: {
          ...selector,
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': injected } },
        },
      })
      try {
        const plain = { containers: [{ name: 'main', image: 'origin.test:5000/a:1' }] }
        await waitUntil('the webhook', async () =>
          (await containersOf({ name: 'plain' }, plain)).includes('sidecar'),
        )
        for (const strategy of ['volume', 'init', 'sleep']) {
          for (const kind of ['holding', 'fresh', 'apart', 'refresh'] as const) {
            const object = build(shard(kind, 'a'), settings({ KIP_PULLER_STRATEGY: strategy }))
            const { metadata, spec = {} } = object.spec?.template ?? {}
            const names = await containersOf({ ...metadata, name: 'one' }, spec)
            assert.ok(!names.includes('sidecar'), `${mesh}, ${strategy}, ${kind}: ${names}`)
          }
        }
      } finally {
        await remove()
      }
    }
  })

  describe('under the Role of its manifest alone', () => {
    const bad = 'origin.test:5000/bad:1'
    let client: KubeClient
    let stopKubelets: () => Promise<void>
    const all = `${images.map((image, index) => `i${index}=${image}`).join(';')};bad=${bad}`

    before(async () => {
      client = await roleClient({
        client: admin,
        kubeconfig: cluster.kubeconfig,
        namespace,
        manifest: 'rbac-puller.yaml',
      })
      stopKubelets = await startFakeKubelets({
        client: admin,
        namespace,
        nodes: [`${namespace}-n1`, `${namespace}-n2`],
        isBad: (reference) => reference === bad,
      })
    })

    after(async () => {
      await stopKubelets()
      await client.close()
    })

    /** Runs a puller until `done`. */
    async function run(
      env: Readonly<Record<string, string>>,
      done: (store: ImageStore) => Promise<boolean> | boolean,
    ): Promise<ReturnType<typeof silentLog>> {
      const log = silentLog()
      const store = createMemoryStore()
      const chosen = settings(env)
      await putStaticImages(store, chosen.puller.images, { signal })
      const controller = new AbortController()
      const ended = createPuller({
        client,
        store,
        settings: chosen,
        mapping: createMapping({ registry: '', mapping: 'path' }),
        log,
        metrics: createMetrics({ processMetrics: false }),
      }).run(controller.signal)
      try {
        await waitUntil(`${JSON.stringify(env)}`, () => done(store), 90_000)
      } finally {
        controller.abort()
        await ended
      }
      return log
    }

    const shards = async (): Promise<ReadonlyMap<string, DaemonSet>> => {
      const { items } = await admin.request<KubeList<DaemonSet>>({
        method: 'GET',
        path: resourcePath(daemonSets),
        signal,
      })
      return new Map((items ?? []).map((item) => [item.metadata?.name ?? '', item]))
    }
    const heldBy = async (name: string): Promise<string> =>
      ((await shards()).get(name)?.spec?.template?.spec?.initContainers ?? [])
        .slice(1)
        .map(({ image }) => image)
        .join()

    it('leads images to where they are held, past a bad one', async () => {
      const log = await run({ IMAGES: all }, async (store) => {
        const names = [...(await shards()).keys()].sort().join()
        return (
          names === 'kip,kip-apart' &&
          (await heldBy('kip')) === images.join() &&
          store.get(bad)?.nodes?.failed === 2
        )
      })
      assert.deepEqual(
        log.lines.filter(({ level }) => level === 'error'),
        [],
      )
    })

    it('changes no DaemonSet when it starts again', async () => {
      const before = await shards()
      await run({ IMAGES: all }, (store) => store.get(images[0] ?? '')?.nodes?.cached === 2)
      const after = await shards()
      assert.deepEqual([...after.keys()], [...before.keys()])
      for (const [name, { metadata }] of after) {
        assert.equal(metadata?.generation, before.get(name)?.metadata?.generation)
        assert.equal(metadata?.uid, before.get(name)?.metadata?.uid)
      }
    })

    it('says that pods are refused, and goes on when they no longer are', async () => {
      const late = 'origin.test:5000/late:1'
      const limits = { group: '', version: 'v1', plural: 'limitranges', namespace }
      const limit = { type: 'Container', min: { cpu: '100m' } }
      await createObject(
        admin,
        limits,
        {
          apiVersion: 'v1',
          kind: 'LimitRange',
          metadata: { name: 'least' },
          spec: { limits: [limit] },
        } as KubeObject,
        { signal },
      )
      let refused = false
      const log = await run({ IMAGES: `${all};late=${late}` }, async (store) => {
        const nodes = store.get(late)?.nodes
        if (!refused && nodes?.reason === 'PodsRefused') {
          refused = true
          assert.equal(nodes.cached, 0)
          await deleteObject(admin, limits, 'least', { signal })
        }
        return refused && nodes?.cached === 2 && nodes.reason === undefined
      })
      const told = log.lines.filter(({ level }) => level === 'error')
      assert.deepEqual(
        told.map(({ fields }) => fields),
        [{ daemonset: 'kip-fresh' }],
      )
      assert.match(told[0]?.message ?? '', /^pods are refused: a LimitRange does not allow/)
    })

    it('puts right what was edited while it was away', async () => {
      const held = (await shards()).get('kip')
      await admin.request({
        method: 'PATCH',
        path: resourcePath(daemonSets, 'kip'),
        contentType: 'application/merge-patch+json',
        body: { spec: { updateStrategy: { rollingUpdate: { maxSurge: '1%' } } } },
        signal,
      })
      await run({ IMAGES: all }, async () => {
        const strategy = (await shards()).get('kip')?.spec?.updateStrategy?.rollingUpdate
        return strategy?.maxSurge === '25%'
      })
      assert.equal((await shards()).get('kip')?.metadata?.uid, held?.metadata?.uid)
    })
  })
})
