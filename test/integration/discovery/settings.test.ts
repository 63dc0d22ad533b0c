import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { defaultSettings } from '../../../src/config/leaves.ts'
import type { DiscoverySettings } from '../../../src/config/settings.ts'
import { createDiscovery } from '../../../src/discovery/discovery.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { applyObject, deleteObject } from '../../../src/kube/apply.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import type { KubeObject } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createExclusions } from '../../../src/state/exclusions.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { clusterBed } from '../../support/cluster-bed.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const { signal } = new AbortController()
const bed = await clusterBed()
after(() => bed.close())

/** Of this run alone: others use the cluster too. */
const run = `kip-settings-${Date.now().toString(36)}`
const [shop, other] = [`${run}-shop`, `${run}-other`]
const care = { [`test.kip/${run}`]: 'true' }
const namespaces: ResourcePath = { group: '', version: 'v1', plural: 'namespaces' }
const definitions: ResourcePath = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
}
const image = (name: string): string => `quay.io/${run}/${name}:1`

const apply = (
  resource: ResourcePath,
  kind: string,
  object: KubeObject & object,
): Promise<unknown> =>
  applyObject(
    bed.client,
    resource,
    {
      apiVersion: `${resource.group}/${resource.version}`.replace(/^\//, ''),
      kind,
      ...object,
    },
    { fieldManager: 'kip-test', force: true, signal },
  )
const namespace = (name: string, labels: Record<string, string>): Promise<unknown> =>
  apply(namespaces, 'Namespace', { metadata: { name, labels } })
const template = (name: string): object => ({
  metadata: { labels: { app: 'x' } },
  spec: { containers: [{ name: 'c', image: image(name) }] },
})
const deployment = (
  namespace: string,
  name: string,
  imageName = name,
  spec: object = {},
): Promise<unknown> =>
  apply({ group: 'apps', version: 'v1', plural: 'deployments', namespace }, 'Deployment', {
    metadata: { name },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: 'x' } },
      template: template(imageName),
      ...spec,
    },
  } as KubeObject)

describe('settings of discovery at a real API server', () => {
  const stops: (() => Promise<void>)[] = []

  /** Runs discovery on the namespaces of this run alone; gives what it finds, by name. */
  async function start(change: Partial<DiscoverySettings> = {}) {
    const { client } = bed
    const log = silentLog()
    const settings = {
      ...defaultSettings,
      discovery: {
        ...defaultSettings.discovery,
        namespaceSelector: { matchLabels: care },
        keepSeconds: 0,
        ...change,
      },
    }
    const store = createMemoryStore()
    const exclusions = createExclusions({ client, settings, log })
    const discovery = createDiscovery({
      client,
      store,
      exclusions,
      mapping: createMapping({ registry: '', mapping: 'path' }),
      settings,
      log,
      metrics: createMetrics({ processMetrics: false }),
    })
    const controller = new AbortController()
    const running = [exclusions, discovery].map((part) => part.run(controller.signal))
    stops.push(async () => {
      controller.abort()
      await Promise.all(running)
    })
    const found = (): string =>
      [...store.list()]
        .map(({ reference }) => reference.replace(`quay.io/${run}/`, '').replace(/:1$/, ''))
        .sort()
        .join()
    const become = (names: string): Promise<unknown> =>
      waitUntil(names, () => found() === names, 30_000).catch(() => assert.equal(found(), names))
    return { become, log, store, discovery }
  }

  before(async () => {
    await namespace(shop, care)
    await namespace(other, {})
  })
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
    await bed.kubectl('-n', shop, 'delete', 'deployments', '--all')
  })
  after(async () => {
    for (const name of [shop, other]) await deleteObject(bed.client, namespaces, name, { signal })
  })

  it('finds images of selected namespaces alone, and follows their labels', async () => {
    await deployment(shop, 'in')
    await deployment(other, 'out')
    const { become } = await start()
    await become('in')
    await namespace(other, care)
    await become('in,out')
    await namespace(other, {})
    await become('in')
  })

  it('keeps what a rollback may go to', async () => {
    for (const name of ['v1', 'v2', 'v3']) {
      await deployment(shop, 'web', name)
      await waitUntil('its ReplicaSet', async () => {
        const path = 'jsonpath={.items[*].spec.template.spec.containers[*].image}'
        const images = await bed.kubectl('-n', shop, 'get', 'replicasets', '-o', path)
        return images.includes(image(name))
      })
    }
    const { become } = await start({ rollbackRevisions: 1 })
    await become('v2,v3')
    await bed.kubectl('-n', shop, 'rollout', 'undo', 'deployment/web', '--to-revision=1')
    await become('v1,v3')
    await bed.kubectl('-n', shop, 'delete', 'deployment', 'web')
    await become('')
  })

  it('keeps what a rollback of a StatefulSet or DaemonSet may go to', async () => {
    const sets = { group: 'apps', version: 'v1', namespace: shop }
    const revised = async (kind: 'StatefulSet' | 'DaemonSet', name: string): Promise<void> => {
      const spec = { selector: { matchLabels: { app: 'x' } }, template: template(name) }
      const extra = kind === 'StatefulSet' ? { replicas: 0, serviceName: 'x' } : {}
      const resource = { ...sets, plural: `${kind.toLowerCase()}s` }
      await apply(resource, kind, {
        metadata: { name: 'web' },
        spec: { ...spec, ...extra },
      } as KubeObject)
      await waitUntil(`revision ${name}`, async () => {
        const path = 'jsonpath={.items[*].data.spec.template.spec.containers[*].image}'
        const images = await bed.kubectl('-n', shop, 'get', 'controllerrevisions', '-o', path)
        return images.includes(image(name))
      })
    }
    for (const at of [1, 2, 3]) {
      await revised('StatefulSet', `s${at}`)
      await revised('DaemonSet', `d${at}`)
    }
    const { become } = await start({ rollbackRevisions: 1 })
    await become('d2,d3,s2,s3')
    await bed.kubectl('-n', shop, 'rollout', 'undo', 'statefulset/web', '--to-revision=1')
    await become('d2,d3,s1,s3')
    await bed.kubectl('-n', shop, 'delete', 'statefulset,daemonset', 'web')
    await become('')
  })

  it('reads a custom resource once its definition is there, and does not wait for it', async () => {
    const group = `${run}.example.com`
    const rollout = { group, version: 'v1alpha1', kind: 'Rollout', plural: 'rollouts' }
    await deployment(shop, 'web')
    const { become, log, discovery } = await start({
      templates: [{ ...rollout, path: 'spec.tasks.template' }],
    })
    await become('web')
    assert.deepEqual(discovery.waiting(), [])
    const loud = (): string[] =>
      log.lines.flatMap(({ level, message }) => (level === 'warn' ? [message] : []))
    assert.deepEqual(loud(), [])
    const definition = `rollouts.${group}`
    await apply(definitions, 'CustomResourceDefinition', {
      metadata: { name: definition },
      spec: {
        group,
        scope: 'Namespaced',
        names: { kind: 'Rollout', plural: 'rollouts' },
        versions: [
          {
            name: 'v1alpha1',
            served: true,
            storage: true,
            schema: {
              openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
            },
          },
        ],
      },
    } as KubeObject)
    try {
      await bed.kubectl('wait', '--for=condition=Established', `crd/${definition}`)
      const make = (): Promise<unknown> =>
        apply({ ...rollout, namespace: shop }, 'Rollout', {
          metadata: { name: 'blue' },
          spec: { tasks: { template: template('blue') } },
        } as KubeObject)
      await waitUntil('it is served', () => make().catch(() => false), 20_000)
      await become('blue,web')
    } finally {
      await bed.kubectl('delete', 'crd', definition)
    }
    await become('web')
    assert.deepEqual(loud(), [])
  })

  it('holds a namespace to its limit, and names it', async () => {
    for (const name of ['a', 'b', 'c']) await deployment(shop, name)
    const { become, log, store } = await start({ imagesPerNamespace: 2 })
    await waitUntil('it is named', () =>
      log.lines.some(({ message }) => message === 'namespace uses more images than its limit'),
    )
    assert.equal([...store.list()].length, 2)
    await bed.kubectl('-n', shop, 'delete', 'deployment', 'a')
    await become('b,c')
  })
})
