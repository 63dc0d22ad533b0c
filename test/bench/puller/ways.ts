import { createObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import type { DaemonSet } from '../../../src/kube/types.ts'
import { OURS } from '../harness/case.ts'
import { KIPS_WAY } from './kips-way.ts'
import { daemonSets, type World } from './world.ts'

/** The DaemonSets by which images are held, as a new node finds them. */
export interface Way {
  readonly name: string
  readonly sets: readonly DaemonSet[]
}

/** kip's, and KIP's. */
export async function waysOf(world: World, images: readonly string[]): Promise<readonly Way[]> {
  const ours = await kipsShards(world, images, 1)
  return [ours, { name: KIPS_WAY, sets: [world.kipsSet(images)] }]
}

/** What kip makes, once it has come to rest. */
export async function kipsShards(
  world: World,
  images: readonly string[],
  spread: number,
): Promise<Way> {
  await world.clear()
  await world.holdByKip(images, { spread })
  return { name: OURS, sets: await world.shards() }
}

/** Makes them as nobody who looks after them does. */
export async function createAll(
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
