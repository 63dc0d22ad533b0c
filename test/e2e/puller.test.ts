import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { createObject, deleteObject, getObject } from '../../src/kube/apply.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { connectCluster } from '../../src/kube/connect.ts'
import { resourcePath } from '../../src/kube/resource.ts'
import type { DaemonSet, KubeList, Node, Pod } from '../../src/kube/types.ts'
import { benchProgram } from '../bench/peers/build.ts'
import { testImages } from '../cluster/images/catalogue.ts'
import { imageOf, layerOf } from '../cluster/images/image.ts'
import { tinyImage } from '../cluster/images/tiny.ts'
import { upstreamPullerImage } from '../cluster/images/upstream-puller.ts'
import { type Cluster, reportToStderr } from '../cluster/index.ts'
import { sleepProgram } from '../cluster/sleep-program.ts'
import { acquireCluster, noNodes } from '../support/cluster.ts'
import { roleClient } from '../support/role-client.ts'
import {
  type RunningPuller,
  type RunningPullerOptions,
  startPuller,
} from '../support/running-puller.ts'
import { waitUntil } from '../support/wait-until.ts'

const skip = noNodes()
const long = process.env.KIP_TEST_LONG === '1'
const cluster = skip === false ? await acquireCluster({ nodes: 2 }) : undefined
const namespace = `puller-${process.pid}`
const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
const pods = { group: '', version: 'v1', plural: 'pods', namespace }
const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace }
const repository = `puller-${process.pid}`
/** By this name an image is taken for KIP's own. */
const upstream = 'kubernetes-image-puller'
const { signal } = new AbortController()

describe('the puller on real nodes', { skip }, () => {
  if (cluster !== undefined) suite(cluster)
})

function suite(cluster: Cluster): void {
  const { origin } = cluster.registries
  const reference = (name: string): string => `${origin.host}/${repository}/${name}:1`
  const tiny = ['t1', 't2', 't3', 't4', 't5', 't6']
  // Root's own files alone, nothing but one program, files without a program, zstd layers, an index of two platforms.
  const odd = ['nginx', 'scratch', 'content', 'zstd', 'multi-platform'] as const
  const configured = {
    // What is run is what is mounted, by the pod's user.
    root: { User: '0:0', Entrypoint: ['/not/there'], Volumes: { '/data': {} } },
    named: { User: 'nobody-knows', Entrypoint: ['/bin/sh', '-c', 'exit 1'] },
  }
  const good = [...tiny, ...odd, ...Object.keys(configured)].map(reference)
  const bad = reference('bad')
  let admin: KubeClient
  let client: KubeClient

  before(async () => {
    const program = await sleepProgram({ report: reportToStderr })
    const images = await testImages({ sleepProgram: program, report: reportToStderr })
    const content = await readFile(program)
    const holder = layerOf([{ kind: 'file', path: '/kip/sleep', content, mode: 0o755 }])
    await origin.push(imageOf({ layers: [holder] }), `${repository}/sleep`, '1')
    const goSleep = await readFile(await benchProgram('go-sleep', { report: reportToStderr }))
    await origin.push(await upstreamPullerImage(goSleep), `${repository}/${upstream}`, '1')
    for (const [number, name] of tiny.entries()) {
      await origin.push(tinyImage(number), `${repository}/${name}`, '1')
    }
    for (const name of odd) await origin.push(images[name], `${repository}/${name}`, '1')
    const file = (path: string) => layerOf([{ kind: 'file', path, content: path }])
    for (const [name, config] of Object.entries(configured)) {
      const image = imageOf({ layers: [file(`/${name}`)], config })
      await origin.push(image, `${repository}/${name}`, '1')
    }
    // Where the program that is run is to be mounted there is a file, on which nothing mounts a folder.
    await origin.push(imageOf({ layers: [file('/kip')] }), `${repository}/unstartable`, '1')

    admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' }
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } }
    await createObject(admin, namespaces, object, { signal })
    await waitUntil(
      'the default service account',
      () => getObject(admin, accounts, 'default', { signal }),
      20_000,
    )
    client = await roleClient({
      client: admin,
      kubeconfig: cluster.kubeconfig,
      namespace,
      manifest: 'rbac-puller.yaml',
      clusterWide: ['rbac-puller.yaml', 'components/startup-gate/rbac.yaml'],
    })
  })

  after(async () => {
    await deleteObject(admin, namespaces, namespace, { signal })
    await waitUntil(
      'the namespace to be gone',
      async () => (await getObject(admin, namespaces, namespace, { signal })) === undefined,
      60_000,
    )
    for (const { name } of cluster.nodes) {
      const own = (await cluster.imagesOn(name)).filter((image) => image.includes(repository))
      await cluster.removeImages(name, own)
    }
    await client.close()
    await admin.close()
  })

  /** Runs a puller on `images` while `work` works. */
  async function withPuller(
    images: readonly string[],
    work: (running: RunningPuller) => Promise<void>,
    env: Readonly<Record<string, string>> = {},
    more: Pick<RunningPullerOptions, 'inUse' | 'nodesBefore'> = {},
  ): Promise<void> {
    await using running = await startPuller({
      ...{ client, namespace, images, env, ...more },
      sleepImage: reference('sleep'),
      // Waits that are for a user's peace of mind are shortened.
      pace: { judgeMs: 5000, promoteMs: 2000, removeMs: 5000, removeAlongMs: 2000 },
    })
    await work(running)
  }

  async function shards(): Promise<ReadonlyMap<string, DaemonSet>> {
    const path = resourcePath(daemonSets)
    const { items } = await admin.request<KubeList<DaemonSet>>({ method: 'GET', path, signal })
    return new Map((items ?? []).map((item) => [item.metadata?.name ?? '', item]))
  }

  const names = async (): Promise<string> => [...(await shards()).keys()].sort().join()

  async function podNames(): Promise<string> {
    const path = resourcePath(pods)
    const { items } = await admin.request<KubeList<Pod>>({ method: 'GET', path, signal })
    return (items ?? [])
      .filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata?.name)
      .sort()
      .join()
  }

  /** By containerd's own word. */
  async function lacking(images: readonly string[]): Promise<readonly string[]> {
    const missing: string[] = []
    for (const { name } of cluster.nodes) {
      const present = new Set(await cluster.imagesOn(name))
      missing.push(...images.filter((image) => !present.has(image)).map((one) => `${name} ${one}`))
    }
    return missing
  }

  async function untilHeld(images: readonly string[], shape: string): Promise<void> {
    await waitUntil(
      `${shape} with ${images.length} images`,
      async () => {
        if ((await names()) !== shape) return false
        const { metadata, spec, status } = (await shards()).get('kip') ?? {}
        if (status?.observedGeneration !== metadata?.generation) return false
        const { initContainers = [], containers = [], volumes = [] } = spec?.template?.spec ?? {}
        const pulled = volumes.filter(({ image }) => image !== undefined)
        const sizes = [initContainers.length - 1, containers.length, pulled.length]
        return (
          Math.max(...sizes) === images.length &&
          status?.numberAvailable === cluster.nodes.length &&
          status.updatedNumberScheduled === cluster.nodes.length
        )
      },
      180_000,
    )
  }

  it('has both nodes hold every image, whatever is in it, past one that cannot be pulled', async () => {
    await withPuller([...good, bad], async ({ nodes, log }) => {
      await waitUntil(
        'all nodes to have them',
        async () => (await lacking(good)).length === 0,
        120_000,
      )
      await untilHeld(good, 'kip,kip-apart')
      assert.deepEqual(await lacking(good), [])
      await waitUntil('the counts', () => good.every((image) => nodes(image)?.cached === 2), 10_000)
      await waitUntil('the failures', () => nodes(bad)?.failed === 2, 30_000)
      assert.deepEqual(
        nodes(bad)?.failures.map(({ node, message }) => `${node}: ${message}`),
        cluster.nodes.map(({ name }) => `${name}: the registry does not have it`),
      )
      assert.deepEqual(
        log.lines.filter(({ level }) => level === 'error'),
        [],
      )
    })
  })

  it('changes nothing and asks no registry when it starts again', async () => {
    const [before, podsBefore] = [await shards(), await podNames()]
    const mark = await origin.accessLogEnd()
    await withPuller([...good, bad], async ({ nodes }) => {
      await waitUntil('the counts', () => nodes(good[0] ?? '')?.cached === 2, 10_000)
      await waitUntil('the failures', () => nodes(bad)?.failed === 2, 30_000)
      await setTimeout(5000)
    })
    for (const [name, { metadata }] of await shards()) {
      assert.equal(metadata?.generation, before.get(name)?.metadata?.generation)
      assert.equal(metadata?.uid, before.get(name)?.metadata?.uid)
    }
    assert.equal(await podNames(), podsBefore)
    const asked = (await origin.accessLog(mark)).filter(
      ({ path }) => path.includes(repository) && !path.includes('/bad/'),
    )
    assert.deepEqual(asked, [])
  })

  it('takes the bad image in when it is there, and drops what is no longer wanted', async () => {
    await origin.push(tinyImage(99), `${repository}/bad`, '1')
    const wanted = [...good.slice(1), bad]
    await withPuller(wanted, async () => {
      await untilHeld(wanted, 'kip')
      assert.deepEqual(await lacking([bad]), [])
    })
  })

  it('rolls its pods while the registry is down, since nodes have the images', async () => {
    const wanted = [...good.slice(1), bad]
    await origin.stop()
    try {
      await withPuller(
        wanted,
        async () => {
          const rolled = async (): Promise<boolean> =>
            (await shards()).get('kip')?.spec?.template?.spec?.tolerations !== undefined
          await waitUntil('the new template', rolled, 20_000)
          await untilHeld(wanted, 'kip')
        },
        { TOLERATIONS: '[{"operator":"Exists"}]' },
      )
      assert.deepEqual(await lacking(wanted), [])
    } finally {
      await origin.start()
    }
  })

  it('holds them by image volumes, of which the kubelet makes read-only mounts and no process', async () => {
    const kip = (await shards()).get('kip')?.spec?.template?.spec
    assert.equal(kip?.containers?.length, 1)
    assert.equal(kip?.initContainers, undefined)
    assert.deepEqual(
      kip.volumes?.map(({ image }) => image?.pullPolicy),
      [...good.slice(1), bad].map(() => 'IfNotPresent'),
    )
    const path = resourcePath(pods)
    await waitUntil(
      'one ready container a node',
      async () => {
        const { items } = await admin.request<KubeList<Pod>>({ method: 'GET', path, signal })
        const held = (items ?? []).flatMap(({ status }) => status?.containerStatuses ?? [])
        return held.length === cluster.nodes.length && held.every(({ ready }) => ready === true)
      },
      30_000,
    )
  })

  it('has the nodes pull a tag that moved, and then hold what it is now', async () => {
    const wanted = [...good.slice(1), bad]
    const moving = reference('t2')
    const push = async (number: number): Promise<string> =>
      (await origin.push(tinyImage(number), `${repository}/t2`, '1')).replace(/^.*@/, '')
    await withPuller(
      wanted,
      async ({ resolve }) => {
        const before = (await shards()).get('kip')?.metadata
        await resolve(moving, await push(1))
        const digests = async (): Promise<string> =>
          (await shards()).get('kip')?.metadata?.annotations?.['images.kip/digests'] ?? ''
        await waitUntil('the note', async () => (await digests()) !== '', 20_000)
        assert.equal((await shards()).get('kip')?.metadata?.generation, before?.generation)

        const digest = await push(77)
        await resolve(moving, digest)
        await waitUntil('the new digest', async () => (await digests()).includes(digest), 60_000)
        await untilHeld(wanted, 'kip')
        for (const { name } of cluster.nodes) {
          const lines = (await cluster.ctr(name, ['images', 'ls'])).split('\n')
          const line = lines.find((one) => one.startsWith(`${moving} `)) ?? ''
          assert.ok(line.includes(digest), line)
        }
      },
      { TOLERATIONS: '[{"operator":"Exists"}]' },
    )
  })

  it('releases a node of its startup taint when it holds the images', async () => {
    const nodes = { group: '', version: 'v1', plural: 'nodes' }
    const name = cluster.nodes[0]?.name ?? ''
    const taints = async (): Promise<string> => {
      const node = await getObject<Node>(admin, nodes, name, { signal })
      return (node?.spec?.taints ?? []).map(({ key }) => key).join()
    }
    const patch = async (spec: object): Promise<void> => {
      const contentType = 'application/merge-patch+json'
      const path = resourcePath(nodes, name)
      await admin.request({ method: 'PATCH', path, contentType, body: { spec }, signal })
    }
    await patch({ taints: [{ key: 'images.kip/not-ready', effect: 'NoSchedule' }] })
    try {
      const wanted = [...good.slice(1), bad]
      await withPuller(
        wanted,
        async () => {
          await untilHeld(wanted, 'kip')
          await waitUntil('no taint', async () => (await taints()) === '', 60_000)
        },
        { TOLERATIONS: '[{"operator":"Exists"}]', KIP_PULLER_STARTUP_TAINT_SECONDS: '86400' },
      )
    } finally {
      await patch({ taints: null })
    }
  })

  it('holds the same images by init containers when told to', async () => {
    const wanted = [...good.slice(1), bad]
    await withPuller(
      wanted,
      async () => {
        await waitUntil(
          'the init containers',
          async () => {
            const { initContainers = [] } = (await shards()).get('kip')?.spec?.template?.spec ?? {}
            return initContainers.length === wanted.length + 1
          },
          20_000,
        )
        await untilHeld(wanted, 'kip')
        assert.deepEqual(await lacking(wanted), [])
      },
      { KIP_PULLER_STRATEGY: 'init', TOLERATIONS: '[{"operator":"Exists"}]' },
    )
  })

  if (long)
    it('counts an image that no process can be started from as cached, and starts the others', async () => {
      const wanted = [...good.slice(1), bad]
      const odd = reference('unstartable')
      await withPuller(
        [...wanted, odd],
        async ({ nodes }) => {
          await waitUntil('it to be cached', () => nodes(odd)?.cached === 2, 60_000)
          await untilHeld(wanted, 'kip,kip-apart')
          assert.deepEqual(nodes(odd), {
            desired: 2,
            cached: 2,
            pulling: 0,
            failed: 0,
            failures: [],
          })
          assert.deepEqual(await lacking([odd]), [])
        },
        { KIP_PULLER_STRATEGY: 'init', TOLERATIONS: '[{"operator":"Exists"}]' },
      )
    })

  it('holds the same images by sleeping containers when told to', async () => {
    const wanted = [...good.slice(1), bad]
    await withPuller(
      wanted,
      async () => {
        await waitUntil(
          'the sleepers',
          async () =>
            (await shards()).get('kip')?.spec?.template?.spec?.containers?.length === wanted.length,
          20_000,
        )
        await untilHeld(wanted, 'kip')
      },
      { KIP_PULLER_STRATEGY: 'sleep', TOLERATIONS: '[{"operator":"Exists"}]' },
    )
  })

  it("takes the sleep program out of an image of upstream's shape, by its shell", async () => {
    const wanted = [...good.slice(1), bad]
    for (const strategy of ['sleep', 'init']) {
      await withPuller(
        wanted,
        async () => {
          await waitUntil(
            'the other image',
            async () => JSON.stringify((await shards()).get('kip')).includes(reference(upstream)),
            20_000,
          )
          await untilHeld(wanted, 'kip')
        },
        { KIP_PULLER_STRATEGY: strategy, KIP_IMAGE: reference(upstream) },
      )
      assert.deepEqual(await lacking(wanted), [])
    }
  })

  it('has the nodes of a roll-out pull first, and an image only where its users may run', async () => {
    const wanted = [...good.slice(1), bad]
    const [next, pooled] = ['next', 'pooled'].map(reference)
    const [first = '', second = ''] = cluster.nodes.map(({ name }) => name)
    assert.ok(next !== undefined && pooled !== undefined)
    for (const [at, name] of ['next', 'pooled'].entries()) {
      await origin.push(tinyImage(200 + at), `${repository}/${name}`, '1')
    }
    const isOn = async (node: string, image: string): Promise<boolean> =>
      (await cluster.imagesOn(node)).includes(image)
    const hostname = { key: 'kubernetes.io/hostname', operator: 'In', values: [second] }
    await withPuller(
      [...wanted, next],
      async ({ nodes }) => {
        const fresh = async (): Promise<DaemonSet['metadata']> =>
          (await shards()).get('kip-fresh')?.metadata
        const mark = 'images.kip/first'
        await waitUntil(
          'the fresh shard',
          async () => (await fresh())?.annotations?.[mark] === first,
          30_000,
        )
        await waitUntil('it there', () => isOn(first, next), 30_000)
        await waitUntil('it everywhere', () => isOn(second, next), 60_000)
        await waitUntil('the counts', () => nodes(next)?.cached === 2, 60_000)
        await waitUntil('the count', () => nodes(pooled)?.cached === 1, 60_000)
        assert.equal(nodes(pooled)?.desired, 1)
        assert.ok(await isOn(second, pooled))
        assert.ok(!(await isOn(first, pooled)))
      },
      {
        ...{ KIP_PULLER_STRATEGY: 'init', KIP_IMAGE: reference(upstream) },
        ...{ KIP_PULLER_WHERE: 'used', KIP_PULLER_PODS_PER_NODE: '4' },
        KIP_MIRROR_PRE_CACHE_WAIT_SECONDS: '0',
      },
      {
        inUse: new Map([[pooled, { terms: [[hostname]], tolerations: [] }]]),
        nodesBefore: (image) => (image === next ? [first] : []),
      },
    )
  })

  it('lets go of everything when nothing is wanted', async () => {
    await withPuller([], async () => {
      await waitUntil('no DaemonSet', async () => (await names()) === '', 120_000)
    })
  })
}
