import { createObject } from '../../../src/kube/apply.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeList } from '../../../src/kube/types.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import type { Cluster } from '../../cluster/index.ts'
import { deployKip, kipNamespace } from '../../support/kip.ts'
import { waitUntil } from '../../support/wait-until.ts'
import type { BenchOptions } from '../bench.ts'
import { benchCluster } from '../harness/cluster.ts'
import { isAtRest } from './at-rest.ts'
import { listenToNodes, type NodeEvents } from './node-events.ts'

/** Two nodes with kip deployed as users do, its mirror off. */
export interface ChainWorld extends AsyncDisposable {
  readonly cluster: Cluster
  readonly events: NodeEvents
  /** Pushes so many images that nobody has seen, and gives their names. */
  newImages(count: number): Promise<readonly string[]>
  /** Creates a Deployment of no replicas for each image, all at once. */
  createWorkloads(images: readonly string[]): Promise<void>
  /** Pulls images one by one, on all nodes at the same time, by containerd's own client. */
  pullBare(images: readonly string[]): Promise<void>
  /** Waits until kip has nothing on its way. */
  rest(): Promise<void>
}

const deployments = { group: 'apps', version: 'v1', plural: 'deployments', namespace: 'default' }
const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace: kipNamespace }
const patienceMs = 300_000

/** Brings up a cluster of two nodes and kip on it; takes it down when disposed of. */
export async function createChainWorld({ report, signal }: BenchOptions): Promise<ChainWorld> {
  await using cleanup = new AsyncDisposableStack()
  const { cluster } = cleanup.use(await benchCluster({ nodes: 2, place: 'disk', report, signal }))
  const { origin } = cluster.registries
  await deployKip(cluster, { report, config: {} })
  const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
  cleanup.defer(() => client.close())
  const events = cleanup.use(await listenToNodes(cluster))
  let pushed = 0
  const disposal = cleanup.move()
  return {
    cluster,
    events,
    async newImages(count) {
      const names: string[] = []
      for (let left = count; left > 0; left -= 1) {
        pushed += 1
        const repository = `late-${pushed}`
        await origin.push(tinyImage(10_000 + pushed), repository, '1')
        names.push(`${origin.host}/${repository}:1`)
      }
      return names
    },
    async createWorkloads(images) {
      await Promise.all(
        images.map((image) => createObject(client, deployments, workload(image), { signal })),
      )
    },
    async pullBare(images) {
      const options = { timeoutMs: patienceMs, signal }
      await Promise.all(cluster.nodes.map((node) => cluster.pullImages(node.name, images, options)))
    },
    async rest() {
      await waitUntil(
        'kip to have nothing on its way',
        async () => {
          const request = { method: 'GET', path: resourcePath(daemonSets), signal } as const
          const { items } = await client.request<KubeList<DaemonSet>>(request)
          return (items ?? []).every(isAtRest)
        },
        patienceMs,
      )
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  }
}

function workload(image: string) {
  const name = image.replace(/^.*\/|:.*$/g, '')
  const labels = { app: name }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      // A pod of its own would pull the image, where it runs.
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'main', image }] } },
    },
  }
}
