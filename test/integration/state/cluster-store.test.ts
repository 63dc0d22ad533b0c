import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createObject, deleteObject, getObject, updateObject } from '../../../src/kube/apply.ts'
import type { KubeObject } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { type ClusterStore, createClusterStore } from '../../../src/state/cluster-store.ts'
import { objectName } from '../../../src/state/naming.ts'
import { resource } from '../../../src/state/object.ts'
import { type ClusterBed, clusterBed } from '../../support/cluster-bed.ts'
import {
  digestOf,
  imageStoreSuite,
  someMirror,
  someNodes,
  someSource,
  someUsage,
} from '../../support/image-store-suite.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const { signal } = new AbortController()

function runStore(bed: ClusterBed): {
  store: ClusterStore
  writes: () => Promise<number>
  stop: () => Promise<void>
} {
  const metrics = createMetrics({ processMetrics: false })
  const store = createClusterStore({ client: bed.client, log: silentLog(), metrics })
  const controller = new AbortController()
  const running = store.run(controller.signal)
  return {
    store,
    writes: async () =>
      [...(await metrics.render()).matchAll(/^kip_state_writes_total\{.*\} (\d+)$/gm)].reduce(
        (sum, [, count]) => sum + Number(count),
        0,
      ),
    stop: async () => {
      controller.abort()
      await running
    },
  }
}

async function removeAll(bed: ClusterBed, part: string): Promise<void> {
  const list = await bed.kubectl('get', 'cachedimages', '-o', 'name')
  const names = list.split('\n').filter((name) => name.includes(part))
  if (names.length > 0) await bed.kubectl('delete', ...names)
}

const bed = await clusterBed()
after(() => bed.close())

imageStoreSuite('real API server', async () => {
  await removeAll(bed, '/suite-')
  const [one, two] = [runStore(bed), runStore(bed)]
  await two.store.synced
  let sent = 0
  const { request } = bed.client
  bed.client.request = (options) => {
    if (options.method !== 'GET') sent++
    return request.call(bed.client, options) as never
  }
  return {
    store: one.store,
    other: two.store,
    writes: () => sent,
    close: async () => {
      await Promise.all([one.stop(), two.stop()])
      await removeAll(bed, '/suite-')
    },
  }
})

describe('CachedImage at a real API server', () => {
  let running: ReturnType<typeof runStore>
  let store: ClusterStore
  const reference = 'quay.io/kip-state-test/web:1.27'
  const object = (name: string, reference: string): KubeObject =>
    ({
      apiVersion: 'images.kip/v1alpha1',
      kind: 'CachedImage',
      metadata: { name },
      spec: { reference },
    }) as KubeObject
  const current = () => store.get(reference) ?? assert.fail('not in the store')
  const handMade = ['kip-state-test-a', 'kip-state-test-b']
  const clean = async (): Promise<void> => {
    for (const name of [...handMade, objectName(reference)]) {
      await deleteObject(bed.client, resource, name, { signal })
    }
  }

  before(async () => {
    await clean()
    running = runStore(bed)
    store = running.store
    await store.synced
  })
  after(async () => {
    await running?.stop()
    await clean()
  })

  it('gives each stanza to its manager alone', async () => {
    await store.putUsage(reference, { ...someUsage, workloads: 3 }, signal)
    await store.putSource(current(), someSource, signal)
    await store.putMirror(
      current(),
      { ...someMirror, state: 'Verified', digest: digestOf('a') },
      signal,
    )
    await store.putNodes(current(), { ...someNodes, cached: 2, pulling: 0 }, signal)
    const raw = await getObject<KubeObject>(bed.client, resource, objectName(reference), { signal })
    const fields = (raw as { metadata: { managedFields: Managed[] } }).metadata.managedFields
    const owned = Object.fromEntries(
      fields
        .filter(({ subresource }) => subresource === 'status')
        .map(({ manager, operation, fieldsV1 }) => [
          `${manager} ${operation}`,
          Object.keys(fieldsV1['f:status'] ?? {}).sort(),
        ]),
    )
    assert.deepEqual(owned, {
      'kip-discovery Apply': ['f:usage'],
      'kip-resolver Apply': ['f:conditions', 'f:source'],
      'kip-mirror Apply': ['f:conditions', 'f:mirrors'],
      'kip-puller Apply': ['f:conditions', 'f:nodes'],
    })
  })

  it('is pleasant to read', async () => {
    const [head = '', line = ''] = (
      await bed.kubectl('get', 'cachedimages', objectName(reference))
    ).split('\n')
    assert.match(head, /^NAME +REFERENCE +USED-BY +SIZE +MIRROR +CACHED +AGE *$/)
    assert.match(
      line,
      /^web-1\.27-\w{32} +quay\.io\/kip-state-test\/web:1\.27 +shop\/web \+2 +72 MB +Verified +2\/2 +\d+s *$/,
    )
  })

  it('is not written when nothing changed', async () => {
    const { resourceVersion } = current()
    const before = await running.writes()
    await store.putUsage(reference, { ...someUsage, workloads: 3 }, signal)
    await store.putSource(current(), { ...someSource, checkedAt: '2026-09-09T00:00:00Z' }, signal)
    assert.equal(await running.writes(), before)
    const raw = await getObject<KubeObject>(bed.client, resource, objectName(reference), { signal })
    assert.equal(raw?.metadata?.resourceVersion, resourceVersion)
  })

  it('holds a reference that cannot be changed', async () => {
    const raw = await getObject<KubeObject>(bed.client, resource, objectName(reference), { signal })
    const changed = { ...raw, spec: { reference: 'quay.io/evil:1' } } as KubeObject
    await assert.rejects(updateObject(bed.client, resource, changed, { signal }), {
      status: 422,
      message: /the reference of a CachedImage cannot be changed/,
    })
  })

  for (const wrong of [
    '',
    'UPPER',
    'a b',
    'a:b:c',
    'nginx@sha256:123',
    '-x',
    `a/${'b'.repeat(779)}`,
  ]) {
    it(`takes no ${JSON.stringify(wrong.slice(0, 20))}`, async () => {
      const made = createObject(bed.client, resource, object('kip-state-test-a', wrong), { signal })
      await assert.rejects(made, { status: 422, message: /spec\.reference/ })
    })
  }

  const written = [
    'nginx',
    'localhost/a',
    'origin.test:5000/a/b_c/d--e:V1_x.y',
    '[fd00::1]:5000/a@sha256:'.concat('0'.repeat(64)),
    `quay.io/a:1@sha512:${'f'.repeat(128)}`,
    // The longest that is read.
    `${'h'.repeat(253)}:65535/${'p'.repeat(255)}:${'t'.repeat(128)}@sha512:${'f'.repeat(128)}`,
  ]
  for (const right of written) {
    it(`takes ${right.slice(0, 40)}`, async () => {
      const options = { signal, dryRun: true }
      await createObject(bed.client, resource, object('kip-state-test-a', right), options)
    })
  }

  it('marks the second object of one reference', async () => {
    await createObject(bed.client, resource, object('kip-state-test-a', 'kip-state-test'), {
      signal,
    })
    const twice = 'docker.io/library/kip-state-test:latest'
    const first = await waitUntil('the first', () => store.get(twice))
    assert.equal(first.requested, true)
    // Creation times tell seconds apart.
    await waitUntil('the next second', () => Date.now() > Date.parse(first.createdAt ?? '') + 1000)
    await createObject(bed.client, resource, object('kip-state-test-b', twice), { signal })
    const condition = await waitUntil('the condition', async () => {
      await store.putUsage(twice, { ...someUsage, wanted: ['Requested'] }, signal)
      const raw = await getObject<KubeObject>(bed.client, resource, 'kip-state-test-b', { signal })
      return (raw as { status?: { conditions?: { type: string; reason: string }[] } }).status
        ?.conditions?.[0]
    })
    assert.equal(condition.type, 'Duplicate')
    assert.equal(store.get(twice)?.name, 'kip-state-test-a')
    await store.remove(store.get(twice) ?? assert.fail(), signal)
    assert.ok(await getObject(bed.client, resource, 'kip-state-test-a', { signal }))
  })

  it('stays below 16 KiB when everything is at its longest', async () => {
    const long = 'é'.repeat(3000)
    const owners = Array.from({ length: 12 }, (_, i) => ({
      kind: 'StatefulSet',
      namespace: 'n'.repeat(63),
      name: `${'w'.repeat(250)}-${i}`,
    }))
    await store.putUsage(reference, { ...someUsage, owners }, signal)
    const platforms = Array.from({ length: 60 }, (_, i) => `linux/${'a'.repeat(60)}${i}`)
    const history = Array.from({ length: 20 }, () => ({
      digest: digestOf('c'),
      seenAt: '2026-01-02T03:04:05.678Z',
    }))
    await store.putSource(
      current(),
      { ...someSource, state: 'Unreachable', platforms, history, message: long },
      signal,
    )
    for (const registry of ['a', 'b', 'c', 'd'].map((name) => `${name}.test/${'p'.repeat(300)}`)) {
      const failed = { ...someMirror, registry, state: 'Failed' as const, message: long }
      await store.putMirror(
        current(),
        { ...failed, reference: `${registry}/${'i'.repeat(250)}:1`, worker: 'w'.repeat(200) },
        signal,
      )
    }
    const failures = Array.from({ length: 12 }, (_, i) => ({
      node: `${'n'.repeat(200)}-${i}`,
      reason: 'CreateContainerConfigError',
      message: long,
    }))
    await store.putNodes(current(), { ...someNodes, failed: 12, failures }, signal)
    const raw = await getObject<KubeObject>(bed.client, resource, objectName(reference), { signal })
    const bytes = Buffer.byteLength(JSON.stringify(raw))
    assert.ok(bytes > 8_000 && bytes <= 16_384, `${bytes} bytes`)
  })
})

interface Managed {
  readonly manager: string
  readonly operation: string
  readonly subresource?: string
  readonly fieldsV1: Readonly<Record<string, object>>
}
