import { type Ground, includes } from './ground.ts'
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
  readonly ground: Ground
  /** Share of a node's disk that images may take; 100: no bound. */
  readonly percent: number
}

/**
 * References that are left out since the disk of a node is not to be filled: all but those worth most, by use and by what
 * pulling them anew would cost; of nodes that are alike the smallest disk counts. Of an image whose size is not known
 * nothing is counted. Pure.
 */
export function overBudget({ wanted, held, ground, percent }: BudgetInput): ReadonlySet<string> {
  const out = new Set<string>()
  const disks = ground.kinds
    .filter(({ diskBytes }) => diskBytes > 0)
    .map((kind) => ({ kind, left: (kind.diskBytes * percent) / 100 }))
  if (percent >= 100 || disks.length === 0) return out
  for (const { reference, bestEffort, where = '', sizeBytes = 0 } of byWorth(wanted, held)) {
    // The same bytes under another name.
    const own = bestEffort ? 0 : sizeBytes * diskBytesPerByte
    const there = disks.filter(({ kind }) => includes(where, kind))
    if (there.some(({ left }) => own > left)) out.add(reference)
    else for (const disk of there) disk.left -= own
  }
  return out
}
