import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { createObject, deleteObject, getObject } from '../../src/kube/apply.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { connectCluster } from '../../src/kube/connect.ts'
import { resourcePath } from '../../src/kube/resource.ts'
import type { DaemonSet, KubeList, Node, Pod } from '../../src/kube/types.ts'
import { testImages } from '../cluster/images/catalogue.ts'
import { imageOf, layerOf } from '../cluster/images/image.ts'
import { tinyImage } from '../cluster/images/tiny.ts'
import { type Cluster, downCluster, reportToStderr, upCluster } from '../cluster/index.ts'
import { sleepProgram } from '../cluster/sleep-program.ts'
import { noNodes } from '../support/cluster.ts'
import { collectGarbage, collectingNode, pushBait, untilAdmitting } from '../support/garbage.ts'
import { watchHeld } from '../support/hold-watch.ts'
import { type RunningPuller, startPuller } from '../support/running-puller.ts'
import { waitUntil } from '../support/wait-until.ts'

const skip = noNodes()
const long = process.env.KIP_TEST_LONG === '1'
const report = reportToStderr
const namespace = 'puller'
const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
const pods = { group: '', version: 'v1', plural: 'pods', namespace }
const nodes = { group: '', version: 'v1', plural: 'nodes' }
const { signal } = new AbortController()

describe('the puller, and what befalls nodes', { skip }, () => {
  // Its garbage is collected and its nodes come and go, so it is not the cluster that other tests share.
  const name = `faults-${process.pid}`
  const tiny = Array.from({ length: 19 }, (_, index) => ({
    repository: `held-${index}`,
    image: tinyImage(index),
  }))
  let cluster: Cluster
  let client: KubeClient
  let first: string
  let bait: string
  let good: readonly string[]
  let bad: string

  before(async () => {
    const nodeSettings = collectingNode
    cluster = await upCluster({ name, nodes: 1, nodeSettings, owned: true, report })
    first = cluster.nodes[0]?.name ?? ''
    const { origin } = cluster.registries
    const content = await readFile(await sleepProgram({ report }))
    const holder = layerOf([{ kind: 'file', path: '/kip/sleep', content, mode: 0o755 }])
    await origin.push(imageOf({ layers: [holder] }), 'sleep', '1')
    for (const { repository, image } of tiny) await origin.push(image, repository, '1')
    bait = await pushBait(cluster)
    const images = await testImages({ sleepProgram: await sleepProgram({ report }), report })
    await origin.push(images.busybox, 'busybox', '1')
    good = tiny.map(({ repository }) => `${origin.host}/${repository}:1`)
    bad = `${origin.host}/bad:1`
    client = await connectCluster({ kubeconfig: cluster.kubeconfig })
    await createObject(
      client,
      { group: '', version: 'v1', plural: 'namespaces' },
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      { signal },
    )
    const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace }
    await waitUntil(
      'the default service account',
      () => getObject(client, accounts, 'default', { signal }),
      20_000,
    )
  })

  after(async () => {
    await client?.close()
    await cluster?.[Symbol.asyncDispose]()
    await downCluster(name, { report })
  })

  const start = (images: readonly string[]) =>
    startPuller({
      ...{ client, namespace, images },
      sleepImage: `${cluster.registries.origin.host}/sleep:1`,
      // Waits that are for a user's peace of mind are shortened.
      pace: { judgeMs: 5000, promoteMs: 2000, removeMs: 5000, removeAlongMs: 2000 },
    })

  async function livingPods(): Promise<readonly Pod[]> {
    const path = resourcePath(pods)
    const { items } = await client.request<KubeList<Pod>>({ method: 'GET', path, signal })
    return (items ?? []).filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
  }

  /** Of the pods that hold for good. */
  const uids = async (): Promise<readonly string[]> =>
    (await livingPods())
      .filter(({ metadata }) => metadata?.labels?.['images.kip/shard'] === 'kip')
      .map(({ metadata }) => metadata?.uid ?? '')
      .sort()

  async function shards(): Promise<readonly DaemonSet[]> {
    const path = resourcePath(daemonSets)
    return (await client.request<KubeList<DaemonSet>>({ method: 'GET', path, signal })).items ?? []
  }

  /** Whether of the DaemonSets that are not for images that fail these are there alone, and ready everywhere. */
  async function areReady(wanted: readonly string[]): Promise<boolean> {
    const found = (await shards()).filter(({ metadata }) => metadata?.name !== 'kip-apart')
    return (
      found.map(({ metadata }) => metadata?.name).join() === wanted.join() &&
      found.every(
        ({ metadata, status }) =>
          status?.observedGeneration === metadata?.generation &&
          status?.numberReady === cluster.nodes.length &&
          status.updatedNumberScheduled === cluster.nodes.length,
      )
    )
  }

  /** Whether all DaemonSets there are hold for good and are ready, and a puller knows of these that each node has them. */
  async function areHeld(running: RunningPuller, images: readonly string[]): Promise<boolean> {
    return (
      (await areReady(['kip'])) &&
      images.every((image) => running.nodes(image)?.cached === cluster.nodes.length)
    )
  }

  async function lackingOn(node: string, images: readonly string[]): Promise<readonly string[]> {
    const present = new Set(await cluster.imagesOn(node))
    return images.filter((image) => !present.has(image))
  }

  /** By its taint, which comes after the condition and goes after it. */
  async function hasPressure(node: string): Promise<boolean> {
    const { spec } = (await getObject<Node>(client, nodes, node, { signal })) ?? {}
    return spec?.taints?.some(({ key }) => key === 'node.kubernetes.io/disk-pressure') === true
  }

  const heldByFirst = (images: readonly { readonly digest: string }[]) =>
    watchHeld(
      cluster,
      first,
      images.map(({ digest }) => [digest]),
    )

  it('holds nineteen of twenty images beside a bad one', async () => {
    await using running = await start([...good, bad])
    await waitUntil('the failure', () => running.nodes(bad)?.failed === 1, 90_000)
    await waitUntil(
      'the others in the shard that holds for good',
      () => areHeld(running, good),
      90_000,
    )
    assert.deepEqual(await lackingOn(first, good), [])
  })

  it('keeps them, and its pods, while garbage is collected since the disk is full', async () => {
    const before = await uids()
    const watch = await heldByFirst(tiny.map(({ image }) => image))
    await collectGarbage(cluster, first, bait)
    assert.deepEqual(await watch.end(), { lost: 0, unheldMs: 0 })
    assert.deepEqual(await lackingOn(first, good), [])
    assert.deepEqual(await uids(), before)
  })

  if (long)
    it('has a kubelet that must evict pods begin with others', async () => {
      const before = await uids()
      const watch = await heldByFirst(tiny.map(({ image }) => image))
      const written = 80
      const user: Pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'user' },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [
            {
              name: 'main',
              image: `${cluster.registries.origin.host}/busybox:1`,
              command: [
                '/bin/sh',
                '-c',
                `dd if=/dev/zero of=/data/file bs=1M count=${written}; sleep 3600`,
              ],
              volumeMounts: [{ name: 'data', mountPath: '/data' }],
            },
          ],
          volumes: [{ name: 'data', emptyDir: {} }],
        },
      }
      const logOf = (pod: string) => cluster.kubectl(['-n', namespace, 'logs', pod])
      const phase = async () =>
        (await getObject<Pod>(client, pods, 'user', { signal }))?.status?.phase
      await untilAdmitting(cluster, first)
      await createObject(client, pods, user, { signal })
      await waitUntil(
        'what it writes',
        async () => /records out/.test(await logOf('user').catch(() => '')),
        60_000,
      )
      const { sizeMib } = await cluster.disk(first)
      await cluster.fillDisk(first, sizeMib * 0.15 - written / 2)
      await waitUntil('its eviction', async () => (await phase()) === 'Failed', 60_000)
      await waitUntil('the end of the pressure', async () => !(await hasPressure(first)), 60_000)
      await cluster.fillDisk(first)
      const seen = await watch.end()
      await deleteObject(client, pods, 'user', { signal })
      assert.deepEqual(seen, { lost: 0, unheldMs: 0 })
      await waitUntil(
        'its pods as they were',
        async () => (await uids()).join() === before.join(),
        30_000,
      )
    })

  if (long)
    it('leaves out what would fill the disk of a node, and names it', async () => {
      const [small = '', large = '', ...others] = good
      await using running = await start(good)
      const mib = 2 ** 20
      await running.resolve(small, tiny[0]?.image.digest ?? '', mib)
      // As its layers take three and a half times as much on the disk, that is more than half of it.
      await running.resolve(large, tiny[1]?.image.digest ?? '', 200 * mib)
      await waitUntil(
        'the large one to leave',
        async () => {
          const found = await shards()
          return (await areReady(['kip'])) && !JSON.stringify(found).includes(`"${large}"`)
        },
        90_000,
      )
      assert.ok([small, ...others].every((image) => running.nodes(image)?.cached === 1))
      assert.ok(running.log.lines.some(({ fields }) => JSON.stringify(fields).includes(large)))
      assert.equal(await hasPressure(first), false)
    })

  if (long)
    it('is not drowned in pods where a kubelet refuses them', async () => {
      const late = `${cluster.registries.origin.host}/late:1`
      await cluster.registries.origin.push(tinyImage(77), 'late', '1')
      const { sizeMib } = await cluster.disk(first)
      {
        // While no puller runs, nobody pauses a shard whose pod was evicted.
        await using _watching = await start(good)
        await waitUntil('all of them', () => areReady(['kip']), 90_000)
        await cluster.fillDisk(first, sizeMib * 0.12)
        await waitUntil('disk pressure', () => hasPressure(first), 60_000)
        await waitUntil(
          'its shards to be paused',
          async () =>
            (await shards()).every(({ spec }) => spec?.updateStrategy?.type === 'OnDelete'),
          20_000,
        )
      }
      await using running = await start([...good, late])
      const all = async () => (await livingPods()).length
      const isRefused = ({ metadata, status }: Pod): boolean =>
        metadata?.labels?.['images.kip/shard'] === 'kip-fresh' && status?.phase === 'Failed'
      await waitUntil(
        'a pod that is refused',
        async () => (await livingPods()).some(isRefused),
        60_000,
      )
      await waitUntil(
        'its shard to be paused',
        async () => (await shards()).some(({ spec }) => spec?.updateStrategy?.type === 'OnDelete'),
        20_000,
      )
      await setTimeout(5000)
      const found = await all()
      await cluster.fillDisk(first)
      assert.ok(found < 40, `${found} pods`)
      await waitUntil('the image', () => running.nodes(late)?.cached === 1, 180_000)
      assert.deepEqual(await lackingOn(first, good), [])
    })

  it('makes a DaemonSet that was deleted by hand again', async () => {
    // The kubelet refuses pods for a while after a collection, and holds them up for as long.
    await untilAdmitting(cluster, first)
    await using running = await start(good)
    await waitUntil(
      'all of them, and this puller to know',
      () => areHeld(running, good),
      // A shard whose pods were refused before this puller began may stay paused for a minute.
      180_000,
    )
    const before = (await shards())[0]?.metadata?.uid
    await deleteObject(client, daemonSets, 'kip', { signal })
    await waitUntil(
      'another one',
      async () => (await areReady(['kip'])) && (await shards())[0]?.metadata?.uid !== before,
      120_000,
    )
    // It was known to be well, so it comes back at once and whole, not by way of a fresh one.
    const onProbation = '{"daemonset":"kip-fresh","action":"apply"'
    assert.ok(
      !running.log.lines.some(({ fields }) => JSON.stringify(fields).startsWith(onProbation)),
    )
    assert.deepEqual(await lackingOn(first, good), [])
  })

  it('fills a node that joins while no puller runs, also past an image that is gone by then', async () => {
    const { origin } = cluster.registries
    const [gone = '', ...rest] = good
    await origin.deleteImage('held-0', '1')
    const { name: second } = await cluster.addNode(collectingNode)
    await waitUntil(
      'all others on the new node',
      async () => (await lackingOn(second, rest)).length === 0,
      90_000,
    )
    assert.deepEqual(await lackingOn(second, good), [gone])

    const watch = await heldByFirst(tiny.map(({ image }) => image))
    await using running = await start(good)
    await waitUntil('all others to be held there too', () => areHeld(running, rest), 120_000)
    const { desired, cached, failed, failures } = running.nodes(gone) ?? assert.fail()
    assert.deepEqual({ desired, cached, failed }, { desired: 2, cached: 1, failed: 1 })
    assert.deepEqual(
      failures.map(({ node }) => node),
      [second],
    )
    assert.deepEqual(await watch.end(), { lost: 0, unheldMs: 0 })
  })

  if (long)
    it('has a node hold them again that lost its power, with no puller running', async () => {
      await cluster.killNode(first)
      await cluster.reviveNode(first)
      await waitUntil('its pods', () => areReady(['kip']), 120_000)
      assert.deepEqual(await lackingOn(first, good), [])
      await collectGarbage(cluster, first, bait)
      assert.deepEqual(await lackingOn(first, good), [])
    })
})
