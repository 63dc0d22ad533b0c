import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createDiscovery } from '../../../src/discovery/discovery.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { applyObject, createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { KubeList, KubeObject, Pod } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import { createExclusions } from '../../../src/state/exclusions.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { acquireCluster } from '../../support/cluster.ts'
import { playedNodes, pullerSettings } from '../../support/puller-settings.ts'
import { roleClient } from '../../support/role-client.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { startFakeKubelets } from './fake-kubelets.ts'

const cluster = await acquireCluster({ nodes: 0 })
const namespace = `used-${process.pid}`
const shop = `${namespace}-shop`
const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
const pods = { group: '', version: 'v1', plural: 'pods', namespace }
const { signal } = new AbortController()

const imageOf = (name: string): string => `origin.test:5000/${namespace}/${name}:1`
const poolsOf = (name: string): object => ({
  requiredDuringSchedulingIgnoredDuringExecution: {
    nodeSelectorTerms: [{ matchExpressions: [{ key: 'pool', operator: 'In', values: [name] }] }],
  },
})

describe('images that are held where they are used, at a real API server', () => {
  const ends: (() => Promise<unknown>)[] = []
  const store = createMemoryStore()
  const log = silentLog()
  let admin: KubeClient

  before(async () => {
    admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
    ends.push(() => admin.close())
    const labels = { 'kip-test/shop': namespace }
    for (const metadata of [{ name: namespace }, { name: shop, labels }]) {
      const object = { apiVersion: 'v1', kind: 'Namespace', metadata }
      await createObject(admin, namespaces, object, { signal })
      ends.push(() => deleteObject(admin, namespaces, metadata.name, { signal }))
      const accounts = { group: '', version: 'v1', plural: 'serviceaccounts' }
      await waitUntil('the default service account', () =>
        getObject(admin, { ...accounts, namespace: metadata.name }, 'default', { signal }),
      )
    }
    ends.push(
      await startFakeKubelets({
        client: admin,
        namespace,
        nodes: ['a', 'b', 'gpu'].map((pool) => `${namespace}-${pool}`),
        look: (node) => {
          const pool = node.slice(namespace.length + 1)
          return { labels: { pool }, ...(pool === 'gpu' && { taint: 'gpu' }) }
        },
        isBad: () => false,
      }),
    )
    const client = await roleClient({
      client: admin,
      kubeconfig: cluster.kubeconfig,
      namespace,
      manifest: 'rbac-puller.yaml',
      clusterWide: ['rbac-puller.yaml'],
    })
    ends.push(() => client.close())
    const settings = pullerSettings(namespace, {
      ...playedNodes(namespace),
      KIP_PULLER_STRATEGY: 'init',
      KIP_PULLER_WHERE: 'used',
      KIP_PULLER_PODS_PER_NODE: '4',
      KIP_MIRROR_PRE_CACHE_WAIT_SECONDS: '0',
      KIP_DISCOVERY_NAMESPACE_SELECTOR: JSON.stringify({ matchLabels: labels }),
    })
    const common = { settings, log, metrics: createMetrics({ processMetrics: false }), store }
    const mapping = createMapping({ registry: '', mapping: 'path' })
    const listeners = new Set<() => void>()
    const exclusions = createExclusions({ client: admin, settings, log })
    const discovery = createDiscovery({
      ...{ ...common, client: admin, exclusions, mapping },
      demands: {
        isAsked: () => true,
        onChange: () => {
          for (const listener of listeners) listener()
        },
      },
    })
    const puller = createPuller({
      ...{ ...common, client, mapping },
      demands: {
        of: discovery.demandsOf,
        onChange: (listener) => {
          listeners.add(listener)
          return () => listeners.delete(listener)
        },
      },
    })
    const controller = new AbortController()
    const running = [exclusions, discovery, puller].map((part) => part.run(controller.signal))
    ends.push(async () => {
      controller.abort()
      await Promise.all(running)
    })
  })

  after(async () => {
    for (const end of ends.toReversed()) await end()
  })

  const deploy = async (name: string, spec: object, replicas = 0): Promise<void> => {
    const labels = { app: name }
    const containers = [{ name: 'main', image: imageOf(name) }]
    await applyObject(
      admin,
      { group: 'apps', version: 'v1', plural: 'deployments', namespace: shop },
      {
        ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: shop } },
        spec: {
          replicas,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers, ...spec } },
        },
      } as KubeObject,
      { fieldManager: 'test', signal },
    )
  }

  /** Pools of the nodes whose ready puller pods were made of an image. */
  const holders = async (name: string): Promise<string> => {
    const { items } = await admin.request<KubeList<Pod>>({
      method: 'GET',
      path: resourcePath(pods),
      signal,
    })
    const own = (items ?? []).filter(
      ({ spec, status }) =>
        (spec?.initContainers ?? []).some(({ image }) => image === imageOf(name)) &&
        status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
    )
    const nodes = new Set(own.map(({ spec }) => spec?.nodeName?.slice(namespace.length + 1)))
    return [...nodes].sort().join()
  }
  const become = async (name: string, pools: string, desired: number): Promise<void> => {
    await waitUntil(
      `${name} on ${pools}`,
      async () =>
        (await holders(name)) === pools && store.get(imageOf(name))?.nodes?.cached === desired,
      90_000,
    )
    assert.equal(store.get(imageOf(name))?.nodes?.desired, desired)
  }

  it('stand by the DaemonSet controller where the scheduler would put their pods', async () => {
    await deploy('any', {})
    await deploy('web', { nodeSelector: { pool: 'a' } }, 1)
    await deploy('train', {
      affinity: { nodeAffinity: poolsOf('gpu') },
      tolerations: [{ key: 'gpu', operator: 'Exists' }],
    })
    await become('any', 'a,b', 2)
    await become('web', 'a', 1)
    await become('train', 'gpu', 1)
  })

  it('come to where they are used besides, and are not taken away at once', async () => {
    await deploy('web', { nodeSelector: { pool: 'b' } }, 1)
    await become('web', 'a,b', 2)
    assert.deepEqual(
      log.lines.filter(({ level }) => level === 'error'),
      [],
    )
  })
})
