import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Reflector } from '../../../src/kube/reflector.ts'
import type { ReflectorOptions } from '../../../src/kube/reflector-options.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import type { ReflectorEvent } from '../../../src/kube/store.ts'
import type { Pod } from '../../../src/kube/types.ts'
import { uidText } from '../../../src/kube/uid.ts'
import { type FakeKube, type FakeKubeOptions, startFakeKube } from '../../support/fake-kube.ts'
import { endWatchesAtOnce, frozenClock } from '../../support/short-watches.ts'
import { silentLog } from '../../support/silent-log.ts'

const pods: ResourcePath = { group: '', version: 'v1', plural: 'pods' }

function pod(name: string, image = `${name}:1`, namespace = 'a') {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name },
    spec: { containers: [{ name: 'main', image }] },
  }
}

const imageOf = (raw: object): string => (raw as Pod).spec?.containers?.[0]?.image ?? ''

/** Waits, in small steps, until `check` holds. */
async function until(check: () => boolean, what: string): Promise<void> {
  for (let waited = 0; waited < 5000; waited += 5) {
    if (check()) return
    await delay(5)
  }
  assert.fail(`not within 5 s: ${what}`)
}

/** Waits of a thousandth, so that back-off takes no time. */
const quickClock = {
  now: () => performance.now() * 1000,
  timer: (callback: () => void, ms: number) => {
    const timeout = setTimeout(callback, ms / 1000)
    return () => clearTimeout(timeout)
  },
}

describe('reflector', () => {
  let kube: FakeKube
  let stop: AbortController
  let ends: Promise<void>[]
  const log = silentLog()

  async function fake(options: FakeKubeOptions = {}): Promise<FakeKube> {
    await kube?.stop()
    kube = await startFakeKube(options)
    return kube
  }

  function reflect(options: Partial<ReflectorOptions<string>> = {}) {
    const events: ReflectorEvent<string>[] = []
    const client = kube.client()
    const reflector = new Reflector<string>({
      client,
      resource: pods,
      project: imageOf,
      onEvent: (event) => events.push(event),
      log,
      clock: quickClock,
      timing: { minWatchMs: 3e8, maxWatchMs: 6e8, silenceMs: 9e7, graceMs: 3e7 },
      ...options,
    })
    ends.push(reflector.run(stop.signal).then(() => client.close()))
    const told = (): string[] => events.map(({ type, key }) => `${type} ${key}`)
    return { reflector, events, told }
  }

  beforeEach(async () => {
    stop = new AbortController()
    ends = []
    log.lines.length = 0
    await fake()
  })

  afterEach(async () => {
    stop.abort()
    await Promise.all(ends)
    await kube.stop()
  })

  describe('of a resource that may be missing', () => {
    const optional = true
    const lines = (): string[] =>
      log.lines
        .filter(({ level }) => level !== 'debug')
        .map(({ level, message }) => `${level} ${message}`)

    test('waits for it without noise, and reads it when it comes', async () => {
      kube.put(pods, pod('x'))
      kube.fault = () => ({ status: 404, reason: 'NotFound' })
      const { reflector, told } = reflect({ optional })
      await reflector.synced
      await until(() => kube.requests.length > 3, 'further requests')
      assert.deepEqual(lines(), ['info not installed, waiting for it'])
      assert.deepEqual(told(), [])
      kube.fault = undefined
      await until(() => told().length === 1, 'what is there')
      assert.deepEqual(told(), ['added a/x'])
      assert.deepEqual(lines().slice(1), ['info can be read now'])
    })

    test('tells that all is gone when it is taken away', async () => {
      kube.put(pods, pod('x'))
      const { reflector, told } = reflect({ optional })
      await reflector.synced
      kube.fault = () => ({ status: 404, reason: 'NotFound' })
      await until(() => kube.watches === 1, 'a watch')
      kube.endWatches()
      await until(() => reflector.size === 0, 'nothing left')
      assert.deepEqual(told(), ['added a/x', 'deleted a/x'])
    })

    test('keeps what it knows while it may not read', async () => {
      kube.put(pods, pod('x'))
      const { reflector } = reflect({ optional })
      await reflector.synced
      kube.fault = () => ({ status: 403, reason: 'Forbidden' })
      await until(() => kube.watches === 1, 'a watch')
      kube.endWatches()
      await until(() => lines().length > 0, 'a warning')
      const seen = kube.requests.length
      await until(() => kube.requests.length > seen + 2, 'further requests')
      assert.equal(reflector.size, 1)
      assert.deepEqual(lines(), ['warn may not be read, left out until it may'])
    })

    test('is an error without that option', async () => {
      kube.fault = () => ({ status: 404, reason: 'NotFound' })
      const { reflector } = reflect()
      await until(() => lines().length > 1, 'warnings')
      assert.equal(reflector.isSynced, false)
      assert.match(lines()[0] ?? '', /^warn list or watch failed/)
    })
  })

  for (const watchList of [true, false]) {
    describe(watchList ? 'with WatchList' : 'with pages', () => {
      beforeEach(async () => {
        await fake({ watchList })
      })

      test('tells what is there, then what changes', async () => {
        kube.put(pods, pod('x'))
        kube.put(pods, pod('y', 'y:1', 'b'))
        const { reflector, told, events } = reflect()
        await reflector.synced
        assert.deepEqual(told().sort(), ['added a/x', 'added b/y'])
        kube.put(pods, pod('x', 'x:2'))
        kube.delete({ ...pods, namespace: 'b' }, 'y')
        kube.put(pods, pod('z'))
        await until(() => events.length === 5, 'three changes')
        assert.deepEqual(told().slice(2), ['updated a/x', 'deleted b/y', 'added a/z'])
        assert.deepEqual(events[2]?.previous, 'x:1')
        assert.equal(events[3]?.value, 'y:1')
        assert.deepEqual([...reflector.entries()].sort(), [
          ['a/x', 'x:2'],
          ['a/z', 'z:1'],
        ])
      })

      test('a server that was killed and comes back: no new list, nothing missed', async () => {
        kube.put(pods, pod('x'))
        const { reflector, told } = reflect()
        await reflector.synced
        await until(() => kube.watches === 1, 'a watch')
        await kube.stop()
        kube.put(pods, pod('y'))
        kube.delete({ ...pods, namespace: 'a' }, 'x')
        await delay(20)
        kube.requests.length = 0
        await kube.start()
        await until(() => told().length === 3, 'both changes')
        assert.deepEqual(told(), ['added a/x', 'added a/y', 'deleted a/x'])
        assert.ok(kube.requests.every(({ query }) => query.resourceVersion !== undefined))
      })

      test('410: lists anew and tells deletions that no watch told', async () => {
        for (const name of ['x', 'y', 'z']) kube.put(pods, pod(name))
        let replaced = 0
        const { reflector, told } = reflect({ onReplaced: () => (replaced += 1) })
        await reflector.synced
        await until(() => kube.watches === 1, 'a watch')
        await kube.stop()
        kube.delete({ ...pods, namespace: 'a' }, 'x')
        kube.put(pods, pod('y', 'y:2'))
        kube.store.compact()
        await kube.start()
        await until(() => replaced === 2, 'a second list')
        assert.deepEqual(told().slice(3).sort(), ['deleted a/x', 'updated a/y'])
      })
    })
  }

  test('a server without WatchList is paged, and not asked for it again', async () => {
    await fake({ watchList: false })
    for (let at = 0; at < 7; at += 1) kube.put(pods, pod(`p${at}`))
    const { reflector } = reflect({ pageSize: 3 })
    await reflector.synced
    assert.equal(reflector.size, 7)
    const lists = kube.requests.filter(({ query }) => query.watch === undefined)
    assert.deepEqual(
      lists.map(({ query }) => [query.limit, query.continue !== undefined]),
      [
        ['3', false],
        ['3', true],
        ['3', true],
      ],
    )
    kube.store.compact()
    await until(() => kube.watches === 1, 'a watch')
    kube.put(pods, pod('q'))
    kube.store.compact()
    kube.endWatches()
    await until(() => reflector.size === 8, 'the new pod')
    assert.equal(
      kube.requests.filter(({ query }) => query.sendInitialEvents !== undefined).length,
      1,
    )
  })

  test('a continue token that expires begins the list anew, and in the end asks for it whole', async () => {
    await fake({ watchList: false })
    for (let at = 0; at < 6; at += 1) kube.put(pods, pod(`p${at}`))
    kube.fault = ({ query }) => {
      if (query.continue !== undefined) kube.put(pods, pod('p0', `p0:${kube.requests.length}`))
      if (query.continue !== undefined) kube.store.compact()
      return undefined
    }
    const { reflector } = reflect({ pageSize: 2 })
    await reflector.synced
    assert.equal(reflector.size, 6)
    assert.deepEqual(
      kube.requests
        .filter(({ query }) => query.watch === undefined)
        .map(({ query }) => query.limit),
      ['2', '2', '2', '2', undefined],
    )
  })

  test('bookmarks move the version that a watch goes on from', async () => {
    await fake({ bookmarkEveryMs: 5 })
    kube.put(pods, pod('x'))
    const { reflector } = reflect()
    await reflector.synced
    // Elsewhere things change, so that the version known of pods grows old.
    for (let at = 0; at < 5; at += 1) {
      kube.put({ group: '', version: 'v1', plural: 'secrets' }, { metadata: { name: `s${at}` } })
    }
    const version = String(kube.store.version)
    await delay(20)
    kube.store.compact()
    kube.requests.length = 0
    kube.endWatches()
    await until(() => kube.requests.length > 0, 'a new watch')
    assert.equal(kube.requests[0]?.query.resourceVersion, version)
  })

  test('a connection that fell silent is left, and nothing is missed', async () => {
    const { reflector, told } = reflect({
      timing: { minWatchMs: 3e8, maxWatchMs: 6e8, graceMs: 3e7, silenceMs: 40_000 },
    })
    await reflector.synced
    kube.silent = true
    kube.put(pods, pod('x'))
    await delay(20)
    assert.deepEqual(told(), [])
    kube.silent = false
    await until(() => told().length === 1, 'the pod')
    assert.match(
      JSON.stringify(log.lines.map(({ fields }) => String(Object(fields).err))),
      /fell silent/,
    )
  })

  test('a watch that the server does not end is ended', async () => {
    const { reflector } = reflect({
      timing: { minWatchMs: 10_000, maxWatchMs: 20_000, graceMs: 10_000, silenceMs: 9e7 },
    })
    await reflector.synced
    await until(() => kube.requests.length >= 2, 'a second watch')
    assert.ok(kube.requests.slice(1).every(({ query }) => query.sendInitialEvents === undefined))
    const seconds = kube.requests.map(({ query }) => Number(query.timeoutSeconds))
    assert.ok(seconds.every((value) => value >= 10 && value <= 20))
  })

  test('429 is waited for as long as the server asks, other refusals with growing waits', async () => {
    let refusals = 5
    kube.fault = () => {
      if (refusals === 0) return undefined
      refusals -= 1
      return refusals === 4
        ? { status: 429, reason: 'TooManyRequests', headers: { 'retry-after': '20' } }
        : { status: 500, reason: 'InternalError' }
    }
    const { reflector } = reflect({ random: () => 0.5 })
    await reflector.synced
    const waits = log.lines.map(({ fields }) => Object(fields).waitMs)
    assert.deepEqual(waits, [20_000, 2400, 4800, 9600, 19_200])
  })

  test('a server that is not there is tried every 2 to 4 s, however long it is gone', async () => {
    await fake()
    await kube.stop()
    const { reflector } = reflect({ random: () => 0.5 })
    await until(() => log.lines.length >= 6, 'six failures')
    const waits = log.lines.slice(0, 6).map(({ fields }) => Object(fields).waitMs)
    assert.deepEqual(waits, [1200, 2400, 3000, 3000, 3000, 3000])
    await kube.start()
    await reflector.synced
  })

  test('a server that ends each watch at once is waited for longer and longer', async () => {
    kube.put(pods, pod('x'))
    endWatchesAtOnce(kube)
    reflect({ clock: frozenClock, random: () => 0.5 })
    await until(() => log.lines.length >= 4, 'four failures')
    const waits = log.lines.slice(0, 4).map(({ fields }) => Object(fields).waitMs)
    assert.deepEqual(waits, [1200, 2400, 4800, 9600])
  })

  test('a server that was restored from a backup is noticed by its silence, and listed again', async () => {
    kube.put(pods, pod('x'))
    kube.put(pods, pod('y'))
    const { reflector, told } = reflect({
      timing: { minWatchMs: 3e8, maxWatchMs: 6e8, graceMs: 3e7, silenceMs: 40_000 },
    })
    await reflector.synced
    await until(() => kube.watches === 1, 'a watch')
    await kube.stop()
    kube.delete({ ...pods, namespace: 'a' }, 'y')
    kube.store.restoreAt(500)
    await kube.start()
    await until(() => told().includes('deleted a/y'), 'the deletion')
    assert.equal(reflector.size, 1)
    assert.ok(log.lines.some(({ message }) => /gone back in time/.test(message)))
  })

  for (const watchList of [true, false]) {
    const how = watchList ? 'as a stream' : 'by pages'
    test(`before each list ${how}, and before nothing else, it is said that one is asked for`, async () => {
      const said: string[] = []
      kube.put(pods, pod('x'))
      const { reflector } = reflect({
        watchList,
        onListing: () => said.push('listing'),
        onEvent: ({ key }) => said.push(key),
        onReplaced: () => said.push('replaced'),
      })
      await reflector.synced
      assert.deepEqual(said, ['listing', 'a/x', 'replaced'])
      await until(() => kube.watches === 1, 'a watch')
      const asked = kube.requests.length
      kube.endWatches()
      await until(() => kube.requests.length > asked && kube.watches === 1, 'another watch')
      kube.put(pods, pod('x', 'x:2'))
      await until(() => said.length === 4, 'a change')
      kube.put({ group: '', version: 'v1', plural: 'secrets' }, { metadata: { name: 's' } })
      kube.store.compact()
      kube.endWatches()
      await until(() => said.length === 6, 'another list')
      assert.deepEqual(said.slice(3), ['a/x', 'listing', 'replaced'])
    })
  }

  test('a namesake is another object, even when its making was not watched', async () => {
    const first = kube.put(pods, pod('x'))
    const { reflector, events } = reflect()
    await reflector.synced
    await until(() => kube.watches === 1, 'a watch')
    await kube.stop()
    kube.delete({ ...pods, namespace: 'a' }, 'x')
    const second = kube.put(pods, pod('x'))
    kube.store.compact()
    await kube.start()
    await until(() => events.length === 3, 'deletion and addition')
    assert.deepEqual(
      events.map(({ type, uid }) => [type, uidText(uid)]),
      [
        ['added', first.metadata?.uid],
        ['deleted', first.metadata?.uid],
        ['added', second.metadata?.uid],
      ],
    )
  })

  test('where changes are gathered, a list is told as it comes', async () => {
    for (const name of ['x', 'y', 'z']) kube.put(pods, pod(name))
    const { reflector, told } = reflect({ gathers: true, timing: { gatherMs: 1_000_000 } })
    await reflector.synced
    assert.equal(told().length, 3)
    for (let number = 0; number < 5; number += 1) {
      kube.put(pods, pod('x', `x:${number}`))
      await delay(5)
    }
    await until(() => told().length === 4, 'the change that a pause begins with')
    await delay(20)
    assert.equal(told().length, 4)
  })

  test('a list that tells nothing new tells nothing', async () => {
    kube.put(pods, pod('x'))
    let replaced = 0
    const { reflector, events } = reflect({ onReplaced: () => (replaced += 1) })
    await reflector.synced
    await until(() => kube.watches === 1, 'a watch')
    kube.put({ group: '', version: 'v1', plural: 'secrets' }, { metadata: { name: 's' } })
    kube.store.compact()
    kube.endWatches()
    await until(() => replaced === 2, 'a second list')
    assert.equal(events.length, 1)
  })

  test('a change of what is not kept is not told, and its version is gone on from', async () => {
    kube.put(pods, pod('x', 'x:1'))
    const { reflector, told } = reflect({ isSame: (a, b) => a === b })
    await reflector.synced
    kube.put(pods, { ...pod('x', 'x:1'), status: { phase: 'Running' } })
    kube.put(pods, pod('y'))
    await until(() => told().length === 2, 'the second pod')
    kube.put(pods, pod('x', 'x:2'))
    await until(() => told().length === 3, 'the change')
    assert.deepEqual(told(), ['added a/x', 'added a/y', 'updated a/x'])
  })

  test('objects that the projection leaves out, or cannot read, are not there', async () => {
    kube.put(pods, pod('x'))
    kube.put(pods, pod('odd'))
    const { reflector, told } = reflect({
      project: (raw) => {
        if (raw.metadata?.name === 'odd') throw new Error('cannot read it')
        return imageOf(raw) === 'x:2' ? undefined : imageOf(raw)
      },
    })
    await reflector.synced
    assert.deepEqual(told(), ['added a/x'])
    kube.put(pods, pod('x', 'x:2'))
    await until(() => told().length === 2, 'its leaving')
    assert.deepEqual(told(), ['added a/x', 'deleted a/x'])
    assert.equal(reflector.size, 0)
    assert.ok(log.lines.some(({ level, message }) => level === 'error' && /left out/.test(message)))
  })

  test('selectors go with every request, and what leaves them is deleted', async () => {
    const labelled = (value: string) => {
      const { metadata, ...rest } = pod('x')
      return { ...rest, metadata: { ...metadata, labels: { app: value } } }
    }
    kube.put(pods, labelled('a'))
    kube.put(pods, pod('y'))
    const { reflector, told } = reflect({ labelSelector: 'app=a' })
    await reflector.synced
    assert.deepEqual(told(), ['added a/x'])
    kube.put(pods, labelled('b'))
    await until(() => told().length === 2, 'its leaving')
    assert.deepEqual(told(), ['added a/x', 'deleted a/x'])
  })

  for (const [name, at] of [
    ['while the list is awaited', 'list'],
    ['while a watch is opened', 'open'],
    ['while a watch is read', 'watch'],
    ['while it waits after a failure', 'wait'],
  ] as const) {
    test(`stops at once ${name}`, async () => {
      if (at === 'list') await fake({ watchList: false })
      if (at === 'list') kube.fault = ({ query }) => (query.watch ? undefined : 'hang')
      if (at === 'open') kube.fault = () => 'hang'
      if (at === 'wait') kube.fault = () => ({ status: 500 })
      const { reflector } = reflect(at === 'wait' ? { random: () => 30_000 } : {})
      if (at === 'watch') await reflector.synced
      await until(() => kube.requests.length >= (at === 'list' ? 2 : 1), 'a request')
      await delay(10)
      const before = performance.now()
      stop.abort()
      await Promise.all(ends)
      assert.ok(performance.now() - before < 200)
      const asked = kube.requests.length
      await delay(20)
      assert.equal(kube.requests.length, asked)
    })
  }

  test('run again after a stop lists again and tells what changed meanwhile', async () => {
    kube.put(pods, pod('x'))
    const { reflector, told } = reflect()
    await reflector.synced
    await assert.rejects(reflector.run(stop.signal), /runs already/)
    stop.abort()
    await Promise.all(ends)
    kube.delete({ ...pods, namespace: 'a' }, 'x')
    kube.put(pods, pod('y'))
    stop = new AbortController()
    const client = kube.client()
    const events: string[] = told()
    const again = new Reflector<string>({
      client,
      resource: pods,
      project: imageOf,
      log,
      clock: quickClock,
    })
    ends = [again.run(stop.signal).then(() => client.close())]
    await again.synced
    assert.deepEqual([...again.values()], ['y:1'])
    assert.deepEqual(events, ['added a/x'])
  })

  test('metrics: lists, watches, events, failures', async () => {
    const seen: string[] = []
    kube.put(pods, pod('x'))
    const { reflector } = reflect({
      metrics: {
        listed: (objects) => seen.push(`listed ${objects}`),
        watched: () => seen.push('watched'),
        unwatched: (events) => seen.push(`unwatched ${events}`),
        event: (type) => seen.push(type),
        failed: (reason) => seen.push(`failed ${reason}`),
      },
    })
    await reflector.synced
    await until(() => kube.watches === 1, 'a watch')
    kube.store.compact()
    kube.put(pods, pod('x', 'x:2'))
    await until(() => seen.includes('modified'), 'the change')
    stop.abort()
    await ends[0]
    assert.deepEqual(seen, ['watched', 'added', 'bookmark', 'listed 1', 'modified', 'unwatched 3'])
  })
})
