import type { NodeSettings } from '../../cluster/node/settings.ts'
import { type Case, OURS } from '../harness/case.ts'
import type { Contender } from '../harness/rounds.ts'
import { listenToNodes } from './node-events.ts'
import { createAll, kipsShards, type Way, waysOf } from './ways.ts'
import type { World } from './world.ts'

export const TWO_SHARDS = 'kip, 2 shards'
const ONE_BY_ONE = 'ctr one by one'

export const count = 20
const patienceMs = 400_000
/** Of each answer of the registry: a pull of three or four requests takes a second or so, as a large image does. */
export const throttle = [{ delayMs: 300 }]

/** A kubelet and a containerd that are told to do several things at once, as large nodes are. */
const parallel: NodeSettings = {
  downloads: 30,
  kubelet: { serializeImagePulls: false, maxParallelImagePulls: 6 },
}

/** Nodes that have nothing yet, and a registry that takes its time. */
export const coldCases: readonly Case<World>[] = [
  {
    name: 'cold-node',
    title: `${count} images on a node that has none, of a registry that answers after 300 ms`,
    contenders: async (world) => {
      await world.configure({})
      const images = world.images.slice(0, count)
      return [
        ...(await waysOf(world, images)).map((way) => filling(world, images, way)),
        oneByOne(world, images),
      ]
    },
    goals: [{ kind: 'ratio', figure: 'wallMs', of: OURS, beside: [ONE_BY_ONE], atMost: 1 }],
    mostRounds: 3,
  },
  {
    name: 'cold-parallel-node',
    title: `the same on a node that pulls six images at once, with 2 and with 3 shards`,
    contenders: async (world) => {
      await world.configure(parallel)
      const images = world.images.slice(0, count)
      return [
        filling(world, images, await kipsShards(world, images, 3)),
        filling(world, images, { ...(await kipsShards(world, images, 2)), name: TWO_SHARDS }),
        oneByOne(world, images),
      ]
    },
    goals: [{ kind: 'ratio', figure: 'wallMs', of: OURS, beside: [ONE_BY_ONE], atMost: 0.45 }],
    mostRounds: 7,
  },
]

function filling(world: World, images: readonly string[], { name, sets }: Way): Contender {
  return {
    name,
    run: (_round, signal) =>
      timeCold(world, images, () => createAll(world.client, sets, signal), signal),
  }
}

function oneByOne(world: World, images: readonly string[]): Contender {
  return {
    name: ONE_BY_ONE,
    run: (_round, signal) => timeCold(world, images, () => pullBare(world, images, signal), signal),
  }
}

export async function pullBare(
  { cluster, node }: World,
  images: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await cluster.pullImages(node, images, { timeoutMs: patienceMs, signal })
}

/** Empties the node, and times from `start` until containerd has all images. */
export async function timeCold(
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
export async function empty(world: World): Promise<void> {
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
