import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { configurationName, configurations, webhookName } from '../../../certs/trusted-bundle.ts'
import { loadSettings } from '../../../src/config/load.ts'
import { Doubt } from '../../../src/kube/doubt.ts'
import { guardWrites } from '../../../src/kube/guarded-client.ts'
import type { PodTemplateSpec } from '../../../src/kube/types.ts'
import { type Part, type Parts, runTogether, serve } from '../../../src/lifecycle.ts'
import { LiveSettings } from '../../../src/live-settings.ts'
import { createLog } from '../../../src/metrics/log.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { aloneParts } from '../../../src/parts/alone.ts'
import { clusterParts } from '../../../src/parts/cluster.ts'
import type { Context } from '../../../src/parts/context.ts'
import { group, plural, version } from '../../../src/state/cached-image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { freePorts } from '../../cluster/ports.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { kubeconfigOf } from '../../support/kubeconfig.ts'
import { digestOf, reviewOf } from '../../support/pods.ts'
import { waitUntil } from '../../support/wait-until.ts'

const namespace = 'kip'
const program = fileURLToPath(new URL('../../../src/main.ts', import.meta.url))
const core = (plural: string) => ({ group: '', version: 'v1', plural, namespace })
const apps = (plural: string) => ({ group: 'apps', version: 'v1', plural, namespace })
const leases = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', namespace }
const cachedImages = { group, version, plural }
type Status =
  | { readonly source?: object; readonly mirrors?: readonly { readonly state: string }[] }
  | undefined
type DaemonSet = FakeObject & { readonly spec: { readonly template: PodTemplateSpec } }

let kube: FakeKube
let stop: () => Promise<void>

beforeEach(async () => {
  kube = await startFakeKube()
  const containers = [{ name: 'kip', envFrom: [{ configMapRef: { name: 'kip' } }] }]
  kube.put(apps('deployments'), {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'puller', namespace },
    spec: { template: { spec: { containers } } },
  })
})
afterEach(async () => {
  await stop()
  await kube.stop()
})

function configure(data: Readonly<Record<string, string>>): void {
  const metadata = { name: 'kip', namespace }
  kube.put(core('configmaps'), { apiVersion: 'v1', kind: 'ConfigMap', metadata, data })
}

interface Assembled {
  readonly context: Context
  readonly parts: Parts
  readonly controller: AbortController
}

/** Puts a replica together by the variables that the ConfigMap gives it now. */
async function assemble(
  make: (context: Context, signal: AbortSignal) => Promise<Parts>,
  data: Readonly<Record<string, string>>,
  readFile: (path: string) => string = () => '',
): Promise<Assembled> {
  configure(data)
  const env = {
    ...{ NAMESPACE: namespace, DEPLOYMENT_NAME: 'puller', DAEMONSET_NAME: 'kip' },
    ...{ KIP_ADMISSION_ENABLED: 'false', KIP_IMAGE: 'r.test/sleep:1' },
    ...data,
  }
  const controller = new AbortController()
  const { signal } = controller
  const client = kube.client()
  const leaderClient = guardWrites(client)
  const { settings } = loadSettings({ argv: [], env, readFile })
  const log = createLog({ level: 'error' })
  const doubt = new Doubt({ client })
  const live = new LiveSettings({ client, doubt, settings, argv: [], env, readFile, log })
  const metrics = createMetrics({ processMetrics: false })
  const no = (): never => assert.fail('nothing of the kind here')
  const said = { print: no, complain: no, readInput: no, onCrash: no, program, version: '1' }
  const invocation = { ...said, argv: [], env, readFile, signal }
  const context = {
    ...{ settings, live, client, leaderClient, doubt },
    ...{ log, metrics, identity: 'one', invocation },
  }
  const parts = await make(context, signal)
  stop = async () => {
    controller.abort()
    await client.close()
  }
  return { context, parts, controller }
}

interface Replica {
  readonly live: LiveSettings
  readonly parts: Parts
  /** Resolves when all that leads has ended. */
  lead(): Promise<void>
}

/** Starts what every replica runs. */
async function start(...given: Parameters<typeof assemble>): Promise<Replica> {
  const { context, parts, controller } = await assemble(...given)
  const { signal } = controller
  const { live, leaderClient, client } = context
  const running = [runTogether(parts.everywhere, signal)]
  stop = async () => {
    controller.abort()
    await parts.admission?.close()
    await Promise.all(running)
    await client.close()
  }
  return {
    ...{ live, parts },
    lead() {
      leaderClient.enter({ holds: () => !signal.aborted, token: 'one', signal })
      const leading = runTogether(parts.leading, signal)
      running.push(leading)
      return leading
    },
  }
}

/** As they were written, one after the other. */
function writtenDaemonSets(): readonly DaemonSet[] {
  return kube.requests
    .filter(({ method, path }) => method !== 'GET' && path.includes('/daemonsets'))
    .map(({ body }) => body as DaemonSet)
}

for (const [mode, make] of Object.entries({ cluster: clusterParts, alone: aloneParts })) {
  describe(`the parts of kip, mode ${mode}`, () => {
    it('bring back no setting that was changed before this replica came to lead', async () => {
      const before = { IMAGES: 'a=r.test/a:1', NODE_SELECTOR: '{"pool": "old"}' }
      const { live, lead } = await start(make, before)
      await waitUntil('the watch of the standby', () => kube.requests.some(isWatchOfMap))
      configure({ IMAGES: 'b=r.test/b:2' })
      await waitUntil('the change', () => live.current.puller.images[0]?.name === 'b')
      void lead()
      await waitUntil('a DaemonSet', () => kube.list(apps('daemonsets')).length > 0)
      for (const { spec } of writtenDaemonSets()) {
        assert.equal(spec.template.spec?.nodeSelector?.pool, undefined)
        assert.doesNotMatch(JSON.stringify(spec), /r\.test\/a:1/)
      }
    })
  })
}

describe('kip without discovery', () => {
  beforeEach(() => {
    kube.put(configurations, {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name: configurationName },
      webhooks: [{ name: webhookName, clientConfig: { service: { name: 'kip', namespace } } }],
    })
  })
  const isRegistered = (): boolean => kube.get(configurations, configurationName) !== undefined

  it('leaves no webhook registered that nobody serves any more', async () => {
    const { lead } = await start(aloneParts, { IMAGES: 'a=r.test/a:1' })
    void lead()
    await waitUntil('the configuration to go', () => !isRegistered())
  })

  it('makes no DaemonSets where the puller is switched off, and still leads', async () => {
    const off = { IMAGES: 'a=r.test/a:1', KIP_PULLER_ENABLED: 'false' }
    const { live, lead } = await start(aloneParts, off)
    configure({ ...off, IMAGES: 'b=r.test/b:2' })
    await waitUntil('the change', () => live.current.puller.images[0]?.name === 'b')
    let isOver = false
    void lead().then(() => {
      isOver = true
    })
    await waitUntil('the configuration to go', () => !isRegistered())
    // Whose work ends gives the Lease away.
    assert.equal(isOver, false)
    await stop()
    assert.deepEqual(
      kube.requests.filter(({ path }) => path.includes('/daemonsets')),
      [],
    )
  })
})

describe('the resolver of the leader', () => {
  it('looks as often as CACHING_INTERVAL_HOURS says that was changed meanwhile', async () => {
    await using registry = await FakeRegistry.start()
    await registry.client.push(tinyImage(1), 'look', '1')
    const { host } = registry
    const data = {
      IMAGES: `look=${host}/look:1`,
      KIP_REGISTRIES_ALLOW: host,
      KIP_REGISTRIES_HTTP: host,
      CACHING_INTERVAL_HOURS: '1',
    }
    const { lead } = await start(clusterParts, data)
    void lead()
    const looks = (): number =>
      registry.requests.filter(({ path }) => path === '/v2/look/manifests/1').length
    await waitUntil('the source', () =>
      kube.list(cachedImages).some(({ status }) => (status as Status)?.source),
    )
    const before = looks()
    configure({ ...data, CACHING_INTERVAL_HOURS: '0.00001' })
    await waitUntil('further looks', () => looks() > before + 2)
  })

  it('trusts the authorities that it knows while their file is broken', async () => {
    const tls = await issueTls()
    let { ca } = tls
    await using registry = await FakeRegistry.start({ tls })
    await registry.client.push(tinyImage(1), 'look', '1')
    const { host } = registry
    const data = {
      IMAGES: `look=${host}/look:1`,
      KIP_REGISTRIES_ALLOW: host,
      KIP_REGISTRIES_CA_FILE: '/ca.pem',
    }
    const { lead } = await start(clusterParts, data, () => ca)
    ca = 'broken'
    lead()
    await waitUntil('the source', () =>
      kube.list(cachedImages).some(({ status }) => (status as Status)?.source),
    )
  })
})

describe('the mirror of the leader', { timeout: 60_000 }, () => {
  it('copies while the file of the authorities is broken, by those that it knows', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'kip-parts-'))
    t.after(() => rm(folder, { recursive: true }))
    const tls = await issueTls()
    await using registry = await FakeRegistry.start({ tls })
    await registry.client.push(tinyImage(1), 'look', '1')
    const { host } = registry
    const [caFile, kubeconfig] = [join(folder, 'ca.pem'), join(folder, 'kubeconfig')]
    await writeFile(caFile, tls.ca)
    await writeFile(kubeconfig, kubeconfigOf(kube))
    const data = {
      IMAGES: `look=${host}/look:1`,
      KIP_KUBECONFIG: kubeconfig,
      KIP_MIRROR_REGISTRY: `${host}/backup`,
      KIP_REGISTRIES_ALLOW: host,
      KIP_REGISTRIES_CA_FILE: caFile,
    }
    const { lead } = await start(clusterParts, data, (path) => readFileSync(path, 'utf8'))
    await writeFile(caFile, tls.ca.slice(0, 100))
    void lead()
    await waitUntil(
      'the copy',
      () => kube.list(cachedImages).some(({ status }) => isVerified(status as Status)),
      40_000,
    )
  })
})

describe('a replica whose webhook still waits for its certificate', { timeout: 30_000 }, () => {
  const withWebhook = {
    KIP_ADMISSION_ENABLED: 'true',
    KIP_ADMISSION_CERTIFICATE: 'secret',
    KIP_MIRROR_REGISTRY: 'backup.test',
  }

  for (const place of ['everywhere', 'leading'] as const) {
    it(`ends when another part fails: ${place}`, async () => {
      const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' }
      kube.put(leases, { ...lease, metadata: { name: 'kip', namespace } })
      const { context, parts, controller } = await assemble(clusterParts, withWebhook)
      const isWaiting = () => parts.waiting().includes('webhook: certificate')
      const failing: Part = async () => {
        await waitUntil('the webhook waits', isWaiting)
        throw new Error('a part fails')
      }
      const failed = { ...parts, [place]: [...parts[place], failing] }
      await assert.rejects(serve(context, failed, controller.signal), /a part fails/)
    })
  }
})

describe('the webhook', { timeout: 30_000 }, () => {
  it('goes by the mode of the puller that was changed while it runs', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'kip-parts-'))
    t.after(() => rm(folder, { recursive: true }))
    const { cert, key, ca } = await issueTls()
    await writeFile(join(folder, 'tls.crt'), cert)
    await writeFile(join(folder, 'tls.key'), key)
    const [port = 0] = await freePorts(1)
    const data = {
      KIP_ADMISSION_ENABLED: 'true',
      KIP_ADMISSION_URL: `https://127.0.0.1:${port}`,
      KIP_ADMISSION_PORT: `${port}`,
      KIP_ADMISSION_CERTIFICATE: 'files',
      KIP_ADMISSION_CERTIFICATE_FOLDER: folder,
      KIP_MIRROR_REGISTRY: 'backup.test',
    }
    const shop = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } }
    kube.put({ group: '', version: 'v1', plural: 'namespaces' }, shop)
    kube.put(cachedImages, unpulledCopy)
    const { live, parts } = await start(clusterParts, data)
    await waitUntil('the webhook serves', () => parts.waiting().length === 0)
    const answer = (): Promise<unknown> => outcomeOf(port, ca)
    assert.equal(await answer(), 'web: CopyNotPulled r.test/a:1')
    configure({ ...data, KIP_PULLER_MODE: 'external' })
    await waitUntil('the change', () => live.current.puller.mode === 'external')
    // Nobody tells any longer whether nodes can pull the copy.
    assert.match(String(await answer()), /^web: Rewritten /)
  })
})

/** An identity for servers on this machine, and who issued it. */
async function issueTls(): Promise<Record<'cert' | 'key' | 'ca', string>> {
  const lifetimes = { now: Date.now(), lifetimes: defaultLifetimes }
  const authority = await issueAuthority(lifetimes)
  const pair = await issueServing(authority, { ...lifetimes, names: ['127.0.0.1'] })
  return { cert: pair.certificate, key: pair.key, ca: authority.certificate }
}

const isVerified = (status: Status): boolean =>
  status?.mirrors?.some(({ state }) => state === 'Verified') === true

/** Of an image whose copy is verified, and which no node could pull. */
const unpulledCopy = {
  apiVersion: `${group}/${version}`,
  kind: 'CachedImage',
  metadata: { name: 'a' },
  spec: { reference: 'r.test/a:1' },
  status: {
    source: { state: 'Available', digest: digestOf('a'), checkedAt: '2027-01-01T00:00:00Z' },
    mirrors: [
      {
        ...{ registry: 'backup.test', state: 'Verified' },
        ...{ reference: 'backup.test/r.test/a:1', digest: digestOf('a') },
      },
    ],
    nodes: { desired: 1, cached: 0, pulling: 0, failed: 1, reason: 'CopyNotPulled' },
  },
}

/** What the webhook says of the images of a new pod. */
async function outcomeOf(port: number, ca: string): Promise<unknown> {
  const pod = { spec: { containers: [{ name: 'web', image: 'r.test/a:1' }] } }
  const headers = { 'content-type': 'application/json' }
  const sent = request({ host: '127.0.0.1', port, path: '/mutate', method: 'POST', ca, headers })
  sent.end(JSON.stringify(reviewOf(pod)))
  const [response] = await once(sent, 'response')
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return JSON.parse(text).response.auditAnnotations.images
}

function isWatchOfMap({ path, query }: FakeKube['requests'][number]): boolean {
  return path.endsWith('/configmaps') && query.watch !== undefined
}
