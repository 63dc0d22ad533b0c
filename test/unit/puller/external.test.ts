import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import { putStaticImages } from '../../../src/discovery/static-images.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createExternalPuller } from '../../../src/puller/external.ts'
import { externalImages } from '../../../src/puller/external-images.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { fastClock } from './cluster-bridge.ts'

const namespace = 'kips-own'
const maps = { group: '', version: 'v1', plural: 'configmaps', namespace }
const deployments = { group: 'apps', version: 'v1', plural: 'deployments', namespace }
const { signal } = new AbortController()

describe('externalImages', () => {
  it("writes KIP's list, the same set as the same text, without best-effort names", () => {
    const item = (reference: string, more: object = {}) => ({
      reference,
      bestEffort: false,
      ...more,
    })
    const { text } = externalImages([
      item('r.test/b:2'),
      item('r.test/a:1', { name: 'First' }),
      item('r.test/c:3', { bestEffort: true }),
    ])
    assert.match(text, /^first-[0-9a-f]{8}=r\.test\/a:1;b-2-[0-9a-f]{8}=r\.test\/b:2$/)
  })

  it('names what a variable has no room for', () => {
    const many = Array.from({ length: 3000 }, (_, index) => ({
      reference: `registry.test/some/path/image-${index}:1`,
      bestEffort: false,
    }))
    const { text, leftOut, references } = externalImages(many)
    assert.ok(text.length <= 130_000)
    assert.equal(leftOut.length + references.size, 3000)
  })
})

describe('createExternalPuller', () => {
  let kube: FakeKube
  let store: ImageStore
  let stops: (() => Promise<void>)[]

  beforeEach(async () => {
    kube = await startFakeKube()
    store = createMemoryStore()
    stops = []
    kube.put(maps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'k8s-image-puller', namespace },
      data: { IMAGES: 'theirs=r.test/theirs:1', CACHING_INTERVAL_HOURS: '1' },
    })
    kube.put(deployments, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'kubernetes-image-puller', namespace },
      spec: { template: { spec: { containers: [{ name: 'kip' }] } } },
    })
  })
  afterEach(async () => {
    for (const stop of stops) await stop()
    await kube.stop()
  })

  function start(images: string) {
    const client = kube.client()
    const log = silentLog()
    const controller = new AbortController()
    const { settings } = loadSettings({
      argv: [],
      env: { PULLER: 'external', KIP_PULLER_EXTERNAL_NAMESPACE: namespace, IMAGES: images },
      readFile: () => '',
    })
    const ended = createExternalPuller({
      ...{ client, store, settings, log, clock: fastClock },
      now: () => fastClock.now(),
      mapping: createMapping({ registry: '', mapping: 'path' }),
      metrics: createMetrics({ processMetrics: false }),
    }).run(controller.signal)
    const stop = async (): Promise<void> => {
      controller.abort()
      await ended
      await client.close()
    }
    stops.push(stop)
    return { stop, log }
  }

  const data = () => kube.get(maps, 'k8s-image-puller')?.data as Record<string, string>
  const rolls = (): number =>
    kube.requests.filter(({ method, path }) => method === 'PATCH' && path.includes('deployments'))
      .length
  const template = () =>
    JSON.stringify(kube.get(deployments, 'kubernetes-image-puller')?.spec ?? {})

  it('keeps IMAGES alone, remembers what stood there, and starts KIP anew once', async () => {
    start('a=r.test/a:1')
    await waitUntil('the list', () => data().IMAGES === 'a=r.test/a:1', 5000)
    await waitUntil('the start', () => rolls() === 1, 5000)
    assert.equal(data().CACHING_INTERVAL_HOURS, '1')
    assert.match(template(), /"containers":\[\{"name":"kip"\}\]/)
    const annotations = kube.get(maps, 'k8s-image-puller')?.metadata?.annotations
    assert.equal(annotations?.['images.kip/images-before'], 'theirs=r.test/theirs:1')
  })

  it('gives KIP nothing that its pull secrets alone may get for who merely names it', async () => {
    kube.put(maps, {
      ...{ apiVersion: 'v1', kind: 'ConfigMap' },
      metadata: { name: 'k8s-image-puller', namespace },
      data: { IMAGES: '', IMAGE_PULL_SECRETS: 'corp' },
    })
    const counts = { pods: 1, workloads: 1, namespaces: 1, owners: [] }
    const usage = { wanted: ['InUse'] as const, ...counts, firstSeen: new Date(0).toISOString() }
    await store.putUsage('corp.test/secret:1', usage, signal)
    start('a=r.test/a:1')
    await waitUntil('the list', () => data().IMAGES === 'a=r.test/a:1', 5000)
  })

  it('starts KIP anew at most every ten minutes, however much comes, and not for what goes', async () => {
    const begun = fastClock.now()
    start('a=r.test/a:1')
    await waitUntil('the start', () => rolls() === 1, 5000)
    for (const name of ['b', 'c', 'd']) {
      await putStaticImages(store, [{ image: `r.test/${name}:1` }], { signal })
      await waitUntil('the list', () => data().IMAGES?.includes(`r.test/${name}:1`), 5000)
    }
    assert.equal(rolls(), 1)
    await waitUntil('the second start', () => rolls() === 2, 20_000)
    assert.ok(fastClock.now() - begun >= 600_000)
    const [gone] = [...store.list()]
    if (gone !== undefined) await store.remove(gone, signal)
    await waitUntil('it to leave', () => !data().IMAGES?.includes(gone?.reference ?? ''), 5000)
    await stops.pop()?.()
    start('a=r.test/a:1')
    await waitUntil('a restart to look', elapsed(120), 5000)
    assert.equal(rolls(), 2)
  })

  it('puts the list right when somebody edits it', async () => {
    start('a=r.test/a:1')
    await waitUntil('the list', () => data().IMAGES === 'a=r.test/a:1', 5000)
    const live = kube.get(maps, 'k8s-image-puller')
    assert.ok(live)
    kube.put(maps, { ...live, data: { ...data(), IMAGES: 'x=r.test/x:1' } })
    await waitUntil('it to be put right', () => data().IMAGES === 'a=r.test/a:1', 5000)
  })

  it('is refused to be told of itself', () => {
    const env = { PULLER: 'external', DEPLOYMENT_NAME: 'kubernetes-image-puller' }
    assert.throws(() => loadSettings({ argv: [], env, readFile: () => '' }), /name kip itself/)
  })
})

function elapsed(seconds: number): () => boolean {
  const end = fastClock.now() + seconds * 1000
  return () => fastClock.now() >= end
}
