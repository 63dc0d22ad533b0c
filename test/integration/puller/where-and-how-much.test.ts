/** Which nodes get which images, and how many of them: by a real API server, DaemonSet controller and scheduler. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createMapping } from '../../../src/images/mapping.ts'
import { createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeList, Pod } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { readDaemonSet } from '../../../src/puller/daemon-set.ts'
import { defaultPace } from '../../../src/puller/pace.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import type { Source, Usage } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { acquireCluster } from '../../support/cluster.ts'
import { fastClock } from '../../support/fast-clock.ts'
import { playedNodes, pullerSettings } from '../../support/puller-settings.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { startFakeKubelets } from './fake-kubelets.ts'

const cluster = await acquireCluster({ nodes: 0 })
const { signal } = new AbortController()
const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
const clock = fastClock(10)
const time = '2026-01-01T00:00:00Z'

const image = (name: string | number): string => `origin.test:5000/i${name}:1`
const many = (count: number, from = 0): readonly string[] =>
  Array.from({ length: count }, (_, index) => image(from + index))

describe('the puller on a real API server', { concurrency: true }, () => {
  let admin: KubeClient

  before(async () => {
    admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
  })

  after(() => admin.close())

  /** A namespace with nodes of its own. */
  class Bed implements AsyncDisposable {
    readonly name: string
    readonly store: ImageStore = createMemoryStore()
    readonly log = silentLog()
    readonly #ends: (() => Promise<unknown>)[] = []
    /** Shards that had pods on one node at the same time, at most. */
    crowd = 0
    /** Indexes of nodes that take few pods. */
    readonly small = new Set<number>()
    /** Nodes where a roll-out is to bring an image. */
    readonly before = new Map<string, readonly string[]>()

    constructor(name: string) {
      this.name = `${name}-${process.pid}`
    }

    async start(
      architectures: readonly string[],
      { disk = '100Gi', ...env }: Readonly<Record<string, string>>,
    ): Promise<void> {
      const { name: namespace, store, log } = this
      const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
      await createObject(admin, namespaces, object, { signal })
      this.#ends.push(() => deleteObject(admin, namespaces, namespace, { signal }))
      const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace }
      await waitUntil('the default service account', () =>
        getObject(admin, accounts, 'default', { signal }),
      )
      const nodes = architectures.map(
        (architecture, index) => `${namespace}-${index}-${architecture}`,
      )
      const stopKubelets = await startFakeKubelets({
        ...{ client: admin, namespace, nodes, isBad: () => false },
        look: (node) => {
          const isSmall = this.small.has(nodes.indexOf(node))
          const labels = { 'node.kubernetes.io/instance-type': isSmall ? 'small' : 'large' }
          const architecture = node.split('-').at(-1) ?? ''
          return { architecture, disk, labels, ...(isSmall && { slots: '11' }) }
        },
      })
      this.#ends.push(stopKubelets)
      const settings = pullerSettings(namespace, { ...playedNodes(namespace), ...env })
      const mapping = createMapping({ registry: '', mapping: 'path' })
      const metrics = createMetrics({ processMetrics: false })
      const controller = new AbortController()
      const pace = { ...defaultPace, compactMs: 30_000 }
      const nodesBefore = (reference: string) => this.before.get(reference) ?? []
      const options = {
        ...{ client: admin, store, settings, mapping, log, metrics, clock, pace, nodesBefore },
      }
      const ended = createPuller(options).run(controller.signal)
      this.#ends.push(() => {
        controller.abort()
        return ended
      })
    }

    async want(reference: string, pods: number, source: Partial<Source> = {}): Promise<void> {
      const usage: Usage = {
        ...{ wanted: ['InUse'], pods, workloads: 1, namespaces: 1, owners: [], firstSeen: time },
      }
      await this.store.putUsage(reference, usage, signal)
      const state = this.store.get(reference)
      if (state === undefined || Object.keys(source).length === 0) return
      await this.store.putSource(state, { state: 'Available', checkedAt: time, ...source }, signal)
    }

    async forget(reference: string): Promise<void> {
      const { usage } = this.store.get(reference) ?? {}
      if (usage !== undefined)
        await this.store.putUsage(reference, { ...usage, wanted: [] }, signal)
    }

    /** DaemonSets with the number of their images, like `kip: 2, kip-fresh: 1`. */
    async shards(): Promise<string> {
      const resource = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace: this.name }
      return (await this.#list<DaemonSet>(resource))
        .map((one) => `${one.metadata?.name}: ${readDaemonSet(one, 'kip')?.members.length}`)
        .sort()
        .join(', ')
    }

    /** By shard: nodes that have a pod of it. */
    async nodesOf(): Promise<ReadonlyMap<string, readonly string[]>> {
      const resource = { group: '', version: 'v1', plural: 'pods', namespace: this.name }
      const nodes = new Map<string, string[]>()
      const crowds = new Map<string, Set<string>>()
      for (const { metadata, spec } of await this.#list<Pod>(resource)) {
        const shard = metadata?.labels?.['images.kip/shard'] ?? ''
        const node = spec?.nodeName ?? ''
        nodes.set(shard, [...(nodes.get(shard) ?? []), node])
        if (metadata?.deletionTimestamp !== undefined) continue
        crowds.set(node, (crowds.get(node) ?? new Set()).add(shard))
      }
      this.crowd = Math.max(this.crowd, ...[...crowds.values()].map(({ size }) => size))
      return nodes
    }

    async untilShards(expected: string): Promise<void> {
      let last = ''
      await waitUntil(
        expected,
        async () => {
          await this.nodesOf()
          last = await this.shards()
          return last === expected
        },
        60_000,
      ).catch(() => assert.equal(last, expected))
    }

    /** `cached/desired`, or why not. */
    standing(reference: string): string {
      const { cached, desired, reason } = this.store.get(reference)?.nodes ?? {}
      return reason ?? `${cached}/${desired}`
    }

    async #list<T>(resource: Parameters<typeof resourcePath>[0]): Promise<readonly T[]> {
      const request = { method: 'GET', path: resourcePath(resource), signal } as const
      return (await admin.request<KubeList<T>>(request)).items ?? []
    }

    async [Symbol.asyncDispose](): Promise<void> {
      for (const end of this.#ends.reverse()) await end()
    }
  }

  it('asks no node for an image of another architecture', async () => {
    await using bed = new Bed('architectures')
    const both = ['linux/amd64', 'linux/arm64']
    await bed.want(image('both'), 1, { platforms: both })
    await bed.want(image('intel'), 1, { platforms: ['linux/amd64'] })
    await bed.want(image('arm'), 1, { platforms: ['linux/arm64/v8'] })
    await bed.want(image('mainframe'), 1, { platforms: ['linux/s390x'] })
    await bed.start(['amd64', 'amd64', 'arm64'], { KIP_PULLER_PODS_PER_NODE: '5' })
    await bed.untilShards('kip-amd64: 1, kip-arm64: 1, kip: 1')
    const nodes = await bed.nodesOf()
    assert.equal(nodes.get('kip')?.length, 3)
    assert.ok(nodes.get('kip-amd64')?.every((node) => node.endsWith('amd64')))
    assert.ok(nodes.get('kip-arm64')?.every((node) => node.endsWith('arm64')))
    const standings = (): string =>
      ['both', 'intel', 'arm', 'mainframe'].map((name) => bed.standing(image(name))).join()
    await waitUntil('the counts', () => standings() === '3/3,2/2,1/1,0/0').catch(() =>
      assert.equal(standings(), '3/3,2/2,1/1,0/0'),
    )
  })

  it('asks the nodes of a roll-out first, several of them', async () => {
    await using bed = new Bed('first')
    await bed.want(image(1), 4)
    await bed.start(
      Array.from({ length: 5 }, () => 'amd64'),
      {},
    )
    await bed.untilShards('kip: 1')
    const [first = '', second = ''] = (await bed.nodesOf()).get('kip')?.toSorted() ?? []
    bed.before.set(image(2), [first, second])
    await bed.want(image(2), 1)
    const fresh = async (): Promise<string> =>
      (await bed.nodesOf()).get('kip-fresh')?.toSorted().join() ?? ''
    await waitUntil('pods of theirs', async () => (await fresh()) === `${first},${second}`)
    await bed.untilShards('kip: 2')
    await waitUntil('the counts', () => bed.standing(image(2)) === '5/5')
  })

  it('has one pod on a node that takes few', async () => {
    await using bed = new Bed('slots')
    bed.small.add(2)
    await bed.want(image(1), 1)
    await bed.start(['amd64', 'amd64', 'amd64'], {})
    await bed.untilShards('kip: 1')
    await bed.want(image(2), 1)
    await waitUntil('a fresh shard on the others', async () => {
      const nodes = (await bed.nodesOf()).get('kip-fresh') ?? []
      assert.ok(nodes.every((node) => !node.endsWith('2-amd64')))
      return nodes.length === 2
    })
    await bed.untilShards('kip: 2')
    await waitUntil('the counts', () => bed.standing(image(2)) === '3/3')
    assert.equal(new Set((await bed.nodesOf()).get('kip')).size, 3)
  })

  it('leaves out, and names, what the smallest disk has no room for', async () => {
    await using bed = new Bed('disk')
    // Half of 10 GiB, and an image takes three and a half times its size.
    for (const [at, pods] of [1, 9, 5].entries())
      await bed.want(image(at), pods, { sizeBytes: 6e8 })
    await bed.start(['amd64', 'arm64'], { disk: '10Gi' })
    await bed.untilShards('kip: 2')
    await waitUntil('the counts', () => bed.standing(image(1)) === '2/2')
    assert.deepEqual(
      many(3).map((one) => bed.standing(one)),
      ['NoDisk', '2/2', '2/2'],
    )
    const told = bed.log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)
    assert.deepEqual(told, [{ images: [image(0)], count: 1 }])
  })

  it('makes no more pods than a node may have, and room for what is worth more', async () => {
    await using bed = new Bed('room')
    for (const [at, reference] of many(102).entries()) await bed.want(reference, 200 - at)
    await bed.start(['amd64'], { KIP_PULLER_STRATEGY: 'sleep', KIP_PULLER_PODS_PER_NODE: '2' })
    // One place is left for what comes next.
    await bed.untilShards('kip-fresh: 49, kip: 50')
    await waitUntil('the counts', () => bed.standing(image(98)) === '1/1')
    assert.deepEqual(
      [99, 100, 101].map((at) => bed.standing(image(at))),
      ['NoRoom', 'NoRoom', 'NoRoom'],
    )
    await bed.want(image(101), 5000)
    const changed = async (): Promise<boolean> => {
      await bed.nodesOf()
      return bed.standing(image(101)) === '1/1' && bed.standing(image(98)) === 'NoRoom'
    }
    await waitUntil('the one that is worth more in the place of another', changed, 60_000)
    assert.equal(bed.crowd, 2)
  })

  it('puts half-empty shards together when nothing has been on its way for long', async () => {
    await using bed = new Bed('compaction')
    for (const reference of many(60)) await bed.want(reference, 1)
    await bed.start(['amd64'], { KIP_PULLER_STRATEGY: 'sleep' })
    await bed.untilShards('kip-2: 10, kip: 50')
    for (const reference of many(30)) await bed.forget(reference)
    await bed.untilShards('kip: 30')
    for (const reference of many(30, 30)) assert.equal(bed.standing(reference), '1/1')
  })
})
