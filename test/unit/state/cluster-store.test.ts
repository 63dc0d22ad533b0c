import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Clock } from '../../../src/kube/clock.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { type ClusterStore, createClusterStore } from '../../../src/state/cluster-store.ts'
import { NameTakenError } from '../../../src/state/errors.ts'
import { objectName } from '../../../src/state/naming.ts'
import { resource } from '../../../src/state/object.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { fastClock } from '../../support/fast-clock.ts'
import {
  imageStoreSuite,
  someMirror,
  someNodes,
  someSource,
  someUsage,
} from '../../support/image-store-suite.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

interface Running {
  readonly store: ClusterStore
  readonly log: ReturnType<typeof silentLog>
  stop(): Promise<void>
}

function runStore(kube: FakeKube, clock?: Clock): Running {
  const client = kube.client()
  const log = silentLog()
  const store = createClusterStore({
    client,
    log,
    metrics: createMetrics({ processMetrics: false }),
    ...(clock && { clock }),
  })
  const controller = new AbortController()
  const running = store.run(controller.signal)
  return {
    store,
    log,
    stop: async () => {
      controller.abort()
      await running
      await client.close()
    },
  }
}

const writesOf = (kube: FakeKube): number =>
  kube.requests.filter(({ method }) => method !== 'GET').length

imageStoreSuite('fake API server', async () => {
  const kube = await startFakeKube()
  const [one, two] = [runStore(kube), runStore(kube)]
  await two.store.synced
  return {
    store: one.store,
    other: two.store,
    writes: () => writesOf(kube),
    close: async () => {
      await Promise.all([one.stop(), two.stop()])
      await kube.stop()
    },
  }
})

describe('cluster store', () => {
  let kube: FakeKube
  let running: Running
  let store: ClusterStore
  const { signal } = new AbortController()
  const status = (name: string): Record<string, unknown> =>
    (kube.get(resource, name)?.status ?? {}) as Record<string, unknown>
  const handMade = (name: string, reference: string): void => {
    kube.put(resource, {
      apiVersion: 'images.kip/v1alpha1',
      kind: 'CachedImage',
      metadata: { name },
      spec: { reference },
    })
  }

  before(async () => {
    kube = await startFakeKube()
    running = runStore(kube)
    store = running.store
    await store.synced
  })
  after(async () => {
    await running.stop()
    await kube.stop()
  })

  it('writes summaries for people, which are no part of the state', async () => {
    const reference = 'docker.io/library/nginx:1.27'
    await store.putUsage(reference, { ...someUsage, workloads: 3 }, signal)
    const current = () => store.get(reference) ?? assert.fail()
    await store.putSource(current(), someSource, signal)
    await store.putMirror(current(), someMirror, signal)
    await store.putNodes(current(), someNodes, signal)
    const { usage, source, nodes } = status(objectName(reference)) as Record<
      string,
      { summary: string }
    >
    assert.equal(usage?.summary, 'shop/web +2')
    assert.equal(source?.summary, '72 MB')
    assert.equal(nodes?.summary, '1/2')
    assert.ok(!JSON.stringify(current()).includes('summary'))
  })

  it('applies each stanza as its own manager, whole and conditional', () => {
    const applies = kube.requests.filter(({ path }) => path.endsWith('/status'))
    assert.deepEqual([...new Set(applies.map(({ query }) => query.fieldManager))].sort(), [
      'kip-discovery',
      'kip-mirror',
      'kip-puller',
      'kip-resolver',
    ])
    for (const { body } of applies) {
      const { metadata } = body as { metadata: { resourceVersion?: string } }
      assert.match(metadata.resourceVersion ?? '', /^\d+$/)
    }
  })

  it('takes an image that a user asks for, under any name, and keeps it', async () => {
    handMade('my-redis', 'redis')
    const reference = 'docker.io/library/redis:latest'
    const image = await waitUntil('the hand-made image', () => store.get(reference))
    assert.equal(image.requested, true)
    assert.equal(image.name, 'my-redis')
    await store.putUsage(reference, { ...someUsage, wanted: ['Requested'] }, signal)
    assert.equal(kube.get(resource, objectName(reference)), undefined)
    await store.remove(store.get(reference) ?? assert.fail(), signal)
    assert.ok(kube.get(resource, 'my-redis'))
  })

  it('marks the second object of a reference and uses the first', async () => {
    handMade('my-second-redis', 'docker.io/redis:latest')
    const reference = 'docker.io/library/redis:latest'
    await waitUntil('the condition', async () => {
      await store.putUsage(reference, { ...someUsage, wanted: ['Requested'] }, signal)
      return status('my-second-redis').conditions
    })
    const [duplicate] = status('my-second-redis').conditions as { type: string; message: string }[]
    assert.equal(duplicate?.type, 'Duplicate')
    assert.equal(duplicate.message, 'my-redis stands for the same reference and is used')
    assert.equal(store.get(reference)?.name, 'my-redis')
    assert.deepEqual(store.get(reference)?.conditions, [])
    const writes = writesOf(kube)
    await store.putUsage(reference, { ...someUsage, wanted: ['Requested'] }, signal)
    assert.equal(writesOf(kube), writes)

    kube.delete(resource, 'my-redis')
    await waitUntil('the second', () => store.get(reference)?.name === 'my-second-redis')
    await store.putUsage(reference, { ...someUsage, wanted: ['Requested'] }, signal)
    assert.deepEqual(status('my-second-redis').conditions ?? [], [])
  })

  it("keeps kip's own object while a user's second one asks for the image", async () => {
    const reference = 'quay.io/app/own:1'
    await store.putUsage(reference, someUsage, signal)
    assert.equal(store.get(reference)?.requested, false)
    handMade('please-keep', reference)
    const image = await waitUntil('the request', () => {
      const found = store.get(reference)
      return found?.requested === true ? found : undefined
    })
    assert.equal(image.name, objectName(reference))
    await store.remove(image, signal)
    assert.ok(kube.get(resource, objectName(reference)))
  })

  it('never uses another reference under an expected name', async () => {
    const wanted = 'quay.io/bank/app:1'
    handMade(objectName(wanted), 'quay.io/evil/app:1')
    await assert.rejects(store.putUsage(wanted, someUsage, signal), (error) => {
      assert.ok(error instanceof NameTakenError)
      assert.equal(error.code, 'KIP_STATE_NAME_TAKEN')
      assert.match(error.message, /holds quay\.io\/evil\/app:1; delete it/)
      return true
    })
    assert.equal(store.get(wanted), undefined)
  })

  it('ignores an object whose reference is none, and says so', async () => {
    handMade('nonsense', 'docker.io/UPPER')
    await waitUntil('the warning', () =>
      running.log.lines.some(({ message }) => message.includes('no valid image reference')),
    )
    assert.ok([...store.list()].every(({ name }) => name !== 'nonsense'))
  })

  it('adopts an object of its own that the watch has not told of yet', async () => {
    const reference = 'quay.io/app/raced:1'
    const other = runStore(kube)
    await other.store.synced
    kube.silent = true
    await other.store.putUsage(reference, someUsage, signal)
    assert.equal(store.get(reference), undefined)
    await store.putUsage(reference, { ...someUsage, pods: 9 }, signal)
    assert.equal(store.get(reference)?.usage?.pods, 9)
    kube.silent = false
    await other.stop()
  })

  it('forgets an object that a write finds gone', async () => {
    const reference = 'quay.io/app/ghost:1'
    await store.putUsage(reference, someUsage, signal)
    kube.silent = true
    kube.delete(resource, objectName(reference))
    const image = store.get(reference) ?? assert.fail()
    await assert.rejects(store.putSource(image, someSource, signal), { code: 'KIP_STATE_CONFLICT' })
    assert.equal(store.get(reference), undefined)
    kube.silent = false
  })

  it('gives back what somebody edited by hand in its stanza', async () => {
    const reference = 'quay.io/app/edited:1'
    await store.putUsage(reference, someUsage, signal)
    const object = kube.get(resource, objectName(reference)) ?? assert.fail()
    kube.put(resource, { ...object, status: { usage: { ...someUsage, pods: 99 } } })
    await waitUntil('the edit', () => store.get(reference)?.usage?.pods === 99)
    await store.putUsage(reference, someUsage, signal)
    const { usage } = status(objectName(reference)) as { usage: { pods: number } }
    assert.equal(usage.pods, 2)
  })
})

describe('cluster store of a cluster that is restored from a backup', () => {
  const { signal } = new AbortController()
  const reference = 'quay.io/app/restored:1'
  const restores = [
    { how: 'to earlier versions', bumpTo: undefined },
    { how: 'with its revision bumped', bumpTo: 1_000_000 },
  ]
  for (const { how, bumpTo } of restores) {
    it(`goes on from what was restored, ${how}, and writes it`, async () => {
      const kube = await startFakeKube()
      const { store, stop } = runStore(kube, fastClock(1000))
      try {
        await store.synced
        await store.putUsage(reference, { ...someUsage, pods: 7 }, signal)
        const backup = kube.get(resource, objectName(reference)) ?? assert.fail()
        await store.putUsage(reference, someUsage, signal)
        await store.putUsage('quay.io/app/lost:1', someUsage, signal)
        await kube.stop()
        kube.delete(resource, objectName('quay.io/app/lost:1'))
        kube.store.restoreAt(500)
        const { resourceVersion: _, ...metadata } = backup.metadata ?? {}
        kube.put(resource, { ...backup, metadata })
        if (bumpTo !== undefined) kube.store.restoreAt(bumpTo)
        await kube.start()
        const image = await waitUntil('what was restored', () => {
          const found = store.get(reference)
          return found?.usage?.pods === 7 ? found : undefined
        })
        await waitUntil('the end of what was lost', () => !store.get('quay.io/app/lost:1'))
        await store.putSource(image, someSource, signal)
        assert.equal(store.get(reference)?.source?.digest, someSource.digest)
      } finally {
        await stop()
        await kube.stop()
      }
    })
  }
})
