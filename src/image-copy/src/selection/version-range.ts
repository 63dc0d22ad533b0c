import type { TagVersion } from './tag-version.ts'

/** Versions that somebody wants, as npm writes them: `>=1.25 <2`, `^1.4`, `1.x || 3.x`. */
export interface VersionRange {
  /** Whether it names a pre-release, and so means them too. */
  readonly preReleases: boolean
  /** By the first three numbers; the suffix does not count. */
  readonly includes: (version: TagVersion) => boolean
}

/** @throws TypeError */
export async function parseVersionRange(text: string): Promise<VersionRange> {
  const fault = await faultOfVersionRange(text)
  if (fault !== undefined) throw new TypeError(`range ${JSON.stringify(text)}: ${fault}`)
  const range = await rangeOf(text)
  return {
    preReleases: /\d-[0-9a-z]/i.test(text),
    includes: ({ numbers: [major = 0, minor = 0, patch = 0], preRelease }) => {
      const pre = preRelease.replace(/^[-_.]/, '').replaceAll('_', '-')
      return range.test(`${major}.${minor}.${patch}${pre === '' ? '' : `-${pre}`}`)
    },
  }
}

/** What is wrong with a range of versions; undefined when nothing is. */
export async function faultOfVersionRange(text: string): Promise<string | undefined> {
  try {
    if (text.trim() !== '') {
      await rangeOf(text)
      return undefined
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
  }
  return 'give a range of versions like ">=1.25 <2", "^1.4" or "1.x"'
}

/** Loaded when it is first wanted: most copies select nothing. */
async function rangeOf(text: string) {
  const { default: Range } = await import('semver/classes/range.js')
  // Some write a comma where npm has a space. Which pre-releases count is decided elsewhere.
  return new Range(text.replaceAll(',', ' '), { loose: true, includePrerelease: true })
}
