import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { createObject, deleteObject, updateObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { systemClock } from '../../../src/kube/clock.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { isExpired, statusError } from '../../../src/kube/errors.ts'
import { jsonDecoder } from '../../../src/kube/json-decoder.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import type { ReflectorOptions } from '../../../src/kube/reflector-options.ts'
import { type ResourcePath, resourcePath } from '../../../src/kube/resource.ts'
import type { KubeList, KubeObject } from '../../../src/kube/types.ts'
import { readWatch, watchTiming } from '../../../src/kube/watch.ts'
import { ownCluster } from '../../support/own-cluster.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const cluster = await ownCluster()
const maps: ResourcePath = { group: '', version: 'v1', plural: 'configmaps', namespace: 'default' }

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>
}

const sayOf = (raw: ConfigMap): string => raw.data?.say ?? ''

describe('reflector at a real API server', () => {
  const { signal } = new AbortController()
  let client: KubeClient
  let label: string
  let stop: AbortController
  let runs: Promise<void>[]
  const seen: string[] = []
  // They come when the server likes: after a WatchList another within a second.
  let bookmarks = 0

  before(async () => {
    client = await connectCluster({ kubeconfig: cluster.kubeconfig })
  })
  after(() => client.close())
  beforeEach(() => {
    label = `t${randomUUID().slice(0, 8)}`
    stop = new AbortController()
    runs = []
    seen.length = 0
    bookmarks = 0
  })
  afterEach(async () => {
    stop.abort()
    await Promise.all(runs)
  })

  const map = (name: string, say: string): ConfigMap => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: `${label}-${name}`, labels: { test: label } },
    data: { say },
  })
  const create = (name: string, say: string) =>
    createObject(client, maps, map(name, say), { signal })
  const update = (name: string, say: string) =>
    updateObject(client, maps, map(name, say), { signal })
  const remove = (name: string) => deleteObject(client, maps, `${label}-${name}`, { signal })

  function reflect(options: Partial<ReflectorOptions<string>> = {}) {
    const log = silentLog()
    const reflector = new Reflector<string>({
      client,
      resource: maps,
      labelSelector: `test=${label}`,
      project: sayOf,
      onEvent: ({ type, value }) => seen.push(`${type} ${value}`),
      log,
      metrics: {
        failed: (reason) => seen.push(`failed ${reason}`),
        event: (type) => {
          if (type === 'bookmark') bookmarks += 1
        },
      },
      ...options,
    })
    runs.push(reflector.run(stop.signal))
    return { reflector, log }
  }

  /** What a fresh full list says. */
  async function listed(): Promise<Record<string, string>> {
    const list = await client.request<KubeList<ConfigMap>>({
      method: 'GET',
      path: resourcePath(maps),
      query: { labelSelector: `test=${label}` },
      signal,
    })
    return Object.fromEntries(
      (list.items ?? []).map((raw) => [`default/${raw.metadata?.name}`, sayOf(raw)]),
    )
  }

  for (const watchList of [true, false]) {
    test(`${watchList ? 'WatchList' : 'pages'}: what is there, then what changes`, async () => {
      for (let at = 0; at < 25; at += 1) await create(`m${at}`, `${at}`)
      const { reflector, log } = reflect({ watchList, pageSize: 10 })
      await reflector.synced
      assert.equal(reflector.size, 25)
      assert.deepEqual(Object.fromEntries(reflector.entries()), await listed())
      assert.equal(bookmarks > 0, watchList)
      seen.length = 0
      await update('m3', 'three')
      await remove('m4')
      await create('late', 'late')
      await waitUntil('three changes', () => seen.length === 3)
      assert.deepEqual(seen, ['updated three', 'deleted 4', 'added late'])
      assert.deepEqual(log.lines, [])
    })
  }

  for (const watchList of [true, false]) {
    test(`metadata alone, by ${watchList ? 'WatchList' : 'pages'}`, async () => {
      await create('m0', 'first')
      const { reflector, log } = reflect({
        ...{ watchList, metadataOnly: true },
        project: (raw) => `${raw.metadata?.name} ${'data' in raw}`,
      })
      await reflector.synced
      await create('m1', 'later')
      await waitUntil('the later one', () => reflector.size === 2)
      assert.deepEqual([...reflector.entries()].map(([, value]) => value).sort(), [
        `${label}-m0 false`,
        `${label}-m1 false`,
      ])
      assert.deepEqual(log.lines, [])
    })
  }

  test('the API server restarts amid changes: in the end all is as a fresh list says', async () => {
    for (let at = 0; at < 20; at += 1) await create(`m${at}`, 'first')
    const { reflector } = reflect()
    await reflector.synced
    // Unheard by this watch, versions move on; the new server's watch cache does not reach back.
    for (let at = 0; at < 30; at += 1) {
      await createObject(
        client,
        maps,
        { ...map(`other${at}`, ''), metadata: { generateName: 'other-' } },
        { signal },
      )
    }
    await update('m1', 'second')
    await cluster.stopApiServer()
    await delay(500)
    await cluster.startApiServer()
    await update('m2', 'second')
    await remove('m3')
    await waitUntil(
      'in step',
      async () =>
        JSON.stringify(Object.fromEntries(reflector.entries())) === JSON.stringify(await listed()),
      40_000,
    )
    assert.ok(seen.some((line) => line.startsWith('failed ')))
    assert.ok(seen.includes('deleted first'))
    assert.equal(reflector.size, 19)
  })

  test('a start while the server is down', async () => {
    await create('m', 'first')
    await cluster.stopApiServer()
    const { reflector } = reflect()
    await delay(300)
    assert.equal(reflector.isSynced, false)
    await cluster.startApiServer()
    await reflector.synced
    assert.equal(reflector.size, 1)
  })

  test('a watch from an old version ends as expired, one from a version to come is silent', async () => {
    const watch = async (resourceVersion: string): Promise<unknown> => {
      const tooLong = new AbortController()
      const timer = setTimeout(() => tooLong.abort(new Error('still watching')), 2_000)
      try {
        await readWatch({
          client,
          path: resourcePath(maps),
          query: { resourceVersion },
          decoder: jsonDecoder({ project: sayOf, onFault: (error) => assert.fail(String(error)) }),
          timing: watchTiming,
          clock: systemClock,
          random: Math.random,
          signal: tooLong.signal,
          onEvent: (event) => {
            if (event.type === 'error') throw statusError(event.status, 'maps')
          },
        })
        return new Error('ended without an error')
      } catch (error) {
        return error
      } finally {
        clearTimeout(timer)
      }
    }
    const old = await watch('1')
    assert.ok(isExpired(old), String(old))
    // It stands, and says nothing: only a list tells that the server is not as far.
    assert.match(String(await watch('999999999')), /still watching/)
  })

  test('bookmarks come, and keep a quiet watch from being taken for dead', {
    skip: process.env.KIP_TEST_LONG !== '1' && 'takes three minutes; run with --long',
  }, async () => {
    const { reflector, log } = reflect()
    await reflector.synced
    // Bookmarks tell of versions that moved on: elsewhere among the ConfigMaps something happens now and then.
    const before = bookmarks
    for (let times = 0; times < 15; times += 1) {
      const other = { ...map('', ''), metadata: { generateName: 'other-' } }
      await createObject(client, maps, other, { signal })
      await delay(10_000)
    }
    assert.ok(bookmarks - before >= 2, `${bookmarks - before} bookmarks`)
    assert.deepEqual(log.lines, [])
  })
})
