/**
 * The webhook among what clusters have beside it, at an API server that enforces AlwaysPullImages: clocks that differ,
 * certificates of the user's, cert-manager's injector, another webhook that wants the opposite, and an uninstall.
 */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, beforeEach, describe, type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { secretName } from '../../../certs/secret-source.ts'
import { configurations, trustedBundle } from '../../../certs/trusted-bundle.ts'
import { mayChangePullPolicy } from '../../../src/admission/pull-policy.ts'
import { certs } from '../../../src/cli/certs.ts'
import { createObject, deleteObject, getObject, updateObject } from '../../../src/kube/apply.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { Doubt } from '../../../src/kube/doubt.ts'
import { isConflict } from '../../../src/kube/errors.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import type {
  KubeObject,
  MutatingWebhookConfiguration,
  Pod,
  PodSpec,
  Secret,
} from '../../../src/kube/types.ts'
import { copyOf } from '../../support/admission-world.ts'
import { ownCluster } from '../../support/own-cluster.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { type WebhookBed, type WebhookBedOptions, webhookBed } from '../../support/webhook-bed.ts'

const namespace = 'k8s-image-puller'
const pollMs = 100
const minute = 60_000
const originals = 'images.kip/original-images'
const owner = 'kip-admission'

const core = (plural: string, where?: string): ResourcePath => ({
  ...{ group: '', version: 'v1', plural },
  ...(where !== undefined && { namespace: where }),
})
const secrets = core('secrets', namespace)
const clusterRoles = { group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'clusterroles' }

const { signal } = new AbortController()
const cluster = await ownCluster({
  apiServerArguments: ['--enable-admission-plugins=AlwaysPullImages'],
})
const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
after(() => client.close())

before(async () => {
  for (const name of [namespace, 'shop']) {
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
    await createObject(client, core('namespaces'), object, { signal })
    await waitUntil(
      `service account in ${name}`,
      () => getObject(client, core('serviceaccounts', name), 'default', { signal }),
      20_000,
    )
  }
  const role = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole' }
  await createObject(client, clusterRoles, { ...role, metadata: { name: owner } }, { signal })
})

// Whoever served the one before has ended, and makes no other.
beforeEach(async () => {
  await deleteObject(client, secrets, secretName, { signal })
})

async function create(spec: PodSpec = {}, where = 'shop', dryRun = true): Promise<Pod> {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'p-' },
    spec: { containers: [{ name: 'web', image: 'nginx:1' }], ...spec },
  }
  return await createObject<Pod>(client, core('pods', where), pod, { signal, dryRun })
}

const imageOf = (pod: Pod): string | undefined => pod.spec?.containers?.[0]?.image

async function configuration(): Promise<MutatingWebhookConfiguration | undefined> {
  return await getObject<MutatingWebhookConfiguration>(client, configurations, 'kip', { signal })
}

/** A webhook that ends with the test; returns once the API server has asked it for a pod and taken its answer. */
async function serve(
  t: TestContext,
  options: Omit<WebhookBedOptions, 'client' | 'namespace'>,
): Promise<WebhookBed> {
  const bed = await webhookBed({ client, namespace, pollMs, ...options })
  t.after(() => bed.close())
  await bed.start()
  await isRewriting()
  return bed
}

async function isRewriting(): Promise<void> {
  await waitUntil(
    'a pod is rewritten',
    async () => imageOf(await create()) === copyOf('nginx:1'),
    20_000,
  )
}

/** Runs `kip certs issue` as a user does. */
async function issueByHand(folder: string): Promise<void> {
  const fail = (): never => assert.fail('not asked for')
  const code = await certs({
    argv: ['issue', '--out', folder, '--name', '127.0.0.1'],
    ...{ env: {}, readFile: fail, readInput: fail, print: () => {}, complain: fail },
    ...{ program: '', version: '0', onCrash: fail, signal },
  })
  assert.equal(code, 0)
}

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-certs-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

async function secretFrom(folder: string): Promise<Secret> {
  const files = ['tls.crt', 'tls.key', 'ca.crt']
  const read = async (file: string) => [
    file,
    (await readFile(join(folder, file))).toString('base64'),
  ]
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: secretName },
    type: 'kubernetes.io/tls',
    data: Object.fromEntries(await Promise.all(files.map(read))),
  }
}

describe('a clock of kip', () => {
  for (const [what, byMs] of [
    ['ahead of', 55 * minute],
    ['behind', -55 * minute],
  ] as const) {
    test(`nearly an hour ${what} the API server's costs no pod its copy`, async (t) => {
      const bed = await serve(t, { now: () => Date.now() + byMs })
      const { certificate = '' } = bed.certificates.current() ?? {}
      const madeAt =
        new X509Certificate(certificate).validFromDate.getTime() + defaultLifetimes.backdateMs
      assert.ok(Math.abs(madeAt - byMs - Date.now()) < minute)
    })
  }
})

describe('a certificate that is issued by hand', () => {
  test('serves from the Secret, which is never written, and a renewal is followed', async (t) => {
    const folder = await folderOf(t)
    await issueByHand(folder)
    const made = await createObject<Secret>(client, secrets, await secretFrom(folder), { signal })
    const bed = await serve(t, { env: { KIP_ADMISSION_CERTIFICATE: 'secret' } })
    const served = bed.certificates.current()?.certificate
    const found = await getObject<Secret>(client, secrets, secretName, { signal })
    assert.equal(found?.metadata?.resourceVersion, made.metadata?.resourceVersion)

    await issueByHand(folder)
    const renewed = { ...(await secretFrom(folder)), metadata: made.metadata ?? {} }
    await updateObject<Secret>(client, secrets, renewed, { signal })
    await waitUntil('another is served', () => bed.certificates.current()?.certificate !== served)
    await isRewriting()
  })

  test('serves from a mounted volume, and the swap of its link is followed', async (t) => {
    const volume = await folderOf(t)
    const put = async (version: string): Promise<void> => {
      await mkdir(join(volume, version))
      await issueByHand(join(volume, version))
      await symlink(version, join(volume, '..data-next'))
      await rename(join(volume, '..data-next'), join(volume, '..data'))
    }
    await put('one')
    const env = {
      KIP_ADMISSION_CERTIFICATE: 'files',
      KIP_ADMISSION_CERTIFICATE_FOLDER: join(volume, '..data'),
    }
    const bed = await serve(t, { env })
    const served = bed.certificates.current()?.bundle
    // Of another authority: nobody trusts it until kip has told the API server.
    await put('two')
    await waitUntil('another is served', () => bed.certificates.current()?.bundle !== served)
    await isRewriting()
    const found = await getObject<Secret>(client, secrets, secretName, { signal })
    assert.equal(found, undefined)
  })
})

/** cert-manager's CA injector: whatever stands in the configuration is replaced by the very bytes of the Secret's `ca.crt`. */
function startInjector(t: TestContext, caBundle: string): { writes: () => number } {
  const stopping = new AbortController()
  let writes = 0
  const inject = async (): Promise<void> => {
    const found = await configuration()
    const [webhook] = found?.webhooks ?? []
    if (found === undefined || webhook === undefined) return
    if (webhook.clientConfig.caBundle === caBundle) return
    const clientConfig = { ...webhook.clientConfig, caBundle }
    const injected = { ...found, webhooks: [{ ...webhook, clientConfig }] }
    await updateObject<MutatingWebhookConfiguration>(client, configurations, injected, { signal })
    writes++
  }
  const running = (async () => {
    while (!stopping.signal.aborted) {
      await inject().catch((error: unknown) => {
        if (!isConflict(error)) throw error
      })
      await delay(20)
    }
  })()
  t.after(async () => {
    stopping.abort()
    await running
  })
  return { writes: () => writes }
}

test("cert-manager's injector and kip agree on the bundle, though each writes it", async (t) => {
  const folder = await folderOf(t)
  await issueByHand(folder)
  // As cert-manager writes PEM: each block ends with a line feed.
  const secret = await secretFrom(folder)
  const authority = `${(await readFile(join(folder, 'ca.crt'), 'utf8')).trim()}\n`
  const caBundle = Buffer.from(authority).toString('base64')
  const data = { ...secret.data, 'ca.crt': caBundle }
  const filled: Secret = { ...secret, data }
  await createObject(client, secrets, filled, { signal })
  const injector = startInjector(t, caBundle)
  await serve(t, { env: { KIP_ADMISSION_CERTIFICATE: 'secret' } })
  // Each may have found what stood there before, and kip what the injector had put into that.
  await delay(1_000)
  const writes = injector.writes()
  assert.ok(writes <= 2, `the injector wrote ${writes} times`)
  const found = await configuration()
  assert.ok(found)
  assert.equal(trustedBundle(found), authority)
  await delay(1_500)
  assert.equal(injector.writes(), writes)
  assert.equal((await configuration())?.metadata?.resourceVersion, found.metadata?.resourceVersion)
  await isRewriting()
})

describe('AlwaysPullImages', () => {
  const ifNotPresent: PodSpec = {
    containers: [{ name: 'web', image: 'nginx:1', imagePullPolicy: 'IfNotPresent' }],
  }

  test("shows itself by kip's own pod, so that no policy is changed", async () => {
    const own = await create(ifNotPresent, namespace, false)
    assert.equal(own.spec?.containers?.[0]?.imagePullPolicy, 'Always')
    const pod = { namespace, name: own.metadata?.name ?? '' }
    const doubt = new Doubt({ client })
    assert.equal(await mayChangePullPolicy({ client, doubt, pod, log: silentLog() }, signal), false)
  })

  test('that was turned on since refuses no pod, and each is rewritten', async (t) => {
    const env = { KIP_ADMISSION_PULL_POLICY: 'IfNotPresent' }
    await serve(t, { env, also: { canChangePolicy: true } })
    for (let round = 0; round < 3; round++) {
      const pod = await create(ifNotPresent, 'shop', false)
      assert.equal(imageOf(pod), copyOf('nginx:1'))
      assert.equal(pod.spec?.containers?.[0]?.imagePullPolicy, 'Always')
    }
  })
})

describe('another webhook that puts the original back', () => {
  const context = { now: Date.now(), lifetimes: defaultLifetimes, names: ['127.0.0.1'] }

  /** Called before kip's or after it, by the order of the names, and again like kip's. @returns how often it was asked */
  async function startOther(t: TestContext, name: string): Promise<() => number> {
    let asked = 0
    const authority = await issueAuthority(context)
    const { certificate: cert, key } = await issueServing(authority, context)
    const server = createServer({ cert, key }, async (request, response) => {
      asked++
      const review = JSON.parse(await text(request))
      const { uid } = review.request
      const patch = [{ op: 'replace', path: '/spec/containers/0/image', value: 'nginx:1' }]
      const answer = {
        ...{ uid, allowed: true, patchType: 'JSONPatch' },
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      }
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ ...review, request: undefined, response: answer }))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined
    t.after(async () => {
      await deleteObject(client, configurations, name, { signal })
      server.closeAllConnections()
      server.close()
    })
    const webhook = {
      name: 'back.kip.test',
      admissionReviewVersions: ['v1'],
      clientConfig: {
        url: `https://127.0.0.1:${port}/`,
        caBundle: Buffer.from(authority.certificate).toString('base64'),
      },
      rules: [
        { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] },
      ],
      reinvocationPolicy: 'IfNeeded',
      sideEffects: 'None',
    }
    const object = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name },
      webhooks: [webhook],
    }
    await createObject(client, configurations, object as KubeObject, { signal })
    await waitUntil('the API server asks it', async () => {
      await create()
      return asked > 0
    })
    return () => asked
  }

  for (const [name, image] of [
    ['earlier', copyOf('nginx:1')],
    ['later', 'nginx:1'],
  ] as const) {
    test(`and is called ${name}: each is asked twice at most, the last one has its way`, async (t) => {
      const bed = await serve(t, {})
      const asked = await startOther(t, name)
      const reviews = async (): Promise<number> =>
        [...(await bed.metrics.render()).matchAll(/^kip_admission_requests_total\{.*\} (\d+)$/gm)]
          .map(([, count]) => Number(count))
          .reduce((sum, count) => sum + count, 0)
      const before = [asked(), await reviews()] as const
      const pod = await create()
      assert.equal(imageOf(pod), image)
      assert.equal(pod.metadata?.annotations?.[originals], '{"web":"nginx:1"}')
      assert.equal(asked() - before[0], 2)
      assert.equal((await reviews()) - before[1], 2)
    })
  }
})

test('the configuration goes with the role that kip has its rights from', async (t) => {
  await t.test('is owned by it', async (t) => {
    await serve(t, {})
    const [reference] = (await configuration())?.metadata?.ownerReferences ?? []
    assert.equal(reference?.name, owner)
  })
  assert.ok(await configuration())
  await deleteObject(client, clusterRoles, owner, { signal })
  await waitUntil('it is collected', async () => (await configuration()) === undefined, 30_000)
})
