import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  applyObject,
  createObject,
  deleteObject,
  getObject,
  updateObject,
} from '../../../src/kube/apply.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { conflictingManagers, isConflict, KubeApiError } from '../../../src/kube/errors.ts'
import { HttpKubeClient } from '../../../src/kube/http-client.ts'
import { type ResourcePath, resourcePath } from '../../../src/kube/resource.ts'
import { serviceAccountAccess } from '../../../src/kube/service-account.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'

const maps: ResourcePath = { group: '', version: 'v1', plural: 'configmaps', namespace: 'a' }
const { signal } = new AbortController()

function map(name: string, data: Record<string, string> = {}) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }
}

function refusal(status: number, reason: string) {
  return (error: unknown): boolean =>
    error instanceof KubeApiError && error.status === status && error.reason === reason
}

describe('client', () => {
  let kube: FakeKube
  let client: HttpKubeClient

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
  })
  afterEach(async () => {
    await client.close()
    await kube.stop()
  })

  test('paths', () => {
    assert.equal(resourcePath(maps, 'x'), '/api/v1/namespaces/a/configmaps/x')
    assert.equal(
      resourcePath({ group: 'apps', version: 'v1', plural: 'deployments' }),
      '/apis/apps/v1/deployments',
    )
    assert.equal(
      resourcePath(
        { group: 'images.kip', version: 'v1alpha1', plural: 'cachedimages' },
        'a/b',
        'status',
      ),
      '/apis/images.kip/v1alpha1/cachedimages/a%2Fb/status',
    )
  })

  test('create, read, replace, delete', async () => {
    const made = await createObject(client, maps, map('x', { k: '1' }), { signal })
    assert.ok(made.metadata?.uid)
    await assert.rejects(
      createObject(client, maps, map('x'), { signal }),
      refusal(409, 'AlreadyExists'),
    )
    const next = await updateObject(
      client,
      maps,
      { ...made, ...map('x', { k: '2' }), metadata: made.metadata ?? {} },
      { signal },
    )
    await assert.rejects(updateObject(client, maps, made, { signal }), isConflict)
    assert.deepEqual(await getObject(client, maps, 'x', { signal }), next)
    await assert.rejects(deleteObject(client, maps, 'x', { signal, uid: 'another' }), isConflict)
    assert.equal(await deleteObject(client, maps, 'x', { signal }), true)
    assert.equal(await deleteObject(client, maps, 'x', { signal }), false)
    assert.equal(await getObject(client, maps, 'x', { signal }), undefined)
  })

  test('server-side apply: managers, removal, conflicts, force, stale version', async () => {
    const apply = (fieldManager: string, data: Record<string, string>, more: object = {}) =>
      applyObject<ReturnType<typeof map>>(client, maps, map('x', data), {
        fieldManager,
        signal,
        ...more,
      })
    await apply('one', { a: '1', b: '1' })
    assert.deepEqual((await apply('two', { c: '2' })).data, { a: '1', b: '1', c: '2' })
    assert.deepEqual((await apply('one', { a: '1' })).data, { a: '1', c: '2' })
    await assert.rejects(apply('two', { a: '2' }), (error: unknown) => {
      assert.ok(isConflict(error))
      assert.deepEqual(conflictingManagers(error), ['one'])
      return true
    })
    assert.deepEqual((await apply('two', { a: '2' }, { force: true })).data, { a: '2' })
    await assert.rejects(
      applyObject(
        client,
        maps,
        { ...map('x'), metadata: { name: 'x', resourceVersion: '1' } },
        { fieldManager: 'one', signal },
      ),
      isConflict,
    )
    const before = kube.store.version
    await apply('one', { d: '4' }, { dryRun: true })
    assert.equal(kube.store.version, before)
    await assert.rejects(
      applyObject(client, maps, { metadata: {} }, { fieldManager: 'one', signal }),
      TypeError,
    )
  })

  test('a refusal bears status, reason, words, and how long to wait', async () => {
    kube.fault = () => ({ status: 429, reason: 'TooManyRequests', headers: { 'retry-after': '3' } })
    await assert.rejects(getObject(client, maps, 'x', { signal }), (error: unknown) => {
      assert.ok(error instanceof KubeApiError)
      assert.equal(error.code, 'KIP_KUBE_API')
      assert.equal(error.retryAfterMs, 3000)
      assert.match(error.message, /^GET \/api\/v1\/namespaces\/a\/configmaps\/x: 429: /)
      return true
    })
    assert.equal(kube.requests.length, 1, 'nothing is tried again behind the caller')
  })

  test('no answer in time, a cut connection, and no server are told apart from an abort', async () => {
    kube.fault = () => 'hang'
    await assert.rejects(
      getObject(client, maps, 'x', { signal, timeoutMs: 30 }),
      refusal(0, 'Timeout'),
    )
    const stop = new AbortController()
    const reason = new Error('enough')
    const asked = getObject(client, maps, 'x', { signal: stop.signal })
    setTimeout(() => stop.abort(reason), 10)
    await assert.rejects(asked, reason)
    await assert.rejects(getObject(client, maps, 'x', { signal: stop.signal }), reason)
    kube.fault = () => 'reset'
    await assert.rejects(getObject(client, maps, 'x', { signal }), refusal(0, 'Broken'))
    await kube.stop()
    await assert.rejects(getObject(client, maps, 'x', { signal }), refusal(0, 'Unreachable'))
  })

  test('connections that fell silent are not tried one after the other', async () => {
    const all = Array.from({ length: 4 }, () => getObject(client, maps, 'x', { signal }))
    await Promise.all(all)
    const before = new Set(kube.sockets)
    assert.ok(before.size >= 3, `${before.size} connections`)
    for (const socket of before) socket.pause()
    await assert.rejects(
      getObject(client, maps, 'x', { signal, timeoutMs: 50 }),
      refusal(0, 'Timeout'),
    )
    assert.equal(await getObject(client, maps, 'x', { signal, timeoutMs: 1000 }), undefined)
  })

  test('the end of the client ends what is under way on connections that it has left', async () => {
    kube.fault = ({ path }) => (path.endsWith('/slow') ? 'hang' : undefined)
    const slow = assert.rejects(getObject(client, maps, 'slow', { signal }), refusal(0, 'Broken'))
    await assert.rejects(
      getObject(client, maps, 'slow', { signal, timeoutMs: 30 }),
      refusal(0, 'Timeout'),
    )
    assert.equal(await getObject(client, maps, 'x', { signal }), undefined)
    await client.close()
    await slow
  })

  test('connections are kept and shared', async () => {
    for (let times = 0; times < 20; times += 1) await getObject(client, maps, 'x', { signal })
    assert.ok(kube.connections <= 2, `${kube.connections} connections for 20 requests`)
  })

  test('a stream that is left closes its connection', async () => {
    const enough = new Error('enough')
    const stream = client.stream(
      { method: 'GET', path: resourcePath(maps), query: { watch: 'true' }, signal },
      {
        begin: (contentType) => {
          assert.match(contentType, /json/)
          kube.put(maps, { ...map('x'), metadata: { name: 'x', namespace: 'a' } })
        },
        chunk: (chunk) => {
          assert.match(chunk.toString(), /ADDED/)
          throw enough
        },
      },
    )
    await assert.rejects(stream, enough)
    for (let times = 0; times < 100 && kube.watches > 0; times += 1) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    assert.equal(kube.watches, 0)
  })
})

describe('credentials', () => {
  let kube: FakeKube
  let dir: string

  beforeEach(async () => {
    kube = await startFakeKube({ token: 'first' })
    dir = await mkdtemp(join(tmpdir(), 'kip-sa-'))
    await writeFile(join(dir, 'token'), 'first\n')
    await writeFile(join(dir, 'ca.crt'), 'no certificate')
    await writeFile(join(dir, 'namespace'), 'here')
  })
  afterEach(async () => {
    await kube.stop()
    await rm(dir, { recursive: true })
  })

  test('a service account token that was replaced on disk is read anew when it is refused, and each minute', async () => {
    let now = 0
    const access = await serviceAccountAccess({ dir, now: () => now })
    const client = new HttpKubeClient({ access: { ...access, server: kube.url } })
    assert.equal(client.namespace, 'here')
    await getObject(client, maps, 'x', { signal })
    await writeFile(join(dir, 'token'), 'second')
    kube.token = 'second'
    await getObject(client, maps, 'x', { signal })
    kube.token = 'third'
    await assert.rejects(getObject(client, maps, 'x', { signal }), refusal(401, 'Unauthorized'))
    await writeFile(join(dir, 'token'), 'third')
    now += 60_000
    kube.requests.length = 0
    await getObject(client, maps, 'x', { signal })
    assert.equal(kube.requests.length, 1)
    await client.close()
  })

  test('in-cluster addresses', async () => {
    const server = async (host?: string, port?: string) =>
      (await serviceAccountAccess({ dir, host, port })).server
    assert.equal(await server(), 'https://kubernetes.default.svc:443')
    assert.equal(await server('10.0.0.1', '6443'), 'https://10.0.0.1:6443')
    assert.equal(await server('fd00::1', '443'), 'https://[fd00::1]:443')
  })

  test('a kubeconfig: token, namespace, and exec plugin', async () => {
    const config = (
      user: object,
      cluster: object = { server: `${kube.url}/`, 'insecure-skip-tls-verify': true },
    ) =>
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'c', cluster }],
        users: [{ name: 'u', user }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'team' } }],
        'current-context': 'x',
      })
    const path = join(dir, 'config')
    await writeFile(path, config({ token: 'first' }))
    let client = await connectCluster({ kubeconfig: path })
    assert.equal(client.namespace, 'team')
    await getObject(client, maps, 'x', { signal })
    await client.close()

    const credential = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: 'first' },
    }
    await writeFile(
      path,
      config({
        exec: {
          apiVersion: 'client.authentication.k8s.io/v1',
          command: 'echo',
          args: [JSON.stringify(credential)],
        },
      }),
    )
    client = await connectCluster({ kubeconfig: '', env: { KUBECONFIG: path } })
    await getObject(client, maps, 'x', { signal })
    // The plugin gives another token now; a 401 makes it be asked.
    credential.status.token = 'second'
    await writeFile(
      path,
      config({
        exec: {
          apiVersion: 'client.authentication.k8s.io/v1',
          command: 'echo',
          args: [JSON.stringify(credential)],
        },
      }),
    )
    kube.token = 'second'
    await getObject(client, maps, 'x', { signal })
    await client.close()
  })

  test('several kubeconfigs are merged as by kubectl: the first that says something counts', async () => {
    const write = async (name: string, config: object): Promise<string> => {
      const path = join(dir, name)
      await writeFile(path, JSON.stringify({ apiVersion: 'v1', kind: 'Config', ...config }))
      return path
    }
    const first = await write('first', {
      users: [{ name: 'u', user: { token: 'first' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'team' } }],
      'current-context': 'x',
    })
    const second = await write('second', {
      clusters: [{ name: 'c', cluster: { server: kube.url, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'u', user: { token: 'another' } }],
      contexts: [{ name: 'y', context: { cluster: 'c', user: 'u', namespace: 'elsewhere' } }],
      'current-context': 'y',
    })
    const env = { KUBECONFIG: [join(dir, 'missing'), first, second].join(':') }
    const client = await connectCluster({ kubeconfig: '', env })
    assert.equal(client.namespace, 'team')
    await getObject(client, maps, 'x', { signal })
    await client.close()
  })

  test('a kubeconfig: a token file that is replaced, and an OIDC token that has not ended', async () => {
    const path = join(dir, 'config')
    const config = (user: object): Promise<void> =>
      writeFile(
        path,
        JSON.stringify({
          clusters: [
            { name: 'c', cluster: { server: kube.url, 'insecure-skip-tls-verify': true } },
          ],
          users: [{ name: 'u', user }],
          contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
          'current-context': 'x',
        }),
      )
    const tokenFile = join(dir, 'token-of-kubeconfig')
    await writeFile(tokenFile, 'first')
    await config({ tokenFile })
    let client = await connectCluster({ kubeconfig: path })
    await getObject(client, maps, 'x', { signal })
    kube.token = 'second'
    await writeFile(tokenFile, 'second')
    await getObject(client, maps, 'x', { signal })
    await client.close()

    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const token = `${part({ alg: 'none' })}.${part({ exp: Date.now() / 1000 + 3600 })}.x`
    kube.token = token
    await config({
      'auth-provider': {
        name: 'oidc',
        config: { 'client-id': 'kip', 'id-token': token, 'idp-issuer-url': 'https://id.test' },
      },
    })
    client = await connectCluster({ kubeconfig: path })
    await getObject(client, maps, 'x', { signal })
    await client.close()
  })

  test('what is wrong with a kubeconfig is said with its path', async () => {
    const path = join(dir, 'config')
    await assert.rejects(connectCluster({ kubeconfig: path }), (error: Error) => {
      assert.equal(error.name, 'KubeConfigError')
      assert.ok(error.message.includes(path))
      return true
    })
    await writeFile(path, '{"clusters":[],"users":[],"contexts":[],"current-context":"none"}')
    await assert.rejects(connectCluster({ kubeconfig: path }), /"none" names no cluster/)
    const cluster = { name: 'c', cluster: { server: 'api.test:6443' } }
    const context = { name: 'x', context: { cluster: 'c', user: 'u' } }
    await writeFile(
      path,
      JSON.stringify({ clusters: [cluster], contexts: [context], 'current-context': 'x' }),
    )
    await assert.rejects(
      connectCluster({ kubeconfig: path }),
      /"api\.test:6443" of cluster c is no/,
    )
    await writeFile(path, ': : :\n- x')
    await assert.rejects(connectCluster({ kubeconfig: path }), { name: 'KubeConfigError' })
    await assert.rejects(connectCluster({ kubeconfig: '', env: {} }), /no way to an API server/)
  })
})
