import type { Settings } from '../../../src/config/settings.ts'
import type { DaemonSet } from '../../../src/kube/types.ts'
import { buildDaemonSet } from '../../../src/puller/daemon-set.ts'
import { named } from '../../../src/puller/draft.ts'
import { capacityOf } from '../../../src/puller/etcd-budget.ts'

/** What a kip would have left that has filled a cluster of so many nodes with its static images. */
export function holdingShards(
  { namespace, puller }: Settings,
  nodes: number,
): readonly DaemonSet[] {
  const capacity = capacityOf('holding', 'volume', nodes)
  return Array.from({ length: Math.ceil(puller.images.length / capacity) }, (_, index) => {
    const own = puller.images.slice(index * capacity, (index + 1) * capacity)
    // Named as what is found in pods is.
    const wanted = own.map(({ image }) => ({ reference: image, bestEffort: false }))
    return buildDaemonSet(
      { kind: 'holding', index: index + 1, members: named([], wanted) },
      { namespace, settings: puller, strategy: 'volume', owner: undefined },
    )
  })
}
