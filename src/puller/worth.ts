import type { Wanted } from './wanted.ts'

/** What a pull costs besides its bytes, as bytes: about a second of asking and unpacking at 20 MB/s. */
const pullOverheadBytes = 20e6

/** How much more is made of what nodes hold: uses come and go, and at the edge images must not change places for that. */
export const heldFactor = 2

/**
 * Images by what it is worth to hold them, the most first: by the pods that use them and by what it would cost to pull them
 * anew. What a user gave a name is asked for by name and comes before; best-effort names come last.
 *
 * @param held references that nodes hold: they count twice
 */
export function byWorth(
  wanted: ReadonlyMap<string, Wanted>,
  held: ReadonlySet<string>,
): readonly Wanted[] {
  const worth = ({ reference, uses = 0, sizeBytes = 0 }: Wanted): number =>
    (uses + 1) * (sizeBytes + pullOverheadBytes) * (held.has(reference) ? heldFactor : 1)
  return [...wanted.values()].toSorted(
    (a, b) =>
      Number(a.bestEffort) - Number(b.bestEffort) ||
      Number(a.name === undefined) - Number(b.name === undefined) ||
      worth(b) - worth(a) ||
      (a.reference < b.reference ? -1 : 1),
  )
}
