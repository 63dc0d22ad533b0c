/** A tag read as a version: `v1.28.0-rc.1-alpine` is 1.28.0, a pre-release, with a suffix. */
export interface TagVersion {
  readonly tag: string
  readonly numbers: readonly number[]
  /** `-rc.1`; empty: a release. */
  readonly preRelease: string
  /** `-alpine`; empty: none. */
  readonly suffix: string
}

/** What is written behind the numbers of a version that is not out yet; everything else is a suffix. */
const preReleases =
  'alpha|beta|rc|cr|pre|preview|dev|snapshot|nightly|canary|next|edge|unstable|experimental|milestone|ea|(?:a|b|m)(?=\\d)'
/** Up to fifteen digits are exact as a number. */
const version = new RegExp(
  `^v?(\\d{1,15}(?:\\.\\d{1,15})*)([-_.]?(?:${preReleases})\\d*(?:[-_.]\\d+)*)?([-_.].*)?$`,
  'i',
)

/** @returns undefined: the tag is no version */
export function parseTagVersion(tag: string): TagVersion | undefined {
  const found = version.exec(tag)
  if (found === null) return undefined
  const [, numbers = '', preRelease = '', suffix = ''] = found
  return { tag, numbers: numbers.split('.').map(Number), preRelease, suffix }
}

/** The order of versions from old to new: a number that is left out is 0, and a pre-release comes before its release. */
export function versionOrder(): (a: TagVersion, b: TagVersion) => number {
  // `rc.10` is after `rc.9`.
  const words = new Intl.Collator('en', { numeric: true })
  return (a, b) =>
    compareNumbers(a.numbers, b.numbers) ||
    Number(a.preRelease === '') - Number(b.preRelease === '') ||
    words.compare(a.preRelease, b.preRelease) ||
    words.compare(a.suffix, b.suffix) ||
    a.numbers.length - b.numbers.length ||
    words.compare(a.tag, b.tag)
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  const differences = (a.length > b.length ? a : b).map((_, i) => (a[i] ?? 0) - (b[i] ?? 0))
  return differences.find((difference) => difference !== 0) ?? 0
}
