import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { defaultSettings } from '../../../src/config/leaves.ts'
import { createDiscovery } from '../../../src/discovery/discovery.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { applyObject, createObject, deleteObject } from '../../../src/kube/apply.ts'
import { createEventRecorder } from '../../../src/kube/events.ts'
import type { KubeObject } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { type ClusterStore, createClusterStore } from '../../../src/state/cluster-store.ts'
import { createExclusions } from '../../../src/state/exclusions.ts'
import { clusterBed } from '../../support/cluster-bed.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const fieldManager = 'kip-test'
const { signal } = new AbortController()
/** Of this run alone: a deleted namespace is long in going. */
const run = `kip-discovery-${Date.now().toString(36)}`
const [shop, flagged] = [`${run}-shop`, `${run}-flagged`]
const registry = 'backup.test:5001/mirror'
const bed = await clusterBed()
after(() => bed.close())

describe('discovery at a real API server', () => {
  let store: ClusterStore
  let stop: () => Promise<void>

  const image = (name: string): string => `quay.io/${run}/${name}:1`
  const usageOf = (name: string) => store.get(image(name))?.usage
  const found = (name: string): Promise<unknown> =>
    waitUntil(`${name} is found`, () => usageOf(name)?.owners.length, 20_000)

  const namespace = (name: string, metadata: object = {}): Promise<KubeObject> =>
    applyObject(
      bed.client,
      { group: '', version: 'v1', plural: 'namespaces' },
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name, ...metadata } },
      { fieldManager, signal },
    )
  const apply = (
    group: string,
    kind: string,
    namespace: string,
    name: string,
    spec: object,
    metadata: object = {},
  ): Promise<KubeObject> =>
    applyObject(
      bed.client,
      { group, version: 'v1', plural: `${kind.toLowerCase()}s`, namespace },
      {
        apiVersion: group === '' ? 'v1' : `${group}/v1`,
        kind,
        metadata: { name, ...metadata },
        spec,
      } as KubeObject,
      { fieldManager, force: true, signal },
    )
  const template = (name: string, ...images: string[]): object => ({
    metadata: { labels: { app: name } },
    spec: {
      restartPolicy: 'Always',
      containers: images.map((each, i) => ({ name: `c${i}`, image: each })),
    },
  })
  const workload = (name: string, ...images: string[]): object => ({
    replicas: 0,
    selector: { matchLabels: { app: name } },
    template: template(name, ...images),
  })
  const jobTemplate = (name: string): object => {
    const { metadata, spec } = template(name, image(name)) as { metadata: object; spec: object }
    return { template: { metadata, spec: { ...spec, restartPolicy: 'Never' } } }
  }

  before(async () => {
    const { client } = bed
    await namespace(shop)
    await namespace(flagged, { annotations: { 'images.kip/ignore': 'true' } })
    await waitUntil(
      'service accounts are made',
      async () => {
        const lists = [shop, flagged, 'kube-system'].map((name) =>
          bed.kubectl('-n', name, 'get', 'serviceaccount', 'default', '--ignore-not-found'),
        )
        return (await Promise.all(lists)).every((text) => text !== '')
      },
      20_000,
    )
    const log = silentLog()
    const metrics = createMetrics({ processMetrics: false })
    const settings = {
      namespace: 'k8s-image-puller',
      discovery: {
        ...defaultSettings.discovery,
        keepSeconds: 3600,
        exclude: [`quay.io/${run}/left-out-*`],
      },
      puller: { images: [] },
    }
    store = createClusterStore({ client, log, metrics })
    const exclusions = createExclusions({ client, settings, log })
    const events = createEventRecorder({
      client,
      controller: 'images.kip/kip',
      instance: 'test',
      log,
    })
    const discovery = createDiscovery({
      client,
      store,
      exclusions,
      mapping: createMapping({ registry, mapping: 'path' }),
      settings,
      log,
      metrics,
      events,
    })
    const controller = new AbortController()
    const running = [store, exclusions, discovery].map((part) => part.run(controller.signal))
    stop = async () => {
      controller.abort()
      await Promise.all(running)
      await events.close()
    }
  })
  after(async () => {
    await stop?.()
    const mine = [...(store?.list() ?? [])].filter(({ reference }) => reference.includes(run))
    const resource = { group: 'images.kip', version: 'v1alpha1', plural: 'cachedimages' }
    for (const { name } of mine) await deleteObject(bed.client, resource, name, { signal })
    for (const [group, kind, name] of [
      ['apps', 'deployments', `${run}-hidden`],
      ['', 'pods', `${run}-hidden`],
    ] as const) {
      const resource = { group, version: 'v1', plural: kind, namespace: 'kube-system' }
      await deleteObject(bed.client, resource, name, { signal })
    }
    for (const name of [shop, flagged]) {
      const resource = { group: '', version: 'v1', plural: 'namespaces' }
      await deleteObject(bed.client, resource, name, { signal })
    }
  })

  it('finds workloads of all kinds that never ran a pod', async () => {
    const suspended = { suspend: true, ...jobTemplate('job') }
    await Promise.all([
      apply('apps', 'Deployment', shop, 'zero', workload('zero', image('zero'))),
      apply('apps', 'StatefulSet', shop, 'stateful', {
        serviceName: 'x',
        ...workload('stateful', image('stateful')),
      }),
      apply('apps', 'DaemonSet', shop, 'daemon', {
        selector: { matchLabels: { app: 'daemon' } },
        template: template('daemon', image('daemon')),
      }),
      apply('apps', 'ReplicaSet', shop, 'bare', workload('bare', image('bare'))),
      apply('', 'ReplicationController', shop, 'old', {
        replicas: 0,
        selector: { app: 'old' },
        template: template('old', image('old')),
      }),
      apply('batch', 'Job', shop, 'job', suspended),
      apply('batch', 'CronJob', shop, 'nightly', {
        schedule: '0 0 31 2 *',
        jobTemplate: { spec: jobTemplate('nightly') },
      }),
    ])
    const kinds: Record<string, string> = {
      zero: 'Deployment',
      stateful: 'StatefulSet',
      daemon: 'DaemonSet',
      bare: 'ReplicaSet',
      old: 'ReplicationController',
      job: 'Job',
      nightly: 'CronJob',
    }
    for (const [name, kind] of Object.entries(kinds)) {
      await found(name)
      assert.deepEqual(usageOf(name)?.owners, [{ kind, namespace: shop, name }])
      assert.equal(usageOf(name)?.pods, 0)
    }
  })

  it('finds images in all four places of a pod', async () => {
    await createObject(
      bed.client,
      { group: '', version: 'v1', plural: 'pods', namespace: shop },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'places' },
        spec: {
          containers: [{ name: 'c', image: image('container') }],
          initContainers: [{ name: 'i', image: image('init') }],
          volumes: [{ name: 'v', image: { reference: image('volume') } }],
        },
      } as KubeObject,
      { signal },
    )
    await bed.client.request({
      method: 'PATCH',
      path: `/api/v1/namespaces/${shop}/pods/places/ephemeralcontainers`,
      contentType: 'application/strategic-merge-patch+json',
      body: { spec: { ephemeralContainers: [{ name: 'e', image: image('ephemeral') }] } },
      signal,
    })
    for (const name of ['container', 'init', 'volume', 'ephemeral']) {
      await found(name)
      assert.deepEqual(usageOf(name)?.owners, [{ kind: 'Pod', namespace: shop, name: 'places' }])
    }
  })

  it('counts the pods of a Deployment as its own', async () => {
    await apply('apps', 'Deployment', shop, 'three', {
      ...workload('three', image('three')),
      replicas: 3,
    })
    await waitUntil('three pods', () => usageOf('three')?.pods === 3, 30_000)
    const { owners, workloads, namespaces } = usageOf('three') ?? assert.fail()
    assert.deepEqual(owners, [{ kind: 'Deployment', namespace: shop, name: 'three' }])
    assert.deepEqual([workloads, namespaces], [1, 1])
  })

  it('leaves out kube-system and flagged namespaces, and follows the flag', async () => {
    const spec = workload('hidden', image('system'))
    await apply('apps', 'Deployment', 'kube-system', `${run}-hidden`, spec)
    await apply('', 'Pod', 'kube-system', `${run}-hidden`, {
      containers: [{ name: 'c', image: image('system') }],
    })
    await apply('apps', 'Deployment', flagged, 'web', workload('web', image('flagged')))
    await apply('apps', 'Deployment', shop, 'later', workload('later', image('later')))
    await found('later')
    assert.equal(store.get(image('system')), undefined)
    assert.equal(store.get(image('flagged')), undefined)
    await namespace(flagged)
    await found('flagged')
    await namespace(flagged, { labels: { 'images.kip/ignore': 'true' } })
    await waitUntil('it is gone again', () => store.get(image('flagged')) === undefined, 20_000)
  })

  it('follows the flag of a workload together with its pods', async () => {
    const spec = { ...workload('opt', image('opt')), replicas: 1 }
    await apply('apps', 'Deployment', shop, 'opt', spec)
    await waitUntil('its pod', () => usageOf('opt')?.pods === 1, 30_000)
    const labels = { 'images.kip/ignore': 'true' }
    await apply('apps', 'Deployment', shop, 'opt', spec, { labels })
    await waitUntil('it is left out', () => store.get(image('opt')) === undefined, 20_000)
    await apply('apps', 'Deployment', shop, 'opt', spec)
    await found('opt')
  })

  it('leaves out images that are excluded by pattern', async () => {
    const images = [image('left-out-one'), image('let-in')]
    await apply('apps', 'Deployment', shop, 'both', workload('both', ...images))
    await found('let-in')
    assert.equal(store.get(image('left-out-one')), undefined)
  })

  it('keeps an image for a while after its last user went', async () => {
    await apply('apps', 'Deployment', shop, 'short', workload('short', image('short')))
    await found('short')
    const deployments = { group: 'apps', version: 'v1', plural: 'deployments', namespace: shop }
    await deleteObject(bed.client, deployments, 'short', { signal })
    await waitUntil('its last use', () => usageOf('short')?.lastSeen, 20_000)
    assert.deepEqual(usageOf('short')?.wanted, ['InUse'])
    const line = await bed.kubectl('get', 'cachedimages', store.get(image('short'))?.name ?? '')
    assert.match(line, / unused /)
  })

  it('wants an image that somebody made an object for, until it is deleted', async () => {
    const resource = { group: 'images.kip', version: 'v1alpha1', plural: 'cachedimages' }
    const object = {
      apiVersion: 'images.kip/v1alpha1',
      kind: 'CachedImage',
      metadata: { name: `${run}-by-hand` },
      spec: { reference: `quay.io/${run}/requested:1` },
    } as KubeObject
    await createObject(bed.client, resource, object, { signal })
    await waitUntil('it is wanted', () => usageOf('requested')?.wanted.includes('Requested'))
    const line = await bed.kubectl('get', 'cachedimages', `${run}-by-hand`)
    assert.match(line, / request /)
    await deleteObject(bed.client, resource, `${run}-by-hand`, { signal })
    await waitUntil('it is gone', () => store.get(image('requested')) === undefined)
  })

  it('makes an object again that somebody deleted while its image is in use', async () => {
    await apply('apps', 'Deployment', shop, 'again', workload('again', image('again')))
    await found('again')
    const before = store.get(image('again')) ?? assert.fail()
    await bed.kubectl('delete', 'cachedimage', before.name)
    await waitUntil('another object', () => {
      const now = store.get(image('again'))
      return (
        now?.usage !== undefined &&
        now.createdAt !== undefined &&
        now.resourceVersion !== before.resourceVersion
      )
    })
    assert.deepEqual(usageOf('again')?.wanted, ['InUse'])
  })

  it('knows a copy as its source', async () => {
    const copy = `${registry}/quay.io/${run}/copied:1@sha256:${'a'.repeat(64)}`
    await apply('apps', 'Deployment', shop, 'copied', workload('copied', copy))
    await found('copied')
    assert.ok([...store.list()].every(({ reference }) => !reference.startsWith(registry)))
  })

  it('tells of what is no reference by an Event on its owner', async () => {
    await apply('apps', 'Deployment', shop, 'typo', workload('typo', 'Not an image'))
    const [note] = await waitUntil(
      'the Event',
      async () => {
        const text = await bed.kubectl('-n', shop, 'get', 'events.events.k8s.io', '-o', 'json')
        const { items } = JSON.parse(text) as {
          items: { reason: string; note: string; regarding: { kind: string; name: string } }[]
        }
        const own = items.filter(({ reason }) => reason === 'InvalidImageReference')
        return own.length > 0 ? own : undefined
      },
      20_000,
    )
    assert.deepEqual([note?.regarding.kind, note?.regarding.name], ['Deployment', 'typo'])
    assert.match(note?.note ?? '', /^"Not an image" is no image reference/)
  })
})
