import { type Case, OURS } from '../harness/case.ts'
import type { Goal } from '../harness/goals.ts'
import type { Figure } from '../harness/measurement.ts'
import { loadContender } from './contenders.ts'
import { podPairs } from './pod-pairs.ts'
import { limitedGo, limitedKip } from './under-limit.ts'
import type { World } from './world.ts'

const IN_FLIGHT = 16
const REQUESTS = 20_000
const LONG = 100_000
const FEW_IMAGES = 10
const MANY_IMAGES = 10_000

/** What KIP's values give its container, and requests enough for a hundred periods of such a quota. */
const CORES = 0.2
const REQUESTS_UNDER_LIMIT = 10_000
/** What a figure may lose to something else that goes on. */
const SLACK = 1.15

const PAIRS = 5_000

const optedOut = 'opted out'
const quiet = 'kip, not mirroring'
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
    goals: (['wallMs', 'cpuMs', 'p99Ms'] as const).map((figure) => beside(withFew, figure, SLACK)),
  },
  {
    name: 'beside-mirror',
    title: `the same, under a CPU limit of ${CORES * 1000}m, the leader mirroring under it too`,
    contenders: async (world) => {
      const options = {
        ...{ world, cores: CORES },
        ...{ requests: REQUESTS_UNDER_LIMIT, inFlight: IN_FLIGHT },
      }
      return [
        limitedKip({ ...options, name: OURS, mirroring: true }),
        limitedKip({ ...options, name: quiet, mirroring: false }),
        limitedGo({ ...options, name: 'go', images: FEW_IMAGES }),
      ]
    },
    // Within 15 % of what it is without mirroring, and of the goals of `review`. Not the 99th percentile beside Go: with
    // more work than the quota allows, whoever is asked stands still for most of each period, and both show just that.
    goals: [
      ...(['wallMs', 'cpuMs', 'p99Ms'] as const).map((figure) => beside(quiet, figure, SLACK)),
      beside('go', 'wallMs', SLACK / 1.4),
      beside('go', 'cpuMs', SLACK * 0.82),
    ],
  },
  {
    name: 'api-server',
    title: `pods of 7 KB on a real API server, ${PAIRS} pairs, one at a time`,
    // What the API server itself spends on applying kip's patch is printed beside, and has no goal.
    contenders: async (world) =>
      podPairs({
        ...{ world, withKip: OURS, without: optedOut },
        ...{ constant: 'constant patch', pairs: PAIRS },
      }),
    goals: [
      { kind: 'difference', figure: 'p50Ms', of: OURS, from: optedOut, atMost: 2 },
      { kind: 'difference', figure: 'p99Ms', of: OURS, from: optedOut, atMost: 8 },
    ],
    // Of a minute each; every one of them has to reach the goals.
    mostRounds: 3,
  },
]
