import { setTimeout as delay } from 'node:timers/promises'
import type { Pod } from '../../../src/kube/types.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { collectGarbage, collectingNode, pushBait, untilAdmitting } from '../../support/garbage.ts'
import { watchHeld } from '../../support/hold-watch.ts'
import { type Case, OURS } from '../harness/case.ts'
import type { Measurement } from '../harness/measurement.ts'
import { KIPS_WAY } from './kips-way.ts'
import type { World } from './world.ts'

const count = 20
/** What the tag that moves is at first, and then. */
const versions = [tinyImage(2_000_000), tinyImage(2_000_001)] as const
/** After a step: what it leaves behind would still be seen. */
const afterwardsMs = 2000
const lookMs = 50

/** Whether images are held while what holds them is begun anew, and kubelets collect garbage. */
export const protectionCases: readonly Case<World>[] = [
  {
    name: 'protection',
    title: `${count} images held through a restart, a moved tag and an update, garbage being collected`,
    contenders: async (world) => {
      await world.configure(collectingNode)
      const bait = await pushBait(world.cluster)
      const { host } = world.cluster.registries.origin
      const moving = `${host}/moving:1`
      const images = [moving, ...world.images.slice(1, count)]
      const kip = (version: 0 | 1, sleep: string) => () =>
        world.holdByKip(images, { sleep, tags: new Map([[moving, versions[version].digest]]) })
      const anew = () => world.holdKipsWay(images)
      return [
        {
          name: OURS,
          run: (_round, signal) =>
            holdThrough(world, images, bait, signal, {
              start: kip(0, '1'),
              restart: kip(0, '1'),
              refresh: kip(1, '1'),
              update: kip(1, '2'),
            }),
        },
        {
          name: KIPS_WAY,
          run: (_round, signal) =>
            holdThrough(world, images, bait, signal, {
              ...{ start: anew, restart: anew, refresh: anew, update: anew },
            }),
        },
      ]
    },
    goals: [
      { kind: 'bound', figure: 'unheldMs', of: OURS, atMost: 0 },
      { kind: 'bound', figure: 'lost', of: OURS, atMost: 0 },
    ],
    mostRounds: 3,
  },
]

type Step = () => Promise<void>

interface Way {
  readonly start: Step
  readonly restart: Step
  /** When the tag has moved. */
  readonly refresh: Step
  /** Of the program, which brings another sleep image. */
  readonly update: Step
}

/** Goes a way, and looks at the node all the while. */
async function holdThrough(
  world: World,
  images: readonly string[],
  bait: string,
  signal: AbortSignal,
  { start, restart, refresh, update }: Way,
): Promise<Measurement> {
  const { cluster, node } = world
  const { origin } = cluster.registries
  const [moving = '', ...others] = images
  const move = async (to: 0 | 1): Promise<void> => {
    await origin.push(versions[to], 'moving', '1')
  }
  await world.clear()
  await cluster.removeImages(node, await namesOf(world, moving))
  await move(0)
  await start()
  const digests = await Promise.all(
    others.map(async (image) => {
      const [repository = '', tag = ''] = image.slice(origin.host.length + 1).split(':')
      return [(await origin.digest(repository, tag)) ?? '']
    }),
  )
  const began = performance.now()
  const watch = await watchHeld(cluster, node, [versions.map(({ digest }) => digest), ...digests])
  try {
    await whileCollecting(world, bait, signal, restart)
    await move(1)
    await whileCollecting(world, bait, signal, refresh)
    await whileCollecting(world, bait, signal, update)
    await delay(afterwardsMs, undefined, { signal })
  } finally {
    await watch.end()
  }
  const { unheldMs, lost } = await watch.end()
  return { wallMs: performance.now() - began, unheldMs, lost }
}

/**
 * Takes a step, and has garbage collected as soon as it has made a pod, or is done. Until then the node is to take pods: one with
 * too little room takes none, and nothing would happen.
 */
async function whileCollecting(
  world: World,
  bait: string,
  signal: AbortSignal,
  step: Step,
): Promise<void> {
  const { cluster, node } = world
  await untilAdmitting(cluster, node)
  const before = new Set((await world.pods()).map(({ metadata }) => metadata?.uid))
  const isNew = ({ metadata, status }: Pod): boolean =>
    !before.has(metadata?.uid) && status?.containerStatuses !== undefined
  let isDone = false
  const take = async (): Promise<void> => {
    await step()
    isDone = true
  }
  const collect = async (): Promise<void> => {
    while (!isDone && !(await world.pods()).some(isNew)) await delay(lookMs, undefined, { signal })
    await collectGarbage(cluster, node, bait, { signal })
  }
  await Promise.all([take(), collect()])
}

async function namesOf({ cluster, node }: World, image: string): Promise<readonly string[]> {
  const [repository = ''] = image.split(':1')
  return (await cluster.imagesOn(node)).filter((name) => name.startsWith(repository))
}
