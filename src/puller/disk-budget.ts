import { isLinux } from './architectures.ts'
import { admitsDaemon, type NodeDemand } from './node-fit.ts'
import type { NodeView } from './node-view.ts'
import type { Wanted } from './wanted.ts'
import { byWorth } from './worth.ts'

/**
 * Bytes on a node's disk for each compressed byte: containerd keeps the compressed layers, and unpacked they take about two
 * and a half times as much (gzip on file systems of programs and libraries).
 */
const diskBytesPerByte = 3.5

export interface BudgetInput {
  readonly wanted: ReadonlyMap<string, Wanted>
  /** References that nodes hold. */
  readonly held: ReadonlySet<string>
  /** Bytes of disk that images may take on the smallest node; undefined: as many as there are. */
  readonly bytes: number | undefined
}

/**
 * References that are left out since the disk of a node is not to be filled: all but those worth most, by use and by what
 * pulling them anew would cost. Of an image whose size is not known nothing is counted. Pure.
 */
export function overBudget({ wanted, held, bytes }: BudgetInput): ReadonlySet<string> {
  const out = new Set<string>()
  if (bytes === undefined) return out
  let left = bytes
  for (const { reference, bestEffort, sizeBytes = 0 } of byWorth(wanted, held)) {
    // The same bytes under another name.
    const own = bestEffort ? 0 : sizeBytes * diskBytesPerByte
    if (own > left) out.add(reference)
    else left -= own
  }
  return out
}

/** The share of the smallest disk among the nodes that are served; undefined: not known, or no share is set. */
export function budgetBytes(
  nodes: readonly NodeView[] | undefined,
  demand: NodeDemand,
  percent: number,
): number | undefined {
  const disks = (nodes ?? [])
    .filter((node) => isLinux(node) && node.diskBytes > 0 && admitsDaemon(node, demand))
    .map(({ diskBytes }) => diskBytes)
  if (percent >= 100 || disks.length === 0) return undefined
  return (Math.min(...disks) * percent) / 100
}
