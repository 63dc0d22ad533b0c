/**
 * The candidate that a mistyped name most likely meant, or undefined when none is near: at most a third of the name's
 * letters wrong, or the name is the end of exactly one candidate (`registry` of `mirror.registry`).
 */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const wanted = name.toLowerCase()
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase())
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  if (best !== undefined) return best
  const ends = candidates.filter((candidate) => /^[._]/.test(endBefore(candidate, wanted)))
  return ends.length === 1 ? ends[0] : undefined
}

/** ` (did you mean <name>?)`, or nothing. */
export function didYouMean(name: string, candidates: readonly string[], prefix = ''): string {
  const found = nearest(name, candidates)
  return found === undefined ? '' : ` (did you mean ${prefix}${found}?)`
}

function endBefore(candidate: string, end: string): string {
  const text = candidate.toLowerCase()
  return text.endsWith(end) ? (text[text.length - end.length - 1] ?? '') : ''
}

/** Levenshtein distance. */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1]
    for (const [j, match] of [...other].entries()) {
      const replaced = (row[j] ?? 0) + (letter === match ? 0 : 1)
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
