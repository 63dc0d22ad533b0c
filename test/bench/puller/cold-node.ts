import { createObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeList } from '../../../src/kube/types.ts'
import { type Case, OURS } from '../harness/case.ts'
import { pullBare } from './bare-pull.ts'
import { listenToNodes } from './node-events.ts'
import { daemonSets, type World } from './world.ts'

const KIPS_WAY = "KIP's way"
const ONE_BY_ONE = 'ctr one by one'

const count = 20
/** Of each answer of the registry: a pull of three or four requests takes a second or so, as a large image does. */
const throttle = [{ delayMs: 300 }]

/** Nodes that have nothing yet, and a registry that takes its time. */
export const coldCases: readonly Case<World>[] = [
  {
    name: 'cold-node',
    title: `${count} images on a node that has none, of a registry that answers after 300 ms`,
    contenders: async (world, signal) => {
      const images = world.images.slice(0, count)
      const ways = await shardsOf(world, images, signal)
      const fill = (name: string, start: () => Promise<unknown>) => ({
        name,
        run: (_round: number, signal: AbortSignal) => timeCold(world, images, start, signal),
      })
      return [
        ...ways.map(([name, sets]) => fill(name, () => createAll(world.client, sets, signal))),
        fill(ONE_BY_ONE, () => pullBare(world.cluster, world.node, images, signal)),
      ]
    },
    goals: [{ kind: 'ratio', figure: 'wallMs', of: OURS, beside: [ONE_BY_ONE], atMost: 1 }],
    mostRounds: 3,
  },
]

/** The DaemonSets by which each way holds these images, as a new node finds them. */
async function shardsOf(
  world: World,
  images: readonly string[],
  signal: AbortSignal,
): Promise<readonly (readonly [string, readonly DaemonSet[]])[]> {
  await world.clear()
  await world.holdByKip(images)
  const ours = await listAll(world.client, signal)
  await world.holdKipsWay(images)
  const theirs = await listAll(world.client, signal)
  return [
    [OURS, ours],
    [KIPS_WAY, theirs],
  ]
}

/** Empties the node, and times from `start` until containerd has all images. */
async function timeCold(
  world: World,
  images: readonly string[],
  start: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<{ readonly wallMs: number }> {
  await empty(world)
  await using _trouble = await world.cluster.registries.origin.trouble(throttle)
  using events = await listenToNodes(world.cluster)
  const before = performance.now()
  await start()
  return { wallMs: (await events.everywhere(images, signal)) - before }
}

/** Removes all that was pulled, under every name: under its id alone an image keeps its content too. */
async function empty(world: World): Promise<void> {
  await world.clear()
  const { cluster, node } = world
  const { host } = cluster.registries.origin
  const lines = (await cluster.ctr(node, ['images', 'ls'])).split('\n').slice(1)
  const listed = lines.map((line) => line.split(/\s+/)).filter(([name = '']) => name !== '')
  const pulled = listed.filter(([name = '']) => name.startsWith(`${host}/`))
  const digests = new Set(pulled.map(([, , digest]) => digest))
  const names = listed.filter(([, , digest]) => digests.has(digest)).map(([name = '']) => name)
  await cluster.removeImages(node, names)
}

async function listAll(client: KubeClient, signal: AbortSignal): Promise<readonly DaemonSet[]> {
  const request = { method: 'GET', path: resourcePath(daemonSets), signal } as const
  return (await client.request<KubeList<DaemonSet>>(request)).items ?? []
}

async function createAll(
  client: KubeClient,
  sets: readonly DaemonSet[],
  signal: AbortSignal,
): Promise<void> {
  for (const one of sets) {
    // As it was asked for: what the server said of it goes.
    const { name = '', namespace = '', labels = {} } = one.metadata ?? {}
    const metadata = { name, namespace, labels }
    const object: DaemonSet = { ...one, apiVersion: 'apps/v1', kind: 'DaemonSet', metadata }
    await createObject(client, daemonSets, object, { signal })
  }
}
