import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import type { PullIdentity } from '../../src/discovery/discovery.ts'
import { createMapping } from '../../src/images/mapping.ts'
import { createObject, deleteObject, getObject } from '../../src/kube/apply.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { connectCluster } from '../../src/kube/connect.ts'
import { type ResourcePath, resourcePath } from '../../src/kube/resource.ts'
import type { DaemonSet, KubeList, KubeObject, Pod } from '../../src/kube/types.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { defaultPace } from '../../src/puller/pace.ts'
import { createPuller } from '../../src/puller/puller.ts'
import { createMemoryStore } from '../../src/state/memory-store.ts'
import { imageOf, layerOf } from '../cluster/images/image.ts'
import { tinyImage } from '../cluster/images/tiny.ts'
import { type Cluster, reportToStderr } from '../cluster/index.ts'
import { registryUser } from '../cluster/registry/config.ts'
import { sleepProgram } from '../cluster/sleep-program.ts'
import { acquireCluster, noNodes } from '../support/cluster.ts'
import { pullerSettings } from '../support/puller-settings.ts'
import { roleClient } from '../support/role-client.ts'
import { silentLog } from '../support/silent-log.ts'
import { waitUntil } from '../support/wait-until.ts'

const skip = noNodes()
const cluster = skip === false ? await acquireCluster({ nodes: 2 }) : undefined
const namespace = `private-${process.pid}`
const team = `${namespace}-team`
const stranger = `${namespace}-stranger`
const repository = `private-${process.pid}`
const { signal } = new AbortController()

const coreV1 = (plural: string, namespace?: string): ResourcePath => ({
  ...{ group: '', version: 'v1', plural },
  ...(namespace !== undefined && { namespace }),
})
const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }

describe('images that need credentials, on real nodes', { skip }, () => {
  if (cluster !== undefined) suite(cluster)
})

function suite(cluster: Cluster): void {
  // One that no other test of these nodes asks.
  const registry = cluster.registries.plain
  const image = `${registry.host}/${repository}/secret/app:1`
  const wrong = `${registry.host}/${repository}/secret/other:1`
  const dockerConfig = (password: string): string =>
    JSON.stringify({
      auths: {
        [registry.host]: { username: registryUser.username, password },
        'elsewhere.test': { username: 'else', password: 'where' },
      },
    })
  let admin: KubeClient
  let client: KubeClient
  let guard: AsyncDisposable

  before(async () => {
    const content = await readFile(await sleepProgram({ report: reportToStderr }))
    const holder = layerOf([{ kind: 'file', path: '/kip/sleep', content, mode: 0o755 }])
    await registry.push(imageOf({ layers: [holder] }), `${repository}/sleep`, '1')
    const own = layerOf([{ kind: 'file', path: '/kip/sleep', content, mode: 0o755 }])
    await registry.push(
      imageOf({ layers: [own, layerOf([{ kind: 'file', path: '/app', content: 'app' }])] }),
      `${repository}/secret/app`,
      '1',
    )
    await registry.push(tinyImage(91), `${repository}/secret/other`, '1')
    guard = await registry.trouble([
      {
        path: `^/v2/${repository}/secret/`,
        status: 401,
        headers: { 'www-authenticate': 'Basic realm="test"' },
        unless: registryUser,
      },
    ])
    admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
    for (const name of [namespace, team, stranger]) {
      const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
      await createObject(admin, coreV1('namespaces'), object, { signal })
      await waitUntil(
        'the default service account',
        () => getObject(admin, coreV1('serviceaccounts', name), 'default', { signal }),
        20_000,
      )
    }
    await makeSecret(team, 'login', dockerConfig(registryUser.password))
    await makeSecret(team, 'outdated', dockerConfig('outdated-password'))
    await makeSecret(stranger, 'guess', dockerConfig('guessed-password'))
    client = await roleClient({
      client: admin,
      kubeconfig: cluster.kubeconfig,
      namespace,
      rules: [
        { apiGroups: ['apps'], resources: ['daemonsets'], verbs: ['*'] },
        { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] },
        { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'create', 'delete'] },
      ],
      clusterWide: ['rbac-puller.yaml', 'components/private-images/rbac.yaml'],
    })
  })

  after(async () => {
    await guard[Symbol.asyncDispose]()
    for (const name of [namespace, team, stranger]) {
      await deleteObject(admin, coreV1('namespaces'), name, { signal })
    }
    await waitUntil(
      'the namespaces to be gone',
      async () => {
        for (const name of [namespace, team, stranger]) {
          if (await getObject(admin, coreV1('namespaces'), name, { signal })) return false
        }
        return true
      },
      60_000,
    )
    for (const { name } of cluster.nodes) {
      const own = (await cluster.imagesOn(name)).filter((one) => one.includes(repository))
      await cluster.removeImages(name, own)
    }
    await client.close()
    await admin.close()
  })

  async function makeSecret(of: string, name: string, content: string): Promise<void> {
    const data = { '.dockerconfigjson': Buffer.from(content).toString('base64') }
    const type = 'kubernetes.io/dockerconfigjson'
    await createObject(
      admin,
      coreV1('secrets', of),
      { apiVersion: 'v1', kind: 'Secret', metadata: { name }, type, data } as KubeObject,
      { signal },
    )
  }

  type Secret = KubeObject & { readonly data?: Readonly<Record<string, string>> }
  async function copies(): Promise<readonly Secret[]> {
    const path = resourcePath(coreV1('secrets', namespace))
    const { items } = await admin.request<KubeList<Secret>>({ method: 'GET', path, signal })
    return (items ?? []).filter(
      ({ metadata }) => metadata?.labels?.['images.kip/part'] === 'puller-credentials',
    )
  }

  /** A pod that has the image already pulled, or pulls it. */
  async function startPod(of: string, name: string, secret: string | undefined): Promise<void> {
    const spec = {
      nodeName: cluster.nodes[0]?.name,
      terminationGracePeriodSeconds: 0,
      containers: [
        { name: 'app', image, imagePullPolicy: 'IfNotPresent', command: ['/kip/sleep', '1h'] },
      ],
      ...(secret === undefined ? {} : { imagePullSecrets: [{ name: secret }] }),
    }
    await createObject(
      admin,
      coreV1('pods', of),
      { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec } as KubeObject,
      { signal },
    )
  }
  const stateOf = async (of: string, name: string): Promise<string> => {
    const pod = await getObject<Pod>(admin, coreV1('pods', of), name, { signal })
    const [container] = pod?.status?.containerStatuses ?? []
    return container?.state?.waiting?.reason ?? Object.keys(container?.state ?? {}).join()
  }

  it('are held with their users’ credentials, which let these in and nobody else, and go with them', async () => {
    const log = silentLog()
    const store = createMemoryStore()
    const settings = pullerSettings(namespace, {
      KIP_IMAGE: `${registry.host}/${repository}/sleep:1`,
      KIP_PULLER_PRIVATE_IMAGES: 'verified',
      KIP_PULLER_PODS_PER_NODE: '4',
    })
    const now = new Date().toISOString()
    for (const reference of [image, wrong]) {
      const usage = { wanted: ['InUse'] as const, pods: 1, workloads: 1, namespaces: 1, owners: [] }
      await store.putUsage(reference, { ...usage, firstSeen: now }, signal)
      const state = store.get(reference)
      assert.ok(state)
      await store.putSource(state, { state: 'NeedsCredentials', checkedAt: now }, signal)
    }
    let users = new Map<string, readonly PullIdentity[]>([
      [image, [{ namespace: team, secrets: ['login'] }]],
      [wrong, [{ namespace: team, secrets: ['outdated'] }]],
    ])
    const statuses: string[] = []
    const stopListening = store.onChange((reference) => {
      statuses.push(JSON.stringify(store.get(reference)?.nodes ?? {}))
    })
    const controller = new AbortController()
    const ended = createPuller({
      client,
      store,
      settings,
      mapping: createMapping({ registry: '', mapping: 'path' }),
      log,
      metrics: createMetrics({ processMetrics: false }),
      pace: { ...defaultPace, removeMs: 5000 },
      pullIdentities: () => users,
    }).run(controller.signal)
    try {
      await waitUntil(
        'both nodes to hold the image',
        () => {
          const { desired, cached } = store.get(image)?.nodes ?? {}
          return desired === cluster.nodes.length && cached === desired
        },
        60_000,
      )
      for (const { name } of cluster.nodes) {
        assert.ok((await cluster.imagesOn(name)).includes(image), name)
      }
      // What fails is left out, and the rest is all that the copy holds.
      await waitUntil(
        'the copy to hold one entry',
        async () => {
          const [copy, ...more] = await copies()
          if (copy === undefined || more.length > 0) return false
          const text = Buffer.from(copy.data?.['.dockerconfigjson'] ?? '', 'base64').toString()
          const keys = Object.keys(JSON.parse(text).auths)
          return keys.length === 1 && keys[0] === `${registry.host}/${repository}/secret/app`
        },
        90_000,
      )

      await registry.stop()
      await startPod(team, 'in', 'login')
      await startPod(stranger, 'without', undefined)
      await startPod(stranger, 'guessing', 'guess')
      await waitUntil(
        'its users’ pod to run while the registry is down',
        async () => (await stateOf(team, 'in')) === 'running',
        60_000,
      )
      for (const name of ['without', 'guessing']) {
        await waitUntil(
          `${name} to be turned away`,
          async () => /ErrImagePull|ImagePullBackOff/.test(await stateOf(stranger, name)),
          60_000,
        )
      }
      await registry.start()

      users = new Map()
      await waitUntil(
        'DaemonSet and copy to be gone',
        async () => {
          const there = await getObject<DaemonSet>(client, daemonSets, 'kip-private', { signal })
          return there === undefined && (await copies()).length === 0
        },
        120_000,
      )
      assert.ok(await getObject(admin, coreV1('secrets', team), 'login', { signal }))
    } finally {
      stopListening()
      controller.abort()
      await ended
      const told = JSON.stringify([log.lines, statuses])
      for (const secret of [registryUser.password, 'outdated-password', 'where"']) {
        const encoded = Buffer.from(`${registryUser.username}:${secret}`).toString('base64')
        assert.ok(!told.includes(`"${secret}"`) && !told.includes(encoded), 'a secret was told')
      }
    }
  })
}
