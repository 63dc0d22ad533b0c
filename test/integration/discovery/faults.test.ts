/** Discovery under faults of a real API server: after each the inventory is what a fresh full list says. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { defaultSettings } from '../../../src/config/leaves.ts'
import { createDiscovery } from '../../../src/discovery/discovery.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { applyObject, deleteObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { isExpired, KubeApiError } from '../../../src/kube/errors.ts'
import { HttpKubeClient } from '../../../src/kube/http-client.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import { serviceAccountAccess } from '../../../src/kube/service-account.ts'
import type { KubeObject, Pod } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createClusterStore } from '../../../src/state/cluster-store.ts'
import { createExclusions } from '../../../src/state/exclusions.ts'
import { clusterBed } from '../../support/cluster-bed.ts'
import { listAll, listInventory, storedInventory } from '../../support/inventory-check.ts'
import { ownCluster } from '../../support/own-cluster.ts'
import { signToken } from '../../support/short-tokens.ts'
import { silentLog } from '../../support/silent-log.ts'
import { TcpGate } from '../../support/tcp-gate.ts'
import { waitUntil } from '../../support/wait-until.ts'

const long = process.env.KIP_TEST_LONG === '1'
/** Pods that are there all the time. */
const standing = long ? 2_000 : 150
/** Pods that go at once. */
const many = long ? 10_000 : 400
const images = 60

const { signal } = new AbortController()
const bed = await clusterBed(await ownCluster())
const { cluster, client: admin } = bed
after(() => bed.close())

const namespaces = ['red', 'green', 'blue']
const resourceOf = (plural: string, namespace?: string, group = '') => ({
  group,
  version: 'v1',
  plural,
  ...(namespace === undefined ? {} : { namespace }),
})
const apply = (plural: string, object: object, namespace?: string, group = '') =>
  applyObject(admin, resourceOf(plural, namespace, group), object as KubeObject, {
    fieldManager: 'kip-test',
    force: true,
    signal,
  })
const image = (at: number): string => `registry.test/team/app-${at % images}:1`

const failures = (log: ReturnType<typeof silentLog>): readonly KubeApiError[] =>
  log.lines.flatMap(({ fields }) => {
    const { err } = fields as { err?: unknown }
    return err instanceof KubeApiError ? [err] : []
  })

describe('discovery under faults', () => {
  let folder: string
  let gate: TcpGate
  let client: KubeClient
  let account: { namespace: string; name: string; uid: string }
  /** Beyond the real time: a token file is looked at again each minute. */
  let skewMs = 0
  let made = 0
  const stops: (() => Promise<void>)[] = []

  const writeToken = async (validSeconds: number): Promise<string> => {
    const token = await signToken(cluster, account, validSeconds)
    await writeFile(join(folder, 'token'), token)
    return token
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-faults-'))
    for (const name of namespaces) {
      await apply('namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    }
    const { metadata } = await apply(
      'serviceaccounts',
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'kip' } },
      'default',
    )
    account = { namespace: 'default', name: 'kip', uid: metadata?.uid ?? '' }
    await apply(
      'clusterrolebindings',
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'kip-test' },
        roleRef: {
          apiGroup: 'rbac.authorization.k8s.io',
          kind: 'ClusterRole',
          name: 'cluster-admin',
        },
        subjects: [{ kind: 'ServiceAccount', namespace: 'default', name: 'kip' }],
      },
      undefined,
      'rbac.authorization.k8s.io',
    )
    await waitUntil(
      'service accounts are made',
      async () =>
        (await listAll(admin, '/api/v1/serviceaccounts')).filter(
          ({ metadata }) =>
            metadata?.name === 'default' && namespaces.includes(metadata.namespace ?? ''),
        ).length === namespaces.length,
      30_000,
    )
    const { hostname, port } = new URL(admin.server)
    gate = await TcpGate.open({ host: hostname, port: Number(port) })
    await writeFile(join(folder, 'ca.crt'), await caOf())
    await writeToken(3600)
    client = new HttpKubeClient({
      access: await serviceAccountAccess({
        dir: folder,
        host: '127.0.0.1',
        port: String(gate.port),
        now: () => performance.now() + skewMs,
      }),
    })
    await createPods('red', standing)
    for (const [at, name] of ['x', 'y', 'z'].entries()) await cronJob(name, at)
  })
  afterEach(async () => {
    gate.restore()
    for (const stop of stops.splice(0)) await stop()
  })
  after(async () => {
    await client?.close()
    await gate?.close()
    await rm(folder, { recursive: true })
  })

  const caOf = (): Promise<Buffer> => readFile(cluster.authorityFile)

  /** Past the gate. */
  async function directClient(token: string): Promise<KubeClient> {
    const credentials = { headers: { authorization: `Bearer ${token}` }, tls: { ca: await caOf() } }
    const { server } = admin
    return new HttpKubeClient({
      access: { server, namespace: '', credentials: async () => credentials },
    })
  }

  async function createPods(namespace: string, count: number): Promise<void> {
    let left = count
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left -= 1
        made += 1
        const at = made
        await admin.raw({
          method: 'POST',
          path: `/api/v1/namespaces/${namespace}/pods`,
          body: {
            metadata: { name: `p-${at}` },
            spec: {
              // Nobody is to do anything with them.
              schedulerName: 'none',
              automountServiceAccountToken: false,
              containers: [{ name: 'main', image: image(at) }],
            },
          },
          signal,
        })
      }
    }
    await Promise.all(Array.from({ length: 12 }, worker))
  }

  const cronJob = (name: string, at: number) =>
    apply(
      'cronjobs',
      {
        apiVersion: 'batch/v1',
        kind: 'CronJob',
        metadata: { name },
        spec: {
          suspend: true,
          schedule: '0 0 31 2 *',
          jobTemplate: {
            spec: {
              template: {
                spec: {
                  restartPolicy: 'Never',
                  containers: [{ name: 'main', image: image(at) }],
                },
              },
            },
          },
        },
      },
      'green',
      'batch',
    )

  /** Changes of all sorts, by the side of whatever else goes on. */
  async function churn(rounds = 20): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      const namespace = namespaces[round % 2] ?? 'red'
      await createPods(namespace, 2)
      const pods = await listAll<Pod>(admin, `/api/v1/namespaces/${namespace}/pods`, 6)
      for (const [at, { metadata }] of pods.entries()) {
        const name = metadata?.name ?? ''
        const resource = resourceOf('pods', namespace)
        if (at % 3 === 0) await deleteObject(admin, resource, name, { signal })
        else {
          await admin.raw({
            method: 'PATCH',
            path: `/api/v1/namespaces/${namespace}/pods/${name}`,
            contentType: 'application/strategic-merge-patch+json',
            body: { spec: { containers: [{ name: 'main', image: image(made + at) }] } },
            signal,
          })
        }
      }
      await cronJob('x', made)
    }
  }

  /** A discovery, and a reflector that pages, both by the same client. */
  function start(options: { readonly client?: KubeClient; readonly silenceMs?: number } = {}) {
    const log = silentLog()
    const via = options.client ?? client
    const metrics = createMetrics({ processMetrics: false })
    const settings = {
      ...defaultSettings,
      discovery: { ...defaultSettings.discovery, keepSeconds: 0, ignoreNamespaces: ['default'] },
    }
    const store = createClusterStore({ client: via, log, metrics })
    const exclusions = createExclusions({ client: via, settings, log })
    const discovery = createDiscovery({
      ...{ client: via, store, exclusions, settings, log, metrics },
      mapping: createMapping({ registry: '', mapping: 'path' }),
    })
    const pages = new Reflector<string>({
      client: via,
      resource: resourceOf('pods'),
      project: (raw) => (raw as Pod).spec?.containers?.[0]?.image ?? '',
      watchList: false,
      pageSize: 50,
      ...(options.silenceMs === undefined ? {} : { timing: { silenceMs: options.silenceMs } }),
      log,
    })
    const controller = new AbortController()
    const running = [store, exclusions, discovery, pages].map((part) => part.run(controller.signal))
    stops.push(async () => {
      controller.abort()
      await Promise.all(running)
    })

    async function pagesInStep(): Promise<boolean> {
      const pods = await listAll<Pod>(admin, '/api/v1/pods')
      const listed = pods.map(({ metadata, spec }) => [
        `${metadata?.namespace}/${metadata?.name}`,
        spec?.containers?.[0]?.image,
      ])
      return isDeepStrictEqual(
        Object.fromEntries(listed.sort()),
        Object.fromEntries([...pages.entries()].sort()),
      )
    }

    /** Waits until all is as a fresh full list says. */
    async function inStep(timeoutMs = 90_000): Promise<void> {
      const started = performance.now()
      let [stored, listed] = [{}, { none: true }] as [object, object]
      for (;;) {
        try {
          stored = await storedInventory(admin)
          listed = await listInventory(admin, (namespace) => namespaces.includes(namespace))
          if (isDeepStrictEqual(stored, listed) && (await pagesInStep())) return
        } catch (error) {
          // A server that has just begun refuses some.
          if (!(error instanceof KubeApiError)) throw error
        }
        if (performance.now() - started > timeoutMs) break
        await delay(200)
      }
      assert.deepEqual(stored, listed)
      assert.fail('the reflector that pages is not in step')
    }
    return { log, pages, inStep, pagesInStep, synced: store.synced }
  }

  const restart = async (): Promise<void> => {
    await cluster.stopApiServer()
    await cluster.startApiServer()
  }

  /** Makes etcd forget all but the present. */
  async function compact(): Promise<void> {
    const etcd = `http://127.0.0.1:${cluster.state.ports.etcd}`
    const ask = async (path: string, body: object): Promise<{ header: { revision: string } }> => {
      const answer = await fetch(`${etcd}${path}`, { method: 'POST', body: JSON.stringify(body) })
      assert.ok(answer.ok, await answer.clone().text())
      return (await answer.json()) as { header: { revision: string } }
    }
    const { header } = await ask('/v3/kv/range', { key: 'AA==' })
    await ask('/v3/kv/compaction', { revision: header.revision, physical: true })
  }

  it('an API server that is killed amid the first lists, and again amid watches', async () => {
    const before = gate.bytes
    const { inStep, log } = start()
    await waitUntil('lists have begun', () => gate.bytes > before + 20_000, 20_000)
    await restart()
    await inStep()
    const busy = churn(long ? 60 : 10).catch(() => 'cut')
    await delay(100)
    await restart()
    await busy
    await churn(3)
    await inStep()
    assert.ok(failures(log).length > 0)
  })

  it('410: versions that the server no longer has, and a compaction amid a list', async () => {
    // Between two pages of one list all that was before is forgotten.
    let compactions = 0
    const compacting: KubeClient = {
      ...methodsOf(client),
      async raw(request) {
        if (request.query?.continue !== undefined && compactions < 2) {
          compactions += 1
          await createPods('green', 1)
          await compact()
        }
        return await client.raw(request)
      },
    }
    const { inStep, log } = start({ client: compacting })
    await inStep()
    assert.ok(compactions > 0)
    // Not a word reaches the watches while versions move on, are forgotten, and the server with its memory goes.
    gate.silence({ all: true })
    await churn()
    await compact()
    await restart()
    gate.restore()
    gate.cut()
    await inStep()
    assert.ok(failures(log).some(isExpired), 'a version was refused')
  })

  it('connections that fall silent', async () => {
    const { inStep, pagesInStep, log } = start({ silenceMs: 3_000 })
    await inStep()
    gate.silence()
    await churn(5)
    // Its patience is short here; those of discovery wait for a bookmark and a half.
    await waitUntil('the one that notices is in step', pagesInStep, 60_000)
    assert.ok(log.lines.some(({ message }) => message.startsWith('nothing was heard')))
    if (!long) gate.restore()
    await inStep(180_000)
  })

  it('429 with Retry-After, by priority and fairness', async () => {
    const { inStep, log } = start()
    await inStep()
    const group = 'flowcontrol.apiserver.k8s.io'
    const apiVersion = `${group}/v1`
    const { namespace } = account
    const name = 'kip-test-narrow'
    const limit = (nominalConcurrencyShares: number) =>
      apply(
        'prioritylevelconfigurations',
        {
          apiVersion,
          kind: 'PriorityLevelConfiguration',
          metadata: { name },
          spec: {
            type: 'Limited',
            limited: {
              nominalConcurrencyShares,
              lendablePercent: 0,
              borrowingLimitPercent: 0,
              limitResponse: { type: 'Reject' },
            },
          },
        },
        undefined,
        group,
      )
    await limit(0)
    await apply(
      'flowschemas',
      {
        apiVersion,
        kind: 'FlowSchema',
        metadata: { name },
        spec: {
          matchingPrecedence: 100,
          priorityLevelConfiguration: { name },
          rules: [
            {
              subjects: [{ kind: 'ServiceAccount', serviceAccount: { namespace, name: 'kip' } }],
              resourceRules: [
                {
                  verbs: ['*'],
                  apiGroups: ['*'],
                  resources: ['*'],
                  namespaces: ['*'],
                  clusterScope: true,
                },
              ],
            },
          ],
        },
      },
      undefined,
      group,
    )
    const tooMany = (error: unknown): error is KubeApiError =>
      error instanceof KubeApiError && error.status === 429
    // Of no seats one is given all the same: somebody of the same name takes it, again and again.
    const other = await directClient(await signToken(cluster, account, 3600))
    const enough = new AbortController()
    let refused = 0
    const noise = Array.from({ length: 16 }, async () => {
      while (!enough.signal.aborted) {
        await other.raw({ method: 'GET', path: '/api/v1/pods', signal }).catch((error: unknown) => {
          if (tooMany(error)) refused += 1
        })
      }
    })
    try {
      await waitUntil('the limit holds', () => refused > 100, 30_000)
      gate.cut()
      await churn(5)
      await waitUntil('watches are refused', () => failures(log).some(tooMany), 30_000)
    } finally {
      enough.abort()
      await Promise.all(noise)
      await other.close()
      await bed.kubectl('delete', 'flowschema', name)
      await bed.kubectl('delete', 'prioritylevelconfiguration', name)
    }
    assert.ok(failures(log).some((error) => tooMany(error) && (error.retryAfterMs ?? 0) >= 1000))
    await churn(2)
    await inStep()
  })

  it('a token that ends, and one that is put in its place later', async () => {
    const { inStep, log } = start()
    await inStep()
    // The server adds a minute.
    const token = await writeToken(-54)
    skewMs += 61_000
    gate.cut()
    await churn(2)
    await waitUntil(
      'the token has ended',
      async () => {
        const alone = await directClient(token)
        const asked = alone.raw({ method: 'GET', path: '/api/v1/namespaces/red', signal })
        const ended = await asked.then(
          () => false,
          (error: unknown) => error instanceof KubeApiError && error.status === 401,
        )
        await alone.close()
        if (!ended) await delay(500)
        return ended
      },
      60_000,
    )
    gate.cut()
    await churn(3)
    await waitUntil(
      'it is refused',
      () => failures(log).some(({ status }) => status === 401),
      30_000,
    )
    await writeToken(3600)
    await inStep()
  })

  it('a namespace that is flagged and unflagged while its pods change', async () => {
    const { inStep } = start()
    await inStep()
    const flag = (value: string): Promise<unknown> =>
      apply('namespaces', {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: 'green', labels: { 'images.kip/ignore': value } },
      })
    const busy = churn(long ? 100 : 15)
    for (let times = 0; times < (long ? 40 : 7); times += 1) {
      await flag(times % 2 === 0 ? 'true' : 'false')
      await delay(100)
    }
    await busy
    await inStep()
    await flag('false')
    await churn(2)
    await inStep()
  })

  it(`${many} pods that are deleted at once`, async () => {
    const { inStep } = start()
    await createPods('blue', many)
    await inStep()
    await admin.raw({
      method: 'DELETE',
      path: '/api/v1/namespaces/blue/pods',
      query: { gracePeriodSeconds: '0' },
      timeoutMs: 180_000,
      signal,
    })
    await waitUntil(
      'they are gone',
      async () => (await listAll(admin, '/api/v1/namespaces/blue/pods', 1)).length === 0,
      120_000,
    )
    await inStep()
  })
})

function methodsOf(client: KubeClient): KubeClient {
  return {
    server: client.server,
    namespace: client.namespace,
    request: (request) => client.request(request),
    raw: (request) => client.raw(request),
    stream: (request, sink) => client.stream(request, sink),
    close: () => client.close(),
  }
}
