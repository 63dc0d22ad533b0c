import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { createObject, deleteObject } from '../../../src/kube/apply.ts'
import type { DaemonSet, Pod } from '../../../src/kube/types.ts'
import { type Case, OURS } from '../harness/case.ts'
import { count, empty, pullBare, TWO_SHARDS, throttle, timeCold } from './cold-node.ts'
import { listenToNodes } from './node-events.ts'
import { createAll, kipsShards, waysOf } from './ways.ts'
import type { World } from './world.ts'

const WITHOUT = 'without kip, one pull more'

/** Of the pod of a user; by then the first pulls are under way. */
const startMs = 3000
const userPods = { group: '', version: 'v1', plural: 'pods', namespace: 'default' }

/** What a user's pod waits for on a node that is being filled. */
export const userPodCases: readonly Case<World>[] = [
  {
    name: 'user-pod',
    title: `a pod of another image, created while ${count} images are being pulled: until that is there`,
    contenders: async (world) => {
      await world.configure({})
      const images = world.images.slice(0, count)
      const ways = [
        ...(await waysOf(world, images)),
        { ...(await kipsShards(world, images, 2)), name: TWO_SHARDS },
      ]
      return [
        ...ways.map(({ name, sets }) => ({
          name,
          run: (round: number, signal: AbortSignal) => timeUserPod(world, sets, round, signal),
        })),
        {
          name: WITHOUT,
          async run(round, signal) {
            const { wallMs } = await timeUserPod(world, [], round, signal)
            const pull = () => pullBare(world, images.slice(0, 1), signal)
            return {
              wallMs: wallMs + (await timeCold(world, images.slice(0, 1), pull, signal)).wallMs,
            }
          },
        },
      ]
    },
    goals: [{ kind: 'difference', figure: 'wallMs', of: OURS, from: WITHOUT, atMost: 0 }],
    mostRounds: 7,
  },
]

/** Times from a pod's creation until its image is there, some time after these DaemonSets were created. */
async function timeUserPod(
  world: World,
  sets: readonly DaemonSet[],
  round: number,
  signal: AbortSignal,
): Promise<{ readonly wallMs: number }> {
  const { changed: image, client } = world
  await empty(world)
  await using _trouble = await world.cluster.registries.origin.trouble(throttle)
  using events = await listenToNodes(world.cluster)
  await createAll(client, sets, signal)
  // At another moment of the pull that is going on each time.
  await delay(startMs + (round % 4) * 350, undefined, { signal })
  const name = `user-${randomBytes(3).toString('hex')}`
  const before = performance.now()
  const spec = { terminationGracePeriodSeconds: 0, containers: [{ name: 'main', image }] }
  const pod: Pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec }
  await createObject(client, userPods, pod, { signal })
  const wallMs = (await events.everywhere([image], signal)) - before
  await deleteObject(client, userPods, name, { signal })
  return { wallMs }
}
