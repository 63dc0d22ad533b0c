import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { PullIdentity } from '../../../src/discovery/discovery.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { KubeApiError } from '../../../src/kube/errors.ts'
import { type OwnImage, refreshMs, UserCredentials } from '../../../src/puller/user-credentials.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'

const image = 'r.test/team/app:1'
const other = 'r.test/other/app:1'
const wanted = new Map([
  [image, {}],
  [other, {}],
])
const secrets = { group: '', version: 'v1', plural: 'secrets', namespace: 'team' }
const { signal } = new AbortController()
const own: OwnImage = {
  ...{ reference: 'r.test/sleep:1', identity: { namespace: 'kip', secrets: [] } },
}
const removeMs = 2 * refreshMs

describe('the credentials of those who use an image', () => {
  let kube: FakeKube
  let client: KubeClient & { close(): Promise<void> }
  let clock: ManualClock
  let log: ReturnType<typeof silentLog>
  let users: Map<string, readonly PullIdentity[]>
  let alongside: () => Promise<void>
  let credentials: UserCredentials
  let wasRead: PromiseWithResolvers<void>
  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
    clock = new ManualClock()
    log = silentLog()
    users = new Map([[image, [{ namespace: 'team', secrets: ['login'] }]]])
    alongside = async () => undefined
    credentials = new UserCredentials({
      ...{ client, log, clock, pace: { removeMs } },
      identitiesOf: () => users,
      alongside: () => alongside(),
      onChange: () => wasRead.resolve(),
    })
    putLogin('team', 'login')
  })
  afterEach(async () => {
    await client.close()
    await kube.stop()
  })

  function putLogin(namespace: string, name: string, username = 'u'): void {
    const text = JSON.stringify({ auths: { 'r.test': { username, password: 'p' } } })
    kube.put({ ...secrets, namespace }, {
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } },
      ...{ type: 'kubernetes.io/dockerconfigjson' },
      data: { '.dockerconfigjson': Buffer.from(text).toString('base64') },
    } as FakeObject)
  }
  async function read(mine = own): Promise<void> {
    wasRead = Promise.withResolvers()
    credentials.refresh(wanted, [], mine, signal)
    await wasRead.promise
    clock.advance(refreshMs)
  }
  const known = (): number | undefined => credentials.known?.get(image)?.credentials.length
  const named = (field: string): readonly unknown[] =>
    log.lines.map(({ fields }) => (fields as Record<string, unknown>)[field])
  const warned = (): readonly string[] => log.lines.map(({ message }) => message)

  it('stay known while its pods are made anew, and no longer', async () => {
    await read()
    users.clear()
    await read()
    assert.equal(known(), 1)
    await read()
    assert.equal(known(), undefined)
  })

  it('stay known while a Secret is made anew, or is out of reach for a moment, and no longer', async () => {
    const gone = () => ({ status: 403, reason: 'Forbidden' })
    for (const take of [() => kube.delete(secrets, 'login'), () => (kube.fault = gone)]) {
      await read()
      take()
      await read()
      assert.equal(known(), 1)
      await read()
      assert.equal(known(), 0)
      kube.fault = undefined
      putLogin('team', 'login')
    }
  })

  it('are read beside a Secret that the API server cannot give', async () => {
    const broken = '/api/v1/namespaces/team/secrets/broken'
    kube.fault = ({ path }) => (path === broken ? { status: 500 } : undefined)
    users.set(other, [{ namespace: 'team', secrets: ['broken'] }])
    await read()
    assert.equal(known(), undefined, 'nodes may hold what is pulled with it')
    await read()
    await read()
    assert.equal(known(), 1)
    assert.equal(credentials.known?.get(other)?.someWithout, false)
    assert.deepEqual(named('secret'), ['broken', 'broken', 'broken'])
  })

  it('are not known to a new leader before that of the sleep image is', async () => {
    const mine = { ...own, identity: { namespace: 'kip', secrets: ['mine', 'none'] } }
    putLogin('kip', 'mine', 'kip')
    kube.fault = ({ path }) => (path.endsWith('/mine') ? { status: 500 } : undefined)
    await read(mine)
    assert.deepEqual([known(), credentials.own], [undefined, []])
    kube.fault = undefined
    await read(mine)
    assert.deepEqual([known(), credentials.own[0]?.username], [1, 'kip'])
    kube.fault = ({ path }) => (path.endsWith('/mine') ? { status: 500 } : undefined)
    await read(mine)
    assert.equal(credentials.own[0]?.username, 'kip')
  })

  it('are what they were while the API server gives none, and unknown when it never did', async () => {
    kube.fault = () => ({ status: 500 })
    for (let time = 0; time < 5; time++) await read()
    assert.equal(credentials.known, undefined)
    kube.fault = undefined
    await read()
    assert.equal(known(), 1)
    kube.fault = () => ({ status: 500 })
    for (let time = 0; time < 5; time++) await read()
    assert.equal(known(), 1)
  })

  it('are not lost to a namespace that names more Secrets than are read', async () => {
    const greedy = Array.from({ length: 1200 }, (_, index) => `none-${index}`)
    users = new Map([[other, [{ namespace: 'greedy', secrets: greedy }]], ...users])
    await read()
    assert.equal(kube.requests.length, 1000)
    await read()
    assert.equal(known(), 1)
    assert.equal(new Set(kube.requests.map(({ path }) => path)).size, 1201)
    assert.equal(credentials.known?.get(other)?.someWithout, true)
    assert.deepEqual(named('namespace'), ['greedy'])
  })

  it('are told once to be out of reach, and once more when that is so again', async () => {
    const forbid = (): void => {
      kube.fault = () => ({ status: 403, reason: 'Forbidden' })
    }
    forbid()
    await read()
    await read()
    assert.equal(warned().length, 1)
    assert.match(warned()[0] ?? '', /of workloads may not be read \(component private-images\)/)
    kube.fault = undefined
    await read()
    forbid()
    await read()
    assert.equal(warned().length, 2)
  })

  it('are read beside names that no Secret can have, which pods may bear', async () => {
    const impossible = ['%LOGIN%', 'other/login', '..', '']
    // What an API server answers to a name that has no place in a path.
    kube.fault = ({ path }) =>
      /%25|%2F/i.test(path) ? { status: 400, reason: 'BadRequest' } : undefined
    putLogin('team', 'other', 'somebody else')
    users.set(image, [{ namespace: 'team', secrets: [...impossible, 'login'] }])
    await read()
    assert.equal(known(), 1)
    assert.deepEqual(warned(), [])
    assert.deepEqual(
      kube.requests.map(({ path }) => path),
      ['/api/v1/namespaces/team/secrets/login'],
    )
  })

  it("are not what is missing where Secrets of kip's own namespace may not be read", async () => {
    alongside = async () => {
      throw new KubeApiError({ status: 403, reason: 'Forbidden', message: 'no' })
    }
    await read()
    assert.match(warned().join(), /Secrets of kip's namespace may not be read/)
    assert.equal(credentials.known, undefined)
  })
})
