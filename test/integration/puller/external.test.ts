import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import { putStaticImages } from '../../../src/discovery/static-images.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { applyObject, createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import type { KubeObject, PodTemplateSpec } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createExternalPuller } from '../../../src/puller/external.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { acquireCluster } from '../../support/cluster.ts'
import { roleClient } from '../../support/role-client.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { fastClock } from '../../unit/puller/cluster-bridge.ts'

const cluster = await acquireCluster({ nodes: 0 })
const namespace = `external-${process.pid}`
const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
const maps = { group: '', version: 'v1', plural: 'configmaps', namespace }
const deployments = { group: 'apps', version: 'v1', plural: 'deployments', namespace }
const name = 'kubernetes-image-puller'
const { signal } = new AbortController()

type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> }
type Deployment = KubeObject & { readonly spec?: { readonly template?: PodTemplateSpec } }

describe('feeding a KIP on a real API server, under the Role of its component', () => {
  let admin: KubeClient
  let client: KubeClient

  before(async () => {
    admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
    const apply = { fieldManager: 'helm', force: true, signal }
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
    await createObject(admin, namespaces, object, { signal })
    const data = { IMAGES: 'theirs=r.test/theirs:1', CACHING_INTERVAL_HOURS: '1' }
    const metadata = { name: 'k8s-image-puller' }
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data }
    await applyObject(admin, maps, map as KubeObject, apply)
    const labels = { app: name }
    const template = {
      metadata: { labels, annotations: { team: 'theirs' } },
      spec: { containers: [{ name, image: 'r.test/kip:1' }] },
    }
    const spec = { replicas: 0, selector: { matchLabels: labels }, template }
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name }, spec }
    await applyObject(admin, deployments, deployment as KubeObject, apply)
    client = await roleClient({
      client: admin,
      kubeconfig: cluster.kubeconfig,
      namespace,
      manifest: 'components/external-puller/rbac.yaml',
    })
  })

  after(async () => {
    await deleteObject(admin, namespaces, namespace, { signal })
    await client.close()
    await admin.close()
  })

  it('writes its list, and starts it anew once, touching nothing else', async () => {
    const { settings } = loadSettings({
      argv: [],
      env: {
        PULLER: 'external',
        KIP_PULLER_EXTERNAL_NAMESPACE: namespace,
        IMAGES: 'a=r.test/a:1;b=r.test/b:2',
      },
      readFile: () => '',
    })
    const store = createMemoryStore()
    await putStaticImages(store, settings.puller.images, { signal })
    const before = await getObject<Deployment>(admin, deployments, name, { signal })
    const controller = new AbortController()
    const log = silentLog()
    const ended = createExternalPuller({
      ...{ client, store, settings, log, clock: fastClock },
      mapping: createMapping({ registry: '', mapping: 'path' }),
      metrics: createMetrics({ processMetrics: false }),
    }).run(controller.signal)
    const read = () => getObject<Deployment>(admin, deployments, name, { signal })
    try {
      await waitUntil(
        'the start',
        async () => (await read())?.metadata?.generation !== before?.metadata?.generation,
        20_000,
      )
      await store.putUsage(
        'r.test/c:3',
        { wanted: ['Static'], pods: 0, workloads: 0, namespaces: 0, owners: [], firstSeen: '' },
        signal,
      )
      const images = await waitUntil(
        'the third image',
        async () => {
          const map = await getObject<ConfigMap>(admin, maps, 'k8s-image-puller', { signal })
          return map?.data?.IMAGES?.includes('r.test/c:3') === true && map.data
        },
        20_000,
      )
      assert.match(
        images.IMAGES ?? '',
        /^a=r\.test\/a:1;b=r\.test\/b:2;c-3-[0-9a-f]{8}=r\.test\/c:3$/,
      )
      assert.equal(images.CACHING_INTERVAL_HOURS, '1')
    } finally {
      controller.abort()
      await ended
    }
    const after = await read()
    assert.equal(after?.metadata?.generation, (before?.metadata?.generation ?? 0) + 1)
    const { metadata, spec } = after?.spec?.template ?? {}
    assert.equal(metadata?.annotations?.team, 'theirs')
    assert.equal(spec?.containers?.[0]?.image, 'r.test/kip:1')
    assert.deepEqual(
      log.lines.filter(({ level }) => level === 'error'),
      [],
    )
  })
})
