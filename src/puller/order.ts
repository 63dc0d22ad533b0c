import type { ObservedShard } from './daemon-set.ts'
import { isMissing } from './placement.ts'
import type { Wanted } from './wanted.ts'

/** What must be there first, of these what is used most, then by reference. */
export function sorted(items: readonly Wanted[]): Wanted[] {
  return items.toSorted(
    (a, b) =>
      Number(a.bestEffort) - Number(b.bestEffort) ||
      (b.uses ?? 0) - (a.uses ?? 0) ||
      compare(a.reference, b.reference),
  )
}

/** Missing ones have no time and come first: they are to be made now. */
export function newestFirst(a: ObservedShard, b: ObservedShard): number {
  if (isMissing(a) !== isMissing(b)) return isMissing(a) ? -1 : 1
  return compare(b.created, a.created) || b.index - a.index
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
