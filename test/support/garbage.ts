import { tinyImage } from '../cluster/images/tiny.ts'
import type { Cluster } from '../cluster/index.ts'
import { PAUSE_IMAGE } from '../cluster/node/configuration.ts'
import type { NodeSettings } from '../cluster/node/settings.ts'
import { waitUntil } from './wait-until.ts'

/** Of a node whose images are to be collected: a small disk, and no image too young to go. */
export const collectingNode: NodeSettings = {
  diskMib: 1024,
  kubelet: { imageMinimumGCAge: '-1s' },
}

/** A kubelet collects when less than this share of the disk is free (`imagefs.available`). */
const FREE_SHARE = 0.15
const baitMib = 40
/** So much less is free than that; the bait takes about twice its size, so that without it all is well again. */
const shortMib = 30
const patienceMs = 60_000

/** Pushes an image to be collected. @returns its name */
export async function pushBait(cluster: Cluster): Promise<string> {
  const { origin } = cluster.registries
  const repository = 'bait'
  await origin.push(tinyImage(1_000_000, baitMib * 2 ** 20), repository, '1')
  return `${origin.host}/${repository}:1`
}

/**
 * Has a kubelet collect image garbage by a disk that is nearly full, and sees that it did: an image that nothing uses is gone
 * afterwards. No pod needs to be evicted for it. The node is to be a {@link collectingNode}.
 */
export async function collectGarbage(
  cluster: Cluster,
  node: string,
  bait: string,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  await cluster.pullImages(node, [bait], signal ? { signal } : {})
  const { sizeMib } = await cluster.disk(node)
  await cluster.fillDisk(node, sizeMib * FREE_SHARE - shortMib)
  try {
    const isGone = async () => !(await cluster.imagesOn(node)).includes(bait)
    await waitUntil('an image that nothing uses to be collected', isGone, patienceMs)
  } finally {
    await cluster.fillDisk(node)
  }
}

/** Waits until a kubelet takes pods, which it refuses for some seconds after a collection for want of room. */
export async function untilAdmitting(cluster: Cluster, node: string): Promise<void> {
  const name = 'admitted'
  const spec = {
    nodeName: node,
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'main', image: PAUSE_IMAGE }],
  }
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec })
  const remove = ['delete', 'pod', name, '--ignore-not-found', '--force', '--grace-period=0']
  const phase = ['get', 'pod', name, '-o', 'jsonpath={.status.phase}', '--ignore-not-found']
  await waitUntil(
    `node ${node} to take pods`,
    async () => {
      const now = await cluster.kubectl(phase)
      if (now === 'Failed') await cluster.kubectl(remove)
      else if (now === '') await cluster.kubectl(['create', '-f', '-'], { input })
      return now === 'Running'
    },
    patienceMs,
  )
  await cluster.kubectl(remove)
}
