import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { createObject, deleteObject, getObject, updateObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { KubeApiError } from '../../../src/kube/errors.ts'
import { guardWrites, type WriteTerm } from '../../../src/kube/guarded-client.ts'
import { HttpKubeClient } from '../../../src/kube/http-client.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { waitUntil } from '../../support/wait-until.ts'

const maps: ResourcePath = { group: '', version: 'v1', plural: 'configmaps', namespace: 'a' }
const { signal } = new AbortController()
const map = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } })

const notLeading = (error: unknown): boolean =>
  error instanceof KubeApiError && error.reason === 'NotLeading'

class TestTerm implements WriteTerm {
  readonly token: string
  readonly stop = new AbortController()
  lasts = true

  constructor(token: string) {
    this.token = token
  }

  get signal(): AbortSignal {
    return this.stop.signal
  }

  holds(): boolean {
    return this.lasts
  }
}

describe('writes of a leader', () => {
  let kube: FakeKube
  let plain: KubeClient

  beforeEach(async () => {
    kube = await startFakeKube()
    // One connection: a second request waits for the first.
    const credentials = async () => ({ headers: {}, tls: {} })
    const access = { server: kube.url, namespace: 'default', credentials }
    plain = new HttpKubeClient({ access, connections: 1 })
  })
  afterEach(async () => {
    await plain.close()
    await kube.stop()
  })

  const writes = (): readonly string[] =>
    kube.requests.flatMap(({ method, headers }) =>
      method === 'GET' ? [] : [`${method} ${headers['user-agent']}`],
    )

  test('go out while the term lasts, and say of which', async () => {
    const client = guardWrites(plain)
    client.enter(new TestTerm('uid/3'))
    await createObject(client, maps, map('x'), { signal })
    await updateObject(client, maps, map('x'), { signal })
    await deleteObject(client, maps, 'x', { signal })
    assert.deepEqual(writes(), [
      'POST kip (term uid/3)',
      'PUT kip (term uid/3)',
      'DELETE kip (term uid/3)',
    ])
  })

  test('are refused without a term, before it and after; reads are not', async () => {
    const client = guardWrites(plain)
    await assert.rejects(createObject(client, maps, map('x'), { signal }), notLeading)
    client.enter(new TestTerm('uid/3'))
    client.enter(undefined)
    await assert.rejects(createObject(client, maps, map('x'), { signal }), notLeading)
    assert.equal(await getObject(client, maps, 'x', { signal }), undefined)
    assert.deepEqual(writes(), [])
  })

  test('a term that ended unnoticed, as in a stopped process, lets none out', async () => {
    const client = guardWrites(plain)
    const term = new TestTerm('uid/3')
    client.enter(term)
    term.lasts = false
    await assert.rejects(createObject(client, maps, map('x'), { signal }), notLeading)
    assert.deepEqual(kube.requests, [])
  })

  test('what waits for a connection is looked at again when it is there', async () => {
    const client = guardWrites(plain)
    const term = new TestTerm('uid/3')
    client.enter(term)
    kube.fault = () => 'hang'
    const stop = new AbortController()
    const first = getObject(client, maps, 'x', { signal: stop.signal })
    await waitUntil('the connection is taken', () => kube.requests.length === 1)
    const second = createObject(client, maps, map('x'), { signal })
    kube.fault = undefined
    term.lasts = false
    stop.abort(new Error('enough'))
    await assert.rejects(first, /enough/)
    await assert.rejects(second, notLeading)
    assert.deepEqual(writes(), [])
    assert.deepEqual(kube.list(maps), [])
  })

  test('what is under way is aborted with the term', async () => {
    const client = guardWrites(plain)
    const term = new TestTerm('uid/3')
    client.enter(term)
    kube.fault = () => 'hang'
    const write = createObject(client, maps, map('x'), { signal })
    await waitUntil('it is under way', () => kube.requests.length === 1)
    const lost = new Error('lost')
    term.stop.abort(lost)
    await assert.rejects(write, lost)
  })

  test('what was asked for in one term does not go out in the next', async () => {
    const client = guardWrites(plain)
    const old = new TestTerm('uid/3')
    client.enter(old)
    kube.fault = () => 'hang'
    const stop = new AbortController()
    const first = getObject(client, maps, 'x', { signal: stop.signal })
    await waitUntil('the connection is taken', () => kube.requests.length === 1)
    const late = createObject(client, maps, map('late'), { signal })
    old.lasts = false
    client.enter(new TestTerm('uid/5'))
    kube.fault = undefined
    stop.abort(new Error('enough'))
    await assert.rejects(first)
    await assert.rejects(late, notLeading)
    await createObject(client, maps, map('new'), { signal })
    assert.deepEqual(writes(), ['POST kip (term uid/5)'])
  })
})
