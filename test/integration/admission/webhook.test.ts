import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { type ResourcePath, resourcePath } from '../../../src/kube/resource.ts'
import type {
  KubeObject,
  MutatingWebhookConfiguration,
  Pod,
  PodSpec,
} from '../../../src/kube/types.ts'
import { copyOf } from '../../support/admission-world.ts'
import { failOpenCount } from '../../support/fail-open-count.ts'
import { ownCluster } from '../../support/own-cluster.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { type WebhookBed, webhookBed } from '../../support/webhook-bed.ts'

const originals = 'images.kip/original-images'
const configurations: ResourcePath = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'mutatingwebhookconfigurations',
}
const namespaces: ResourcePath = { group: '', version: 'v1', plural: 'namespaces' }
const podsIn = (namespace: string): ResourcePath => ({
  group: '',
  version: 'v1',
  plural: 'pods',
  namespace,
})

const { signal } = new AbortController()
const cluster = await ownCluster()
const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
let bed: WebhookBed
let count = 0

before(async () => {
  await makeNamespace('k8s-image-puller')
  await makeNamespace('shop')
  bed = await webhookBed({ client, namespace: 'k8s-image-puller' })
  await bed.start()
  await called('shop')
})
after(async () => {
  await bed.close()
  await client.close()
})

async function makeNamespace(name: string, metadata: KubeObject['metadata'] = {}): Promise<void> {
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { ...metadata, name } }
  await createObject(client, namespaces, object, { signal })
  const accounts: ResourcePath = { ...podsIn(name), plural: 'serviceaccounts' }
  // Without it no pod is taken there.
  await waitUntil(
    `service account in ${name}`,
    () => getObject(client, accounts, 'default', { signal }),
    20_000,
  )
}

async function create(
  namespace: string,
  spec: PodSpec,
  more: { readonly metadata?: Pod['metadata']; readonly dryRun?: boolean } = {},
): Promise<Pod> {
  const metadata = { ...more.metadata, name: `p${count++}` }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec }
  const { dryRun = false } = more
  return await createObject<Pod>(client, podsIn(namespace), pod, { signal, dryRun })
}

const nginx: PodSpec = { containers: [{ name: 'web', image: 'nginx:1' }] }
const imageOf = (pod: Pod): string | undefined => pod.spec?.containers?.[0]?.image

/** Waits until the API server calls the webhook for pods of a namespace, which it learns of by watch. */
async function called(namespace: string): Promise<void> {
  await waitUntil(
    `a pod in ${namespace} is rewritten`,
    async () => imageOf(await create(namespace, nginx, { dryRun: true })) !== 'nginx:1',
    20_000,
  )
}

async function reviews(): Promise<number> {
  const text = await bed.metrics.render()
  return [...text.matchAll(/^kip_admission_requests_total\{.*\} (\d+)$/gm)].reduce(
    (sum, [, value]) => sum + Number(value),
    0,
  )
}

describe('the API server calls the webhook', () => {
  test('for a pod that is created: all places, tag and digest, the originals kept', async () => {
    const pod = await create('shop', {
      initContainers: [{ name: 'init', image: 'busybox:1' }],
      containers: [
        { name: 'web', image: 'nginx:1', volumeMounts: [{ name: 'v', mountPath: '/v' }] },
        { name: 'other', image: 'unknown:1' },
      ],
      volumes: [{ name: 'v', image: { reference: 'busybox:1' } }],
    })
    assert.equal(pod.spec?.initContainers?.[0]?.image, copyOf('busybox:1'))
    assert.deepEqual(
      pod.spec?.containers?.map(({ image }) => image),
      [copyOf('nginx:1'), 'unknown:1'],
    )
    assert.equal(pod.spec?.volumes?.[0]?.image?.reference, copyOf('busybox:1'))
    assert.deepEqual(JSON.parse(pod.metadata?.annotations?.[originals] ?? ''), {
      init: 'busybox:1',
      web: 'nginx:1',
      'volume/v': 'busybox:1',
    })
    assert.ok(bed.sighted.includes('shop docker.io/library/unknown:1'))
  })

  test('for ephemeral containers: the new one is rewritten, the pod stays as it is', async () => {
    const pod = await create('shop', { containers: [{ name: 'web', image: 'unknown:1' }] })
    const name = pod.metadata?.name ?? ''
    const patched = await client.request<Pod>({
      method: 'PATCH',
      path: resourcePath(podsIn('shop'), name, 'ephemeralcontainers'),
      contentType: 'application/strategic-merge-patch+json',
      body: { spec: { ephemeralContainers: [{ name: 'debug', image: 'busybox:1' }] } },
      signal,
    })
    assert.equal(patched.spec?.ephemeralContainers?.[0]?.image, copyOf('busybox:1'))
    assert.equal(imageOf(patched), 'unknown:1')
    assert.equal(patched.metadata?.annotations?.[originals], undefined)
  })

  test('for a dry run, which is rewritten and leaves no trace', async () => {
    const pod = await create(
      'shop',
      { containers: [...(nginx.containers ?? []), { name: 'x', image: 'tried:1' }] },
      { dryRun: true },
    )
    assert.equal(imageOf(pod), copyOf('nginx:1'))
    assert.ok(!bed.sighted.some((line) => line.includes('tried')))
  })

  test('and what a user claims as an original does not survive', async () => {
    const metadata = { annotations: { [originals]: '{"web":"evil:1","x":"y"}' } }
    const pod = await create(
      'shop',
      { containers: [{ name: 'web', image: 'unknown:1' }] },
      { metadata },
    )
    assert.equal(pod.metadata?.annotations?.[originals], undefined)
  })
})

describe('the API server does not call the webhook', () => {
  const ignored = { 'images.kip/ignore': 'true' }
  const pods: readonly [what: string, metadata: Pod['metadata'], spec?: PodSpec][] = [
    ['opted out by label', { labels: ignored }],
    ['opted out by annotation', { annotations: ignored }],
    [
      'that pictures a static pod',
      { annotations: { 'kubernetes.io/config.mirror': 'x' } },
      { ...nginx, nodeName: 'n1', automountServiceAccountToken: false },
    ],
  ]
  for (const [what, metadata, spec = nginx] of pods) {
    test(`for a pod ${what}`, async () => {
      const before = await reviews()
      const pod = await create('shop', spec, { metadata })
      assert.equal(imageOf(pod), 'nginx:1')
      assert.equal(await reviews(), before)
    })
  }

  test('in a namespace flagged by label, nor in kube-system or its own', async () => {
    await makeNamespace('labelled', { labels: ignored })
    const before = await reviews()
    for (const namespace of ['labelled', 'kube-system', 'k8s-image-puller']) {
      if (namespace === 'kube-system') await called('shop')
      const pod = await create(namespace, nginx, { dryRun: true })
      assert.equal(imageOf(pod), 'nginx:1')
    }
    // One review for the pod in between, which shows that reviews are counted.
    assert.equal(await reviews(), before + 1)
  })

  test('in a namespace flagged by annotation; once the flag is gone it does', async () => {
    await makeNamespace('annotated', { annotations: ignored })
    const values = async (): Promise<readonly string[]> => {
      const [webhook] = (await configuration())?.webhooks ?? []
      return (
        webhook?.namespaceSelector?.matchExpressions?.flatMap((each) => each.values ?? []) ?? []
      )
    }
    await waitUntil('the configuration names it', async () =>
      (await values()).includes('annotated'),
    )
    assert.equal(imageOf(await create('annotated', nginx)), 'nginx:1')

    await client.request({
      method: 'PATCH',
      path: resourcePath(namespaces, 'annotated'),
      contentType: 'application/merge-patch+json',
      body: { metadata: { annotations: { 'images.kip/ignore': null } } },
      signal,
    })
    await called('annotated')
    assert.ok(!(await values()).includes('annotated'))
  })
})

describe('the configuration', () => {
  test('says what was asked for', async () => {
    const [webhook, ...others] = (await configuration())?.webhooks ?? []
    assert.equal(others.length, 0)
    assert.equal(webhook?.failurePolicy, 'Ignore')
    assert.equal(webhook?.timeoutSeconds, 2)
    assert.equal(webhook?.sideEffects, 'NoneOnDryRun')
    assert.equal(webhook?.reinvocationPolicy, 'IfNeeded')
    assert.equal(webhook?.matchPolicy, 'Equivalent')
  })

  test('comes back when it is deleted', async () => {
    await deleteObject(client, configurations, 'kip', { signal })
    await waitUntil('it is back', configuration)
    await called('shop')
  })

  const edits: readonly [what: string, patch: object][] = [
    ['a closed failure policy', { failurePolicy: 'Fail' }],
    ['another bundle', { clientConfig: { url: 'https://127.0.0.1:1/mutate' } }],
    ['a condition that never holds', { matchConditions: [{ name: 'never', expression: 'false' }] }],
    ['no rules', { rules: [] }],
  ]
  for (const [what, patch] of edits) {
    test(`is repaired within seconds after somebody gave it ${what}`, async () => {
      const before = await configuration()
      const [webhook] = before?.webhooks ?? []
      await client.request({
        method: 'PATCH',
        path: resourcePath(configurations, 'kip'),
        query: { fieldManager: 'somebody' },
        contentType: 'application/merge-patch+json',
        body: { webhooks: [{ ...webhook, ...patch }] },
        signal,
      })
      const text = JSON.stringify(before?.webhooks)
      await waitUntil(
        'it is as it was',
        async () => JSON.stringify((await configuration())?.webhooks) === text,
        10_000,
      )
      await called('shop')
    })
  }

  test('causes no request while nothing changes', async () => {
    const version = (await configuration())?.metadata?.resourceVersion
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    assert.equal((await configuration())?.metadata?.resourceVersion, version)
  })
})

describe('a webhook that cannot answer costs a pod no more than the timeout', () => {
  async function replace(t: TestContext, server: Server): Promise<void> {
    const sockets = new Set<Socket>()
    server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
    await bed.stop()
    t.after(async () => {
      for (const socket of sockets) socket.destroy()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
      await bed.start()
      await called('shop')
    })
    await once(server.listen(bed.port, '127.0.0.1'), 'listening')
  }

  async function expectOwnImage(): Promise<void> {
    const start = performance.now()
    const pod = await create('shop', nginx)
    assert.equal(imageOf(pod), 'nginx:1')
    assert.ok(performance.now() - start < 3_000)
  }

  function answering(text: string): Server {
    const { certificate: cert = '', key = '' } = bed.certificates.current() ?? {}
    return createTlsServer({ cert, key }, (socket) => {
      socket.on('error', () => {}).once('data', () => socket.end(text))
    })
  }

  test('gone', async (t) => {
    await bed.stop()
    t.after(async () => {
      await bed.start()
      await called('shop')
    })
    await expectOwnImage()
  })

  test('hanging', async (t) => {
    await replace(
      t,
      createTcpServer(() => {}),
    )
    await expectOwnImage()
  })

  test('answering 500', async (t) => {
    await replace(t, answering('HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n'))
    await expectOwnImage()
  })

  test('answering garbage', async (t) => {
    await replace(t, answering('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'))
    await expectOwnImage()
  })

  test('with a certificate of somebody else', async (t) => {
    const context = { now: Date.now(), lifetimes: defaultLifetimes, names: ['127.0.0.1'] }
    const pair = await issueServing(await issueAuthority(context), context)
    await replace(t, createTlsServer({ cert: pair.certificate, key: pair.key }))
    await expectOwnImage()
  })
})

test('through a change of authority and of certificates every pod is rewritten', async (t) => {
  await bed.close()
  await deleteObject(
    client,
    { ...podsIn('k8s-image-puller'), plural: 'secrets' },
    'kip-webhook-certs',
    {
      signal,
    },
  )
  const second = 1_000
  bed = await webhookBed({
    client,
    namespace: 'k8s-image-puller',
    pollMs: 200,
    lifetimes: {
      authorityMs: 16 * second,
      servingMs: 8 * second,
      replaceAt: 0.5,
      backdateMs: 2 * second,
      trustDelayMs: 1.5 * second,
      overlapMs: 2 * second,
    },
  })
  await bed.start()
  await waitUntil(
    'the API server trusts the new authority',
    async () => {
      const bundle = bed.certificates.current()?.bundle ?? ''
      const [webhook] = (await configuration())?.webhooks ?? []
      const trusted = Buffer.from(webhook?.clientConfig.caBundle ?? '', 'base64').toString()
      // Behind it stays, for a while, who was trusted when this leader came.
      return bundle !== '' && trusted.startsWith(bundle.trimEnd())
    },
    10_000,
  )
  await called('shop')
  const failedOpen = await failOpenCount(client)
  const served = new Set<string>()
  const issuers = new Set<string>()
  const end = performance.now() + 20 * second
  let pods = 0
  while (performance.now() < end) {
    const pod = await create('shop', nginx, { dryRun: true })
    assert.equal(imageOf(pod), copyOf('nginx:1'), `pod ${pods}`)
    pods++
    const leaf = new X509Certificate(bed.certificates.current()?.certificate ?? '')
    served.add(leaf.fingerprint256)
    issuers.add(leaf.issuer)
  }
  assert.equal(await failOpenCount(client), failedOpen)
  assert.ok(issuers.size >= 3, `${issuers.size} authorities`)
  t.diagnostic(`${pods} pods, ${served.size} certificates, ${issuers.size} authorities`)
})

async function configuration(): Promise<MutatingWebhookConfiguration | undefined> {
  return await getObject<MutatingWebhookConfiguration>(client, configurations, 'kip', { signal })
}
