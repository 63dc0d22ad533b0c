import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Reflector, type ReflectorOptions } from '../../../src/kube/reflector.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import type { ReflectorEvent } from '../../../src/kube/store.ts'
import type { Pod } from '../../../src/kube/types.ts'
import { type FakeKube, type FakeKubeOptions, startFakeKube } from '../../support/fake-kube.ts'
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
})
