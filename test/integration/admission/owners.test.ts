/** What admission follows in the cluster besides images: pull secrets, and owners that do not get along with rewriting. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createLoopBreaker } from '../../../src/admission/loop-breaker.ts'
import { createReviewer } from '../../../src/admission/reviewer.ts'
import { createDiscovery } from '../../../src/discovery/discovery.ts'
import { workloadKinds } from '../../../src/images/templates.ts'
import { createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { createEventRecorder } from '../../../src/kube/events.ts'
import { type ResourcePath, resourcePath } from '../../../src/kube/resource.ts'
import type { KubeList, KubeObject, Pod, PodSpec } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createClusterStore } from '../../../src/state/cluster-store.ts'
import { createExclusions } from '../../../src/state/exclusions.ts'
import { createPullSecrets } from '../../../src/state/pull-secrets.ts'
import { createStoppedOwners, type StoppedOwners } from '../../../src/state/stopped-owners.ts'
import { accountClient } from '../../support/account-client.ts'
import { copyOf, mapping, mirrored, registry, storeOf } from '../../support/admission-world.ts'
import { ownCluster } from '../../support/own-cluster.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { type WebhookBed, webhookBed } from '../../support/webhook-bed.ts'

const { signal } = new AbortController()
const cluster = await ownCluster()
const own = 'k8s-image-puller'
const manifests = fileURLToPath(new URL('../../../deploy/manifests', import.meta.url))
const admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
const log = silentLog()
const running = new AbortController()
const parts: Promise<void>[] = []
const closing: KubeClient[] = [admin]
let kip: KubeClient
let bed: WebhookBed
/** As two replicas see them. */
let stopped: readonly [StoppedOwners, StoppedOwners]
let leaderMetrics: ReturnType<typeof createMetrics>

const core = (plural: string, namespace?: string): ResourcePath => ({
  group: '',
  version: 'v1',
  plural,
  ...(namespace !== undefined && { namespace }),
})

function start(part: { run(signal: AbortSignal): Promise<void> }): void {
  parts.push(part.run(running.signal))
}

before(async () => {
  await cluster.kubectl(['apply', '--server-side', '-k', manifests])
  const component = `${manifests}/components/backup-pull-secret/rbac.yaml`
  await cluster.kubectl(['apply', '--server-side', '-f', component])
  const connect = async (): Promise<KubeClient> => {
    const { kubeconfig } = cluster
    const made = await accountClient({ client: admin, kubeconfig, namespace: own, name: own })
    closing.push(made)
    return made
  }
  kip = await connect()
  for (const name of ['shop', 'other']) await makeNamespace(name)

  const pullSecret = createPullSecrets({ client: kip, name: 'kip-backup', log })
  const owners = (client: KubeClient) => createStoppedOwners({ client, namespace: own, log })
  stopped = [owners(kip), owners(await connect())]
  bed = await webhookBed({ client: kip, namespace: own, also: { stopped: stopped[1], pullSecret } })
  const { settings } = bed
  const metrics = createMetrics({ processMetrics: false })
  leaderMetrics = metrics
  const events = createEventRecorder({
    client: kip,
    controller: 'images.kip/kip',
    instance: 'x',
    log,
  })
  const exclusions = createExclusions({ client: kip, settings, log })
  const store = createClusterStore({ client: kip, log, metrics })
  const breaker = createLoopBreaker({
    client: kip,
    stopped: stopped[0],
    kinds: workloadKinds,
    review: createReviewer({
      store: storeOf(mirrored('nginx:1'), mirrored('busybox:1')),
      exclusions,
      stopped: stopped[0],
      pullSecret,
      mapping,
      settings,
    }),
    registry,
    events,
    log,
    metrics,
  })
  const discovery = createDiscovery({
    client: kip,
    store,
    exclusions,
    mapping,
    settings,
    log,
    metrics,
    events,
    onLeaving: breaker.see,
  })
  for (const part of [pullSecret, ...stopped, exclusions, store, breaker, discovery]) start(part)
  await bed.start()
  await waitUntil('discovery has looked', () => discovery.pullIdentities([]) !== undefined, 20_000)
  await waitUntil(
    'the API server asks the webhook',
    async () => {
      await tried('shop')
      return (await lacking()) > 0
    },
    20_000,
  )
})

after(async () => {
  running.abort()
  await Promise.all(parts)
  await bed?.close()
  for (const client of closing) await client.close()
})

async function makeNamespace(name: string): Promise<void> {
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
  await createObject(admin, core('namespaces'), object, { signal })
  await waitUntil(
    `service account in ${name}`,
    () => getObject(admin, core('serviceaccounts', name), 'default', { signal }),
    20_000,
  )
}

async function createPod(
  namespace: string,
  more: object = {},
  spec: PodSpec = {},
  dryRun = false,
): Promise<Pod> {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'p-', ...more },
    spec: { containers: [{ name: 'web', image: 'nginx:1' }], ...spec },
  }
  return await createObject<Pod>(admin, core('pods', namespace), pod, { signal, dryRun })
}

const imageOf = (pod: Pod): string | undefined => pod.spec?.containers?.[0]?.image

async function tried(namespace: string, secrets?: PodSpec['imagePullSecrets']): Promise<Pod> {
  return await createPod(namespace, {}, secrets && { imagePullSecrets: secrets }, true)
}

async function putSecret(namespace: string): Promise<void> {
  const object = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'kip-backup' },
    type: 'kubernetes.io/dockerconfigjson',
    data: { '.dockerconfigjson': Buffer.from('{"auths":{}}').toString('base64') },
  }
  await createObject(admin, core('secrets', namespace), object as KubeObject, { signal })
}

async function eventsOf(uid: string): Promise<readonly { readonly note?: string }[]> {
  const { items } = await admin.request<
    KubeList<{ readonly regarding?: { readonly uid?: string }; readonly note?: string }>
  >({
    method: 'GET',
    path: resourcePath({ group: 'events.k8s.io', version: 'v1', plural: 'events' }),
    query: { fieldSelector: 'reason=RewriteStopped' },
    signal,
  })
  return (items ?? []).filter(({ regarding }) => regarding?.uid === uid)
}

/** How many images the webhook left as they were for want of the secret: that it was asked at all, and answered so. */
async function lacking(): Promise<number> {
  const text = await bed.metrics.render()
  return Number(/^kip_admission_images_total\{code="NoPullSecret"\} (\d+)$/m.exec(text)?.[1] ?? 0)
}

async function expectLeft(namespace: string): Promise<void> {
  const before = await lacking()
  assert.equal(imageOf(await tried(namespace)), 'nginx:1')
  assert.equal(await lacking(), before + 1)
}

const isRewritten = async (): Promise<boolean> => imageOf(await tried('shop')) !== 'nginx:1'

describe('the pull secret of a private backup', () => {
  test('that a namespace lacks keeps its pods as they are', async () => {
    await expectLeft('shop')
  })

  test('that is there is appended to the pods, in its own namespace alone', async () => {
    await putSecret('shop')
    await waitUntil('shop is rewritten', isRewritten, 20_000)
    const pod = await tried('shop')
    assert.equal(imageOf(pod), copyOf('nginx:1'))
    assert.deepEqual(pod.spec?.imagePullSecrets, [{ name: 'kip-backup' }])
    await expectLeft('other')
  })

  test('is appended to those that the pod names, once', async () => {
    const named = [{ name: 'mine' }, { name: 'kip-backup' }]
    assert.deepEqual((await tried('shop', named)).spec?.imagePullSecrets, named)
    assert.deepEqual((await tried('shop', [{ name: 'mine' }])).spec?.imagePullSecrets, named)
  })

  test('that is deleted and made again is followed', async () => {
    await deleteObject(admin, core('secrets', 'shop'), 'kip-backup', { signal })
    await waitUntil('shop is left', async () => !(await isRewritten()))
    await expectLeft('shop')
    await putSecret('shop')
    await waitUntil('shop is rewritten', isRewritten)
  })

  test('is the only one that kip may see', async () => {
    const path = resourcePath(core('secrets'))
    for (const query of [{}, { fieldSelector: 'metadata.name=other' }]) {
      await assert.rejects(kip.request({ method: 'GET', path, query, signal }), { status: 403 })
    }
  })
})

async function expectTold(uid: string, reason: string): Promise<void> {
  const [event] = await waitUntil('the event', async () => {
    const found = await eventsOf(uid)
    return found.length > 0 ? found : undefined
  })
  assert.match(event?.note ?? '', /images\.kip\/ignore: "true"/)
  const total = `kip_admission_stops_total{reason="${reason}"} 1\n`
  assert.ok((await leaderMetrics.render()).includes(total), total)
}

describe('an owner that compares its pods', () => {
  test('is left alone after three rounds, in every replica, and told how to keep it so', async () => {
    const owner = await createObject<KubeObject>(
      admin,
      core('configmaps', 'shop'),
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'operator' } },
      { signal },
    )
    const uid = owner.metadata?.uid ?? ''
    const reference = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      name: 'operator',
      uid,
      controller: true,
    }
    // The first two have no node and go at once; the third is a kubelet's to end.
    for (const [round, nodeName] of [undefined, undefined, 'n1'].entries()) {
      assert.ok(!stopped[1].has(uid), `round ${round}`)
      const spec = nodeName === undefined ? {} : { nodeName }
      const pod = await createPod('shop', { ownerReferences: [reference] }, spec)
      assert.equal(imageOf(pod), copyOf('nginx:1'))
      await deleteObject(admin, core('pods', 'shop'), pod.metadata?.name ?? '', { signal })
      // Pods that were made within one second may have been there together.
      await delay(2_000)
    }
    await waitUntil('both replicas know', () => stopped.every((each) => each.has(uid)))
    const pod = await createPod('shop', { ownerReferences: [reference] })
    assert.equal(imageOf(pod), 'nginx:1')
    assert.equal(imageOf(await createPod('shop')), copyOf('nginx:1'))
    await expectTold(uid, 'Recreated')
  })
})

describe('an owner whose rewritten pods a policy refuses', () => {
  const admission = { group: 'admissionregistration.k8s.io', version: 'v1' }

  test('gets its pods, with their own image, by itself', async () => {
    await createObject(
      admin,
      { ...admission, plural: 'validatingadmissionpolicies' },
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicy',
        metadata: { name: 'registries' },
        spec: {
          matchConstraints: {
            resourceRules: [
              { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] },
            ],
          },
          validations: [
            {
              expression: "object.spec.containers.all(c, !c.image.startsWith('backup.test'))",
              message: 'this image registry is not allowed',
            },
          ],
        },
      } as KubeObject,
      { signal },
    )
    await createObject(
      admin,
      { ...admission, plural: 'validatingadmissionpolicybindings' },
      {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicyBinding',
        metadata: { name: 'registries' },
        spec: { policyName: 'registries', validationActions: ['Deny'] },
      } as KubeObject,
      { signal },
    )
    await waitUntil('the policy holds', async () => {
      return await tried('shop').then(
        () => false,
        () => true,
      )
    })
    const labels = { app: 'refused' }
    await createObject(
      admin,
      { group: 'apps', version: 'v1', plural: 'deployments', namespace: 'shop' },
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'refused' },
        spec: {
          selector: { matchLabels: labels },
          template: {
            metadata: { labels },
            spec: { containers: [{ name: 'web', image: 'nginx:1' }] },
          },
        },
      } as KubeObject,
      { signal },
    )
    const [pod] = await waitUntil(
      'a pod of the Deployment',
      async () => {
        const { items } = await admin.request<KubeList<Pod>>({
          method: 'GET',
          path: resourcePath(core('pods', 'shop')),
          query: { labelSelector: 'app=refused' },
          signal,
        })
        return items?.length ? items : undefined
      },
      60_000,
    )
    assert.equal(pod && imageOf(pod), 'nginx:1')
    const [replicaSet] = pod?.metadata?.ownerReferences ?? []
    const uid = replicaSet?.uid ?? ''
    await waitUntil('both replicas know', () => stopped.every((each) => each.has(uid)))
    assert.equal(stopped[1].get(uid)?.reason, 'Refused')
    await expectTold(uid, 'Refused')
  })
})

describe('the list of stopped owners', () => {
  const far = new Date(Date.now() + 86_400_000).toISOString()
  const entry = (uid: string) =>
    ({ uid, name: 'shop/X/x', reason: 'Recreated', times: 1, until: far }) as const

  test('loses nothing when two leaders write at once', async () => {
    const uids = Array.from({ length: 4 }, (_, index) => `u${index}`)
    await Promise.all(
      uids.map((uid, index) => stopped[index % 2 === 0 ? 0 : 1].put(entry(uid), signal)),
    )
    await waitUntil('all are known', () => uids.every((uid) => stopped[0].has(uid)))
  })

  test('outlives a restart', async () => {
    const again = createStoppedOwners({ client: kip, namespace: own, log })
    start(again)
    await again.synced
    assert.ok(again.has('u0'))
  })

  test('ends by itself, and remembers how often', async () => {
    const until = new Date(Date.now() - 1000).toISOString()
    await stopped[0].put({ ...entry('past'), times: 3, until }, signal)
    await waitUntil('it is known', () => stopped[1].get('past') !== undefined)
    assert.equal(stopped[1].has('past'), false)
    assert.equal(stopped[1].get('past')?.times, 3)
  })

  test('that somebody fills with rubbish, or deletes, stops rewriting for nobody', async () => {
    for (const text of ['{', '[null,{"uid":1}]', '{"a":1}']) {
      await admin.request({
        method: 'PATCH',
        path: resourcePath(core('configmaps', own), 'kip-stopped-owners'),
        contentType: 'application/merge-patch+json',
        body: { data: { 'owners.json': text } },
        signal,
      })
      await waitUntil('it is read', () => stopped[1].count() === 0)
      await stopped[0].put(entry('u9'), signal)
      await waitUntil('it is right again', () => stopped[1].has('u9'))
    }
    await deleteObject(admin, core('configmaps', own), 'kip-stopped-owners', { signal })
    await waitUntil('it is gone', () => stopped[1].count() === 0)
  })
})
