import { type Case, OURS } from '../harness/case.ts'
import type { Goal } from '../harness/goals.ts'
import type { Figure } from '../harness/measurement.ts'
import { loadContender } from './contenders.ts'
import type { World } from './world.ts'

const IN_FLIGHT = 16
const REQUESTS = 20_000
const LONG = 100_000
const FEW_IMAGES = 10
const MANY_IMAGES = 10_000

const withFew = `kip, ${FEW_IMAGES} images`
const short = `kip, ${REQUESTS} requests`

const beside = (name: string, figure: Figure, atMost: number): Goal => ({
  ...{ kind: 'ratio', figure, of: OURS },
  ...{ beside: [name], atMost },
})

/** Every case, with the goals that it has to reach; times are those of 1,000 requests. */
export const cases: readonly Case<World>[] = [
  {
    name: 'review',
    title: `pod of 7 KB, 3 images rewritten, ${IN_FLIGHT} in flight, TLS, one core; 1,000 requests`,
    contenders: async (world) =>
      (['kip', 'go'] as const).map((server) =>
        loadContender({
          ...{ world, server, images: FEW_IMAGES },
          ...{ requests: REQUESTS, inFlight: IN_FLIGHT },
        }),
      ),
    // 1.4 times as many requests a second.
    goals: [
      beside('go', 'wallMs', 1 / 1.4),
      beside('go', 'cpuMs', 0.82),
      beside('go', 'p99Ms', 0.7),
    ],
  },
  {
    name: 'long',
    title: `the same, ${LONG} requests`,
    contenders: async (world) =>
      [
        { name: OURS, requests: LONG },
        { name: short, requests: REQUESTS },
      ].map((one) =>
        loadContender({
          ...{ world, server: 'kip', images: FEW_IMAGES, inFlight: IN_FLIGHT },
          ...one,
        }),
      ),
    goals: [
      { kind: 'bound', figure: 'rssMib', of: OURS, atMost: 120e6 / 2 ** 20 },
      beside(short, 'rssMib', 1.1),
    ],
  },
  {
    name: 'many-images',
    title: `the same, ${MANY_IMAGES} images in the map`,
    contenders: async (world) =>
      [
        { name: OURS, images: MANY_IMAGES },
        { name: withFew, images: FEW_IMAGES },
      ].map((one) =>
        loadContender({
          ...{ world, server: 'kip', requests: REQUESTS, inFlight: IN_FLIGHT },
          ...one,
        }),
      ),
    goals: (['wallMs', 'cpuMs', 'p99Ms'] as const).map((figure) => beside(withFew, figure, 1.15)),
  },
]
