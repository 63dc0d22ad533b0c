import { type Case, OURS } from '../harness/case.ts'
import type { Contender } from '../harness/rounds.ts'
import { containersOf } from './containers.ts'
import { chartRequests, KIPS_WAY } from './kips-way.ts'
import { listenToNodes } from './node-events.ts'
import { nodeMemory, total } from './node-memory.ts'
import { reservedBy } from './reserved.ts'
import { createAll, type Way } from './ways.ts'
import type { World } from './world.ts'

/** Holds images on the node and says how long it took. */
type Hold = (world: World, images: readonly string[]) => Promise<void>

const ways: readonly (readonly [string, Hold])[] = [
  [OURS, (world, images) => world.holdByKip(images)],
  [
    KIPS_WAY,
    async (world, images) => {
      await world.holdKipsWay(images)
    },
  ],
]

/** Every case, with the goals that it has to reach. */
export const cases: readonly Case<World>[] = [
  {
    name: 'memory',
    title: '100 images held on one node: what is reserved there, and what is used',
    contenders: async (world) => {
      await world.configure({})
      await world.fill()
      const { images } = world
      return [
        memoryContender(world, { name: OURS, sets: world.ownSets(images) }),
        memoryContender(world, { name: KIPS_WAY, sets: [world.kipsSet(images)] }),
      ]
    },
    goals: [
      { kind: 'bound', figure: 'reservedCpu', of: OURS, atMost: 10 },
      { kind: 'bound', figure: 'reservedMib', of: OURS, atMost: 16 },
      { kind: 'ratio', figure: 'nodeMib', of: OURS, beside: [KIPS_WAY], atMost: 0.15 },
    ],
    mostRounds: 3,
  },
  {
    name: 'change',
    title:
      '1 of 100 images changes: containers made anew on one node, beyond its shard and the fresh one',
    contenders: async (world) => {
      await world.configure({})
      return ways.map(([name, hold]) => changeContender(world, name, hold))
    },
    goals: [
      { kind: 'bound', figure: 'restarts', of: OURS, atMost: 0 },
      { kind: 'bound', figure: 'containers', of: OURS, atMost: 3 },
    ],
    mostRounds: 3,
  },
]

/** What the images' pulling left in the heap of containerd is no cost of holding them: it starts anew each time. */
function memoryContender(world: World, { name, sets }: Way): Contender {
  return {
    name,
    async run(_round, signal) {
      const { cluster, node, images } = world
      await world.clear()
      await world.restart()
      const before = await nodeMemory(cluster, node, signal)
      const start = performance.now()
      await createAll(world.client, sets, signal)
      await world.ready()
      const wallMs = performance.now() - start
      const after = await nodeMemory(cluster, node, signal)
      // KIP's way with the requests of its chart, which no pod here was made with.
      const asked = name === KIPS_WAY ? [world.kipsSet(images, chartRequests)] : sets
      const reserved = asked.map(({ spec }) => reservedBy(spec?.template?.spec ?? {}))
      return {
        wallMs,
        reservedCpu: reserved.reduce((sum, { cpu }) => sum + cpu, 0),
        reservedMib: reserved.reduce((sum, { mib }) => sum + mib, 0),
        nodeMib: (total(after) - total(before)) / 2 ** 20,
        podsMib: (after.pods - before.pods) / 2 ** 20,
        shimsMib: (after.shims - before.shims) / 2 ** 20,
        containerdMib: (after.containerd - before.containerd) / 2 ** 20,
      }
    },
  }
}

function changeContender(world: World, name: string, hold: Hold): Contender {
  return {
    name,
    async run() {
      const { images, changed, cluster } = world
      await world.clear()
      await hold(world, images)
      const before = containersOf(await world.pods())
      using events = await listenToNodes(cluster)
      const start = performance.now()
      await hold(world, [...images.slice(1), changed])
      const wallMs = performance.now() - start
      const made = [...containersOf(await world.pods())].filter(([id]) => !before.has(id))
      const other = made.filter(([, shard]) => shard !== 'kip')
      return {
        wallMs,
        restarts: name === OURS ? other.length : made.length,
        // Those that came and went count too.
        containers: events.containersMade(),
      }
    },
  }
}
