import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { loadSettings } from '../../../src/config/load.ts'
import { putStaticImages } from '../../../src/discovery/static-images.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeList, Pod, PodSpec } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { imageOf, layerOf } from '../../cluster/images/image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { upstreamPullerImage } from '../../cluster/images/upstream-puller.ts'
import { type Cluster, downCluster, upCluster } from '../../cluster/index.ts'
import { sleepProgram } from '../../cluster/sleep-program.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import type { BenchOptions } from '../bench.ts'
import { benchProgram } from '../peers/build.ts'
import { pullBare } from './bare-pull.ts'
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
  /** KIP's way: makes the DaemonSet anew, as its refresh does, and waits until its pod is ready. */
  holdKipsWay(images: readonly string[]): Promise<void>
  /** The pod of KIP's way as its chart asks for it, for so many images. */
  kipsSpec(images: readonly string[]): PodSpec
  /** kip's: runs the puller until all is held by shards that hold for good. */
  holdByKip(images: readonly string[]): Promise<void>
  pods(): Promise<readonly Pod[]>
  /** Has the node's containerd pull all images, so that nobody is the first to. */
  fill(): Promise<void>
  /** Ends all that holds images, and waits until its pods are gone. */
  clear(): Promise<void>
}

const count = 100
const namespace = 'bench'
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
  const name = `bench-${randomBytes(3).toString('hex')}`
  const cluster = await upCluster({ name, nodes: 1, owned: true, report, signal })
  cleanup.defer(async () => {
    await cluster[Symbol.asyncDispose]()
    await downCluster(name, { report: () => undefined })
  })
  const { origin } = cluster.registries
  const reference = (repository: string): string => `${origin.host}/${repository}:1`
  const sleep = await readFile(program)
  const own = imageOf({
    layers: [layerOf([{ kind: 'file', path: '/kip/sleep', content: sleep, mode: 0o755 }])],
  })
  await origin.push(own, 'kip-sleep', '1')
  const upstream = await upstreamPullerImage(await readFile(goSleep), { signal })
  await origin.push(upstream, 'kubernetes-image-puller', '1')
  const names = Array.from({ length: count + 1 }, (_, index) => `held-${index}`)
  for (const [index, held] of names.entries()) await origin.push(tinyImage(index), held, '1')

  const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
  cleanup.defer(() => client.close())
  await prepareNamespace(client, signal)
  const [changed = '', ...images] = names.map(reference)
  const node = cluster.nodes[0]?.name ?? ''

  const pods = async (): Promise<readonly Pod[]> => {
    const request = { method: 'GET', path: resourcePath(podResource), signal } as const
    return (await client.request<KubeList<Pod>>(request)).items ?? []
  }
  const clear = async (): Promise<void> => {
    const request = { method: 'GET', path: resourcePath(daemonSets), signal } as const
    const { items } = await client.request<KubeList<DaemonSet>>(request)
    for (const { metadata } of items ?? [])
      await deleteObject(client, daemonSets, metadata?.name ?? '', {
        propagationPolicy: 'Background',
        signal,
      })
    await waitUntil('the pods to be gone', async () => (await pods()).length === 0, patienceMs)
  }
  const disposal = cleanup.move()
  return {
    ...{ cluster, node, images, changed, pods, clear, client },
    fill: () => pullBare(cluster, node, [changed, ...images], signal),
    async holdKipsWay(held) {
      await clear()
      const options = { name: 'kips-way', namespace, images: held, nodeSelector }
      const sleepImage = reference('kubernetes-image-puller')
      // What the chart asks for exceeds a small machine; what is asked for changes nothing that is used.
      const requests = { cpu: '1m', memory: '1Mi' }
      const object = kipsDaemonSet({ ...options, sleepImage, requests })
      await createObject(client, daemonSets, object, { signal })
      await waitUntil('the pod of KIP', async () => areReady(await pods(), 1), patienceMs)
    },
    kipsSpec(held) {
      const sleepImage = reference('kubernetes-image-puller')
      const object = kipsDaemonSet({
        name: 'kips-way',
        namespace,
        images: held,
        sleepImage,
        nodeSelector,
      })
      return object.spec?.template?.spec ?? {}
    },
    async holdByKip(held) {
      const store = createMemoryStore()
      const { settings } = loadSettings({
        argv: [],
        env: {
          NAMESPACE: namespace,
          DAEMONSET_NAME: 'kip',
          KIP_IMAGE: reference('kip-sleep'),
          IMAGES: held.map((image, index) => `i${index}=${image}`).join(';'),
        },
        readFile: () => '',
      })
      await putStaticImages(store, settings.puller.images, { signal })
      const controller = new AbortController()
      const ended = createPuller({
        ...{ client, store, settings, log: silentLog() },
        mapping: createMapping({ registry: '', mapping: 'path' }),
        metrics: createMetrics({ processMetrics: false }),
      }).run(controller.signal)
      try {
        await waitUntil(
          'the images to be held for good',
          async () => {
            const alive = await pods()
            return areReady(alive, 1) && !alive.some(isOnItsWay) && holdsAll(alive, held)
          },
          patienceMs,
        )
      } finally {
        controller.abort()
        await ended
      }
    },
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

function isOnItsWay({ metadata }: Pod): boolean {
  return /-(fresh|apart)(-|$)/.test(metadata?.labels?.['images.kip/shard'] ?? '')
}

/** By whatever strategy: an image stands in the spec of a pod that holds it. */
function holdsAll(pods: readonly Pod[], images: readonly string[]): boolean {
  const held = JSON.stringify(pods.map(({ spec }) => spec))
  return images.every((image) => held.includes(`"${image}"`))
}
