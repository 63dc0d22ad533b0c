/** The webhook as users run it: two pods behind the Service of kip's manifests, under its roles. A part of the chain. */
import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CertsReport } from '../../src/cli/certs/show.ts'
import { createObject, deleteObject, getObject } from '../../src/kube/apply.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { connectCluster } from '../../src/kube/connect.ts'
import { type ResourcePath, resourcePath } from '../../src/kube/resource.ts'
import type { Pod, PodSpec } from '../../src/kube/types.ts'
import { type Cluster, eventually } from '../cluster/index.ts'
import { readCachedImages } from '../support/cached-images.ts'
import { failOpenCount } from '../support/fail-open-count.ts'
import { kipNamespace, kipRolledOut } from '../support/kip.ts'
import { PodStream } from '../support/pod-stream.ts'
import { startSidecarWebhook } from '../support/sidecar.ts'

export interface AdmissionSuiteOptions {
  readonly cluster: Cluster
  /** Namespace whose images are mirrored, `busybox` and `content` among them. */
  readonly namespace: string
  readonly image: (name: string, tag?: string) => string
  readonly copyOf: (reference: string) => string
  /** Namespaces for which the settings have another policy; do not exist. */
  readonly policies: { readonly never: string; readonly failover: string }
  /** Names a webhook's authority: the one that kip was deployed with, which is due. */
  readonly firstAuthority: () => string
}

const coreV1 = (plural: string, namespace?: string): ResourcePath => ({
  ...{ group: '', version: 'v1', plural },
  ...(namespace !== undefined && { namespace }),
})

export function admissionSuite(options: AdmissionSuiteOptions): void {
  const { cluster, namespace, image, copyOf, policies, firstAuthority } = options
  const { signal } = new AbortController()
  const backup = cluster.registries.backup.host
  const steady = 'steady'
  const injected = 'injected'
  let client: KubeClient
  let stream: PodStream
  let failedOpen: number

  before(async () => {
    client = await connectCluster({ kubeconfig: cluster.kubeconfig })
    for (const name of [steady, injected]) await makeNamespace(name)
    await eventually(
      'pod that is rewritten',
      async () =>
        (
          await create(steady, one(image('busybox')), { dryRun: true })
        ).spec?.containers?.[0]?.image?.startsWith(backup),
      { timeoutMs: 30_000 },
    )
    failedOpen = await failOpenCount(client)
    stream = new PodStream({ client, namespace: steady, image: image('busybox'), prefix: 'steady' })
  })

  after(async () => {
    await stream?.stop()
    for (const name of [steady, injected, policies.never])
      await deleteObject(client, coreV1('namespaces'), name, { signal })
    await client.close()
  })

  it('rewrites each place of an image, and the pod runs', async () => {
    const busybox = image('busybox')
    const name = 'all-places'
    await create(
      namespace,
      {
        terminationGracePeriodSeconds: 0,
        initContainers: [{ name: 'init', image: busybox, command: ['true'] }],
        containers: [
          {
            ...{ name: 'main', image: busybox, command: ['sleep', '3600'] },
            volumeMounts: [{ name: 'content', mountPath: '/content' }],
          },
        ],
        volumes: [{ name: 'content', image: { reference: image('content') } }],
      } as PodSpec,
      { name },
    )
    await cluster.kubectl(
      ['wait', '-n', namespace, '--for=condition=Ready', `pod/${name}`, '--timeout=60s'],
      { timeoutMs: 70_000 },
    )
    const debug = { name: 'debug', image: busybox, command: ['sleep', '3600'] }
    await client.request<Pod>({
      method: 'PATCH',
      path: resourcePath(coreV1('pods', namespace), name, 'ephemeralcontainers'),
      contentType: 'application/strategic-merge-patch+json',
      body: { spec: { ephemeralContainers: [debug] } },
      signal,
    })
    const { spec } = await eventually(
      'ephemeral container that runs',
      async () => {
        const pod = await getObject<Pod>(client, coreV1('pods', namespace), name, { signal })
        const [status] = pod?.status?.ephemeralContainerStatuses ?? []
        return status?.state?.running && pod
      },
      { timeoutMs: 60_000 },
    )
    const named = [
      ...[spec?.initContainers?.[0]?.image, spec?.containers?.[0]?.image],
      ...[spec?.ephemeralContainers?.[0]?.image, spec?.volumes?.[0]?.image?.reference],
    ]
    const copies = [...Array.from({ length: 3 }, () => copyOf(busybox)), copyOf(image('content'))]
    for (const [index, copy] of copies.entries())
      assert.match(named[index] ?? '', new RegExp(`^${RegExp.escape(copy)}@sha256:`))
  })

  it('leaves images alone by policy: never, or while the origin has them', async () => {
    for (const name of [policies.never, policies.failover]) {
      await makeNamespace(name)
      const pod = await create(name, one(image('busybox')), { dryRun: true })
      assert.equal(pod.spec?.containers?.[0]?.image, image('busybox'), name)
    }
  })

  it('rewrites a dry run, which leaves no trace', async () => {
    const tried = image('tried')
    const pod = await create(
      namespace,
      {
        containers: [
          { name: 'main', image: image('busybox') },
          { name: 'new', image: tried },
        ],
      },
      { dryRun: true },
    )
    assert.ok(pod.spec?.containers?.[0]?.image?.startsWith(backup))
    assert.equal(pod.spec?.containers?.[1]?.image, tried)
    // What is no dry run is known within this time; see 'finds the images of every kind'.
    await sleep(2_000)
    const references = (await readCachedImages(cluster)).map(({ spec }) => spec.reference)
    assert.ok(!references.includes(tried))
  })

  it('rewrites the sidecar that a webhook adds after it was asked', async (t) => {
    await otherWebhook(t)
    const pod = await eventually(
      'pod with a sidecar',
      async () => {
        const pod = await create(injected, one(image('busybox')), { dryRun: true })
        return pod.spec?.containers?.length === 2 && pod
      },
      { timeoutMs: 20_000 },
    )
    const [main, sidecar] = pod.spec?.containers ?? []
    assert.ok(main?.image?.startsWith(copyOf(image('busybox'))))
    assert.equal(sidecar?.name, 'sidecar')
    assert.ok(sidecar?.image?.startsWith(`${copyOf(image('redis', '7'))}@sha256:`))
    assert.deepEqual(
      JSON.parse(pod.metadata?.annotations?.['images.kip/original-images'] ?? '{}'),
      { main: image('busybox'), sidecar: image('redis', '7') },
    )
  })

  describe('while pods are created without a pause', () => {
    it('changes to a new authority, which kip certs shows in each replica', async (t) => {
      const before = stream.images.length
      const reports = await eventually(
        'certificate of another authority in every replica',
        async () => {
          const reports = await Promise.all((await replicas()).map(certsOf))
          return reports.every(changedOver) && reports
        },
        // 60 s until API servers surely know the new authority, 10 s until each replica has looked.
        { timeoutMs: 120_000, everyMs: 2_000 },
      )
      assert.equal(reports.length, 2)
      for (const { keptBy, registered, authorities } of reports) {
        assert.deepEqual({ keptBy, registered }, { keptBy: 'kip', registered: 'yes' })
        const retired = authorities.filter(({ role }) => role === 'retired')
        assert.deepEqual(
          retired.map(({ subject }) => subject),
          [firstAuthority()],
          'the former authority stays trusted',
        )
      }
      await expectAllRewritten(t, before)
    })

    it('is rolled, both replicas', async (t) => {
      const before = stream.images.length
      const old = await replicas()
      await cluster.kubectl([
        ...['-n', kipNamespace, 'rollout', 'restart', 'deployment/kubernetes-image-puller'],
      ])
      await kipRolledOut(cluster)
      // A rollout is done when the new replicas are ready; the old ones still drain.
      await eventually(
        'end of the former replicas',
        async () => (await replicas()).every((name) => !old.includes(name)),
        { timeoutMs: 40_000 },
      )
      await expectAllRewritten(t, before)
    })
  })

  it('loses both replicas at once: no pod is refused, and what it missed is counted', async (t) => {
    const before = stream.images.length
    await cluster.kubectl([
      ...['-n', kipNamespace, 'delete', 'pods', '-l', 'app=kubernetes-image-puller'],
      '--wait=false',
    ])
    await sleep(1_000)
    await eventually(
      'run of pods that are all rewritten',
      async () => {
        const last = stream.images.slice(-100)
        return stream.images.length > before + 100 && last.every((name) => name.startsWith(backup))
      },
      { timeoutMs: 60_000 },
    )
    await kipRolledOut(cluster)
    await stream.stop()
    const created = stream.images.slice(before)
    const own = created.filter((name) => name === image('busybox')).length
    const counted = (await failOpenCount(client)) - failedOpen
    t.diagnostic(`${created.length} pods, ${own} with their own image, ${counted} failed open`)
    assert.ok(created.every((name) => name === image('busybox') || name.startsWith(backup)))
    // Without an endpoint the API server counts what it could not ask.
    assert.equal(counted, own)
  })

  /** Every pod since then has its copy, and the API server had an answer for each. */
  async function expectAllRewritten(t: TestContext, since: number): Promise<void> {
    const created = stream.images.slice(since)
    t.diagnostic(`${created.length} pods`)
    assert.ok(created.length > 100, `${created.length} pods`)
    const own = created.filter((name) => !name.startsWith(backup)).length
    assert.equal(own, 0, `${own} of ${created.length} pods were not rewritten`)
    assert.equal(await failOpenCount(client), failedOpen)
  }

  /** A webhook that the API server calls after kip's: it goes by the names of the configurations. */
  async function otherWebhook(t: TestContext): Promise<void> {
    const remove = await startSidecarWebhook({
      client,
      enter: (command) => cluster.enter(command),
      name: 'zz-sidecar',
      image: image('redis', '7'),
      selector: { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': injected } } },
    })
    t.after(remove)
  }

  async function replicas(): Promise<readonly string[]> {
    const names = await cluster.kubectl([
      ...['-n', kipNamespace, 'get', 'pods', '-l', 'app=kubernetes-image-puller'],
      ...['-o', 'jsonpath={.items[*].metadata.name}'],
    ])
    return names.split(' ').filter((name) => name !== '')
  }

  async function certsOf(replica: string): Promise<CertsReport> {
    const text = await cluster.kubectl([
      ...['-n', kipNamespace, 'exec', replica, '--', '/usr/local/bin/node', '/kip/main.js'],
      ...['certs', '--connect', '127.0.0.1:8443', '--output', 'json'],
    ])
    return JSON.parse(text)
  }

  /** No fault: what the Secret holds is what the replica serves, and the API server trusts it. */
  function changedOver({ served, faults }: CertsReport): boolean {
    return faults.length === 0 && served.issuer !== firstAuthority()
  }

  async function makeNamespace(name: string): Promise<void> {
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
    await createObject(client, coreV1('namespaces'), object, { signal })
    // Without it no pod is taken there.
    await eventually(
      `service account in ${name}`,
      () => getObject(client, coreV1('serviceaccounts', name), 'default', { signal }),
      { timeoutMs: 20_000 },
    )
  }

  async function create(
    namespace: string,
    spec: PodSpec,
    { name = 'tried', dryRun = false }: { readonly name?: string; readonly dryRun?: boolean } = {},
  ): Promise<Pod> {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace }, spec }
    return await createObject<Pod>(client, coreV1('pods', namespace), pod, { signal, dryRun })
  }
}

function one(image: string): PodSpec {
  return { containers: [{ name: 'main', image }] }
}
