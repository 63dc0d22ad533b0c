import { readFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeList, Pod } from '../../../src/kube/types.ts'
import { imageOf, layerOf } from '../../cluster/images/image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { upstreamPullerImage } from '../../cluster/images/upstream-puller.ts'
import type { Cluster } from '../../cluster/index.ts'
import type { NodeSettings } from '../../cluster/node/settings.ts'
import { sleepProgram } from '../../cluster/sleep-program.ts'
import { pullerSettings } from '../../support/puller-settings.ts'
import { startPuller } from '../../support/running-puller.ts'
import { waitUntil } from '../../support/wait-until.ts'
import type { BenchOptions } from '../bench.ts'
import { benchCluster } from '../harness/cluster.ts'
import { benchProgram } from '../peers/build.ts'
import { isAtRest } from './at-rest.ts'
import { holdingShards } from './holding-shards.ts'
import { kipsDaemonSet } from './kips-way.ts'

/** One node, its images, and both ways of holding them there. */
export interface World extends AsyncDisposable {
  readonly cluster: Cluster
  readonly client: KubeClient
  readonly node: string
  /** As many as KIP's way and kip are to hold. */
  readonly images: readonly string[]
  /** One more. */
  readonly changed: string
  /**
   * KIP's way: makes the DaemonSet anew as soon as the one before is gone, as its refresh does (whose pods may still be
   * ending), and waits until its pod is ready.
   */
  holdKipsWay(images: readonly string[]): Promise<void>
  /**
   * The DaemonSet of KIP's way.
   *
   * @param requests of each container; by default next to nothing: what the chart asks for exceeds a small machine, and
   *   changes nothing that is used
   */
  kipsSet(images: readonly string[], requests?: Readonly<Record<string, string>>): DaemonSet
  /** kip's: runs the puller until all is held by shards that hold for good, under these circumstances. */
  holdByKip(images: readonly string[], under?: Circumstances): Promise<void>
  pods(): Promise<readonly Pod[]>
  /** All DaemonSets that are there. */
  shards(): Promise<readonly DaemonSet[]>
  /** The DaemonSets that kip holds images by for good. */
  ownSets(images: readonly string[]): readonly DaemonSet[]
  /** Has the node's containerd pull all images, and the programs of both ways. */
  fill(): Promise<void>
  /** Waits until the pods that are there are ready. */
  ready(): Promise<void>
  /** Starts the node anew with these settings, emptied of pods, unless it has them. */
  configure(settings: NodeSettings): Promise<void>
  /** Starts the node anew, with the images that it has. */
  restart(): Promise<void>
  /** Ends all that holds images, and waits until its pods are gone. */
  clear(): Promise<void>
}

/** What may have changed since the puller ran last. */
export interface Circumstances {
  /** Tag of its sleep image, 1 or 2: an update of kip brings another one. */
  readonly sleep?: string
  /** Shards that the images are spread over; default: 1. */
  readonly spread?: number
  /** What tags are now, by their references. */
  readonly tags?: ReadonlyMap<string, string>
}

const count = 100
const namespace = 'bench'
const kipsWay = 'kips-way'
/** Where whatever holds images is. */
export const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
const podResource = { group: '', version: 'v1', plural: 'pods', namespace }
const nodeSelector = { 'kubernetes.io/os': 'linux' }
const patienceMs = 400_000

/** Brings up a cluster of one node and fills its registry; takes it down when disposed of. */
export async function createWorld({ report, signal }: BenchOptions): Promise<World> {
  const goSleep = await benchProgram('go-sleep', { report, signal })
  const program = await sleepProgram({ report, signal })
  await using cleanup = new AsyncDisposableStack()
  const { cluster } = cleanup.use(await benchCluster({ nodes: 1, place: 'disk', report, signal }))
  const { origin } = cluster.registries
  const reference = (repository: string, tag = '1'): string => `${origin.host}/${repository}:${tag}`
  const sleep = await readFile(program)
  const own = imageOf({
    layers: [layerOf([{ kind: 'file', path: '/kip/sleep', content: sleep, mode: 0o755 }])],
  })
  for (const tag of ['1', '2']) await origin.push(own, 'kip-sleep', tag)
  const upstream = await upstreamPullerImage(await readFile(goSleep), { signal })
  await origin.push(upstream, 'kubernetes-image-puller', '1')
  const names = Array.from({ length: count + 1 }, (_, index) => `held-${index}`)
  for (const [index, held] of names.entries()) await origin.push(tinyImage(index), held, '1')

  const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
  cleanup.defer(() => client.close())
  await prepareNamespace(client, signal)
  const [changed = '', ...images] = names.map((name) => reference(name))
  const node = cluster.nodes[0]?.name ?? ''

  const pods = async (): Promise<readonly Pod[]> => {
    const request = { method: 'GET', path: resourcePath(podResource), signal } as const
    return (await client.request<KubeList<Pod>>(request)).items ?? []
  }
  const shards = async (): Promise<readonly DaemonSet[]> => {
    const request = { method: 'GET', path: resourcePath(daemonSets), signal } as const
    return (await client.request<KubeList<DaemonSet>>(request)).items ?? []
  }
  const clear = async (): Promise<void> => {
    for (const { metadata } of await shards())
      await deleteObject(client, daemonSets, metadata?.name ?? '', {
        propagationPolicy: 'Background',
        signal,
      })
    await waitUntil('the pods to be gone', async () => (await pods()).length === 0, patienceMs)
  }
  const [ownSleep, theirSleep] = [reference('kip-sleep'), reference('kubernetes-image-puller')]
  const kipsSet: World['kipsSet'] = (held, requests = { cpu: '1m', memory: '1Mi' }) =>
    kipsDaemonSet({
      ...{ name: kipsWay, namespace, images: held, nodeSelector, requests },
      sleepImage: theirSleep,
    })
  let configured: NodeSettings = {}
  const disposal = cleanup.move()
  return {
    ...{ cluster, node, images, changed, kipsSet, pods, shards, clear, client },
    ownSets(held) {
      const IMAGES = held.map((image, index) => `i${index}=${image}`).join(';')
      const settings = pullerSettings(namespace, { KIP_IMAGE: ownSleep, IMAGES })
      return holdingShards(settings, cluster.nodes.length)
    },
    fill: () =>
      cluster.pullImages(node, [...images, ownSleep, theirSleep], {
        timeoutMs: patienceMs,
        signal,
      }),
    async ready() {
      await waitUntil('ready pods', async () => areReady(await pods(), 1), patienceMs)
    },
    async holdKipsWay(held) {
      await deleteObject(client, daemonSets, kipsWay, { propagationPolicy: 'Background', signal })
      await waitUntil(
        'the DaemonSet to be gone',
        async () => (await getObject(client, daemonSets, kipsWay, { signal })) === undefined,
        patienceMs,
      )
      await createObject(client, daemonSets, kipsSet(held), { signal })
      await waitUntil('the pod of KIP', async () => areReady(await pods(), 1), patienceMs)
    },
    async holdByKip(held, { sleep = '1', tags = new Map(), spread = 1 } = {}) {
      const sleepImage = reference('kip-sleep', sleep)
      await using running = await startPuller({
        ...{ client, namespace, images: held, sleepImage, spread },
        env: { KIP_PULLER_PODS_PER_NODE: String(Math.max(3, spread + 1)) },
      })
      for (const [tag, digest] of tags) await running.resolve(tag, digest)
      await waitUntil(
        'the images to be held for good',
        async () => {
          const sets = await shards()
          return (
            sets.length >= spread &&
            sets.every((set) => isAtRest(set) && mentions([set], [sleepImage])) &&
            mentions(sets, [...held, ...tags.values()]) &&
            areReady(await pods(), 1)
          )
        },
        patienceMs,
      )
    },
    async configure(settings) {
      if (isDeepStrictEqual(settings, configured)) return
      await clear()
      await cluster.configureNode(node, settings)
      configured = settings
    },
    restart: () => cluster.configureNode(node, configured),
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  }
}

async function prepareNamespace(client: KubeClient, signal: AbortSignal): Promise<void> {
  const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
  await createObject(client, namespaces, object, { signal })
  const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace }
  await waitUntil(
    'the default service account',
    () => getObject(client, accounts, 'default', { signal }),
    20_000,
  )
}

function areReady(pods: readonly Pod[], least: number): boolean {
  return (
    pods.length >= least &&
    pods.every(({ metadata, status }) => {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready')
      return metadata?.deletionTimestamp === undefined && ready?.status === 'True'
    })
  )
}

/** By whatever strategy: an image stands in a template that holds it, and what its tag is in an annotation. */
function mentions(sets: readonly DaemonSet[], texts: readonly string[]): boolean {
  const said = JSON.stringify(sets.map(({ metadata, spec }) => [metadata?.annotations, spec]))
  return texts.every((text) => said.includes(text))
}
