/** KIP's old multi-cluster mode against two API servers, an OpenID provider, and a proxy between, all over TLS. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { applyObject, deleteObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeList, KubeObject } from '../../../src/kube/types.ts'
import { type Cluster, downCluster, reportToStderr, upCluster } from '../../cluster/index.ts'
import { type Authority, openAuthority } from '../../cluster/pki.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../../support/openid-provider.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { startFakeKubelets } from '../puller/fake-kubelets.ts'
import { startUserProxy, type UserProxy } from './user-proxy.ts'

const program = fileURLToPath(new URL('../../../src/main.ts', import.meta.url))
const namespace = 'images'
const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
const image = (name: string): string => `origin.test:5000/${name}:1`
const port = 19_617
const tokenSeconds = 6
const { signal } = new AbortController()

interface Bed {
  readonly user: string
  readonly cluster: Cluster
  readonly admin: KubeClient
  readonly stopKubelets: () => Promise<void>
}

describe("KIP's multi-cluster mode", () => {
  const beds: Bed[] = []
  let folder: string
  let authority: Authority
  let provider: OpenIdProvider
  let proxy: UserProxy
  let child: ChildProcess | undefined
  let output = ''

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-multi-'))
    authority = await openAuthority(folder)
    provider = await startOpenIdProvider({
      authority,
      tokenSeconds,
      authMethod: 'client_secret_post',
    })
    beds.push(...(await Promise.all(['alice', 'bob'].map((user) => makeBed(user)))))
    const upstreams = await Promise.all(
      beds.map(async ({ user, cluster }) => {
        const config = parse(await readFile(cluster.kubeconfig, 'utf8'))
        const { server, 'certificate-authority-data': data } = config.clusters[0].cluster
        return [user, { server, ca: Buffer.from(data, 'base64').toString() }] as const
      }),
    )
    proxy = await startUserProxy(authority, new Map(upstreams))
  })

  after(async () => {
    await stop()
    await proxy?.close()
    for (const { admin, stopKubelets } of beds) {
      await stopKubelets()
      await admin.close()
    }
    await Promise.all(
      beds.map(async ({ cluster }) => {
        await cluster[Symbol.asyncDispose]()
        await downCluster(cluster.state.name, { report: () => undefined })
      }),
    )
    await provider?.close()
    await rm(folder, { recursive: true })
  })

  async function makeBed(user: string): Promise<Bed> {
    const cluster = await upCluster({
      name: `multi-${user}-${randomBytes(3).toString('hex')}`,
      nodes: 0,
      owned: true,
      report: reportToStderr,
      apiServerArguments: [
        `--oidc-issuer-url=${provider.issuer}`,
        `--oidc-ca-file=${authority.certificateFile}`,
        `--oidc-client-id=${provider.audience}`,
        '--oidc-username-claim=sub',
        '--oidc-username-prefix=oidc:',
      ],
    })
    const admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
    const apply = async (plural: string, object: KubeObject, inNamespace?: string) => {
      const group = object.apiVersion === 'v1' ? '' : 'rbac.authorization.k8s.io'
      const resource = { group, version: 'v1', plural }
      const path = inNamespace === undefined ? resource : { ...resource, namespace: inNamespace }
      await applyObject(admin, path, object, { fieldManager: 'kip-test', force: true, signal })
    }
    const rbac = 'rbac.authorization.k8s.io'
    const grant = async (
      kind: 'Role' | 'ClusterRole',
      rules: readonly object[],
      name: string,
    ): Promise<void> => {
      const where = kind === 'Role' ? namespace : undefined
      const metadata = { name: 'image-puller' }
      const apiVersion = `${rbac}/v1`
      await apply(
        `${kind.toLowerCase()}s`,
        { apiVersion, kind, metadata, rules } as KubeObject,
        where,
      )
      await apply(
        `${kind.toLowerCase()}bindings`,
        {
          apiVersion,
          kind: `${kind}Binding`,
          metadata,
          roleRef: { apiGroup: rbac, kind, name: metadata.name },
          subjects: [{ apiGroup: rbac, kind: 'User', name }],
        } as KubeObject,
        where,
      )
    }
    await apply('namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace },
    })
    const impersonate = { apiGroups: [''], resources: ['users'], verbs: ['impersonate'] }
    await grant('ClusterRole', [{ ...impersonate, resourceNames: [user] }], 'oidc:kip')
    const verbs = ['create', 'delete', 'watch', 'get']
    await grant('Role', [{ apiGroups: ['apps'], resources: ['daemonsets'], verbs }], user)
    const stopKubelets = await startFakeKubelets({
      client: admin,
      namespace,
      nodes: [`${user}-n1`, `${user}-n2`],
      isBad: () => false,
    })
    return { user, cluster, admin, stopKubelets }
  }

  function start(names: readonly string[], more: Readonly<Record<string, string>> = {}): void {
    output = ''
    child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
      env: {
        PATH: process.env.PATH,
        HOME: '/nonexistent',
        KIP_PORT: String(port),
        KIP_LOG_LEVEL: 'debug',
        IMPERSONATE_USERS: 'alice,bob',
        OPENSHIFT_PROXY_URL: proxy.url,
        OIDC_PROVIDER: provider.issuer,
        SERVICE_ACCOUNT_ID: provider.clientId,
        SERVICE_ACCOUNT_SECRET: provider.clientSecret,
        KIP_MULTI_CLUSTER_CA_FILE: authority.certificateFile,
        NAMESPACE: namespace,
        DAEMONSET_NAME: 'kip',
        CACHING_INTERVAL_HOURS: '1',
        NODE_SELECTOR: '{"kip-test/nodes": "images"}',
        KIP_IMAGE: image('kip-sleep'),
        IMAGES: names.map((name) => `${name}=${image(name)}`).join(';'),
        ...more,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
  }

  async function stop(): Promise<void> {
    if (child === undefined || child.exitCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
  }

  const shown = async ({ admin }: Bed): Promise<string> => {
    const path = resourcePath(daemonSets)
    const list = await admin.request<KubeList<DaemonSet>>({ method: 'GET', path, signal })
    return (list.items ?? [])
      .map(({ metadata, spec }) => {
        const [, ...images] = spec?.template?.spec?.initContainers ?? []
        return `${metadata?.name}: ${images.map((one) => one.image).join()}`
      })
      .join('; ')
  }

  async function becomes(expected: string): Promise<void> {
    for (const bed of beds) {
      await waitUntil(
        `${bed.user}'s cluster to show ${expected}`,
        async () => (await shown(bed)) === expected,
        60_000,
      ).catch(async (error: unknown) => {
        throw new Error(`${await shown(bed)}\n${output}`, { cause: error })
      })
    }
  }

  it("holds the images in every user's cluster, with the users' four verbs", async () => {
    start(['a', 'b'])
    await becomes(`kip: ${image('a')},${image('b')}`)
    const metrics = await waitUntil('both to be counted', async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/metrics`)
      const text = await answer.text()
      const counted = ['alice', 'bob'].every((user) =>
        text.includes(`kip_multicluster_images{user="${user}",state="cached"} 2`),
      )
      return counted && text
    })
    assert.match(metrics, /kip_multicluster_images\{user="bob",state="wanted"\} 2/)
    assert.ok(proxy.requests.some((line) => line.startsWith('watch ')))
    assert.ok(!proxy.requests.some((line) => line.startsWith('PATCH ')))
  })

  it('makes again what was deleted, with a new token when the old one has ended', async () => {
    const given = provider.given()
    await setTimeout(tokenSeconds * 1000)
    for (const { admin } of beds) await deleteObject(admin, daemonSets, 'kip', { signal })
    await becomes(`kip: ${image('a')},${image('b')}`)
    assert.ok(provider.given() > given)
    assert.equal(proxy.refusals(), 0)
  })

  it('changes images by a successor, also after a restart', async () => {
    await stop()
    start(['a', 'b', 'c'])
    await becomes(`kip-b: ${['a', 'b', 'c'].map(image).join()}`)
    assert.equal(proxy.refusals(), 0)
  })

  it('lets no secret and no token into its log', async () => {
    await stop()
    assert.match(output, /"mode":"multi-cluster"/)
    assert.ok(!output.includes(provider.clientSecret))
    for (const token of proxy.tokens) assert.ok(!output.includes(token.replace('Bearer ', '')))
  })

  it('lets in whom a kubeconfig has log in by OIDC, also when the token has ended', async () => {
    const [bed] = beds
    assert.ok(bed)
    const config = parse(await readFile(bed.cluster.kubeconfig, 'utf8'))
    const login = {
      'client-id': provider.audience,
      'client-secret': provider.clientSecret,
      'idp-issuer-url': provider.issuer,
      'idp-certificate-authority-data': Buffer.from(authority.certificate).toString('base64'),
      'refresh-token': await provider.login('carol'),
    }
    const [{ name }] = config.users
    const user = { name, user: { 'auth-provider': { name: 'oidc', config: login } } }
    const kubeconfig = join(folder, 'carol.kubeconfig')
    await writeFile(kubeconfig, JSON.stringify({ ...config, users: [user] }), { mode: 0o600 })
    const client = await connectCluster({ kubeconfig })
    const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }
    const whoAmI = async () =>
      await client.request<{ status: { userInfo: { username: string } } }>({
        ...{ method: 'POST', path, body, signal },
      })
    try {
      const given = provider.given()
      // For ten seconds the API server remembers whom it let in by a token.
      await waitUntil(
        'another token to be taken',
        async () => {
          assert.equal((await whoAmI()).status.userInfo.username, 'oidc:carol')
          return provider.given() > given + 1
        },
        30_000,
      )
    } finally {
      await client.close()
    }
  })

  it('trusts nobody whose certificate it cannot verify', async () => {
    const before = provider.given()
    start(['a'], { KIP_MULTI_CLUSTER_CA_FILE: '' })
    await waitUntil('the log to say so', () => /unable to verify|self.signed/.test(output), 20_000)
    await stop()
    assert.equal(provider.given(), before)
  })
})
