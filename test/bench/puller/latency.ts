import { type Case, OURS } from '../harness/case.ts'
import type { ChainWorld } from './chain-world.ts'

const BARE = 'bare pull'

/** From a workload's creation to its image's being on all nodes, beside the pull alone. */
export const latencyCases: readonly Case<ChainWorld>[] = [
  latencyCase(1, 3000),
  latencyCase(20, 5000),
]

type Way = (world: ChainWorld, images: readonly string[]) => Promise<void>

function latencyCase(count: number, atMost: number): Case<ChainWorld> {
  const ways: readonly (readonly [string, Way])[] = [
    [OURS, (world, images) => world.createWorkloads(images)],
    [BARE, (world, images) => world.pullBare(images)],
  ]
  return {
    name: `latency-${count}`,
    title: `${count} workload(s) created at once: until the images are on both nodes`,
    contenders: async (world) =>
      ways.map(([name, begin]) => ({
        name,
        async run(_round, signal) {
          const images = await world.newImages(count)
          await world.rest()
          const start = performance.now()
          await begin(world, images)
          return { wallMs: (await world.events.everywhere(images, signal)) - start }
        },
      })),
    goals: [{ kind: 'difference', figure: 'wallMs', of: OURS, from: BARE, atMost }],
    mostRounds: 5,
  }
}
