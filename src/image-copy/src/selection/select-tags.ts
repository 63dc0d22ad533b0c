import { isTag } from '../reference.ts'
import { parseTagPattern, type TagPattern } from './tag-pattern.ts'
import { parseTagVersion, type TagVersion, versionOrder } from './tag-version.ts'
import { parseVersionRange } from './version-range.ts'

/**
 * Which tags of a repository are wanted. What is left out does not narrow the choice.
 *
 * For `range` and `latest`, a tag is a version when it begins with numbers parted by dots, with or without a `v`; what is left
 * out is 0. A pre-release (`-rc.1`, `b2`) and another suffix (`-alpine`) must be asked for: a pattern of `allow` asks for what
 * a tag must have to match it, `*-alpine` for the suffix.
 */
export interface TagSelection {
  /** Patterns, of which a tag matches one: `1.*` with the wildcards `*` and `?`, or a regular expression `/1\.\d+/`. */
  readonly allow?: readonly string[] | undefined
  /** Patterns of which a tag matches none. */
  readonly deny?: readonly string[] | undefined
  /** Versions alone, those of a range as npm writes it: `>=1.25 <2`. */
  readonly range?: string | undefined
  /** Versions alone, this many of the newest. */
  readonly latest?: number | undefined
  /** Whether `range` and `latest` count pre-releases; a range that names one, as `>=2.0.0-0`, does too. Default false. */
  readonly preReleases?: boolean | undefined
}

/**
 * Selects tags by their names, in the order in which they come; with `latest`, the newest first. What is no tag is passed over.
 *
 * @throws TypeError for a pattern or range that is none, RangeError for a `latest` that is no whole number above 0
 */
export async function selectTags(
  tags: Iterable<string> | AsyncIterable<string>,
  selection: TagSelection,
): Promise<readonly string[]> {
  const { latest } = selection
  if (latest !== undefined && !(Number.isSafeInteger(latest) && latest > 0))
    throw new RangeError('latest must be a whole number above 0')
  const named = namesOf(selection)
  const counts = await versionsOf(selection)
  const selected: string[] = []
  const versions: TagVersion[] = []
  for await (const tag of tags) {
    if (!isTag(tag) || !named(tag)) continue
    if (counts === undefined) {
      selected.push(tag)
      continue
    }
    const version = parseTagVersion(tag)
    if (version !== undefined && counts(version)) versions.push(version)
  }
  if (latest !== undefined) versions.sort(versionOrder()).reverse().splice(latest)
  for (const { tag } of versions) selected.push(tag)
  return selected
}

function namesOf({ allow = [], deny = [] }: TagSelection): TagPattern {
  const allowed = allow.map(parseTagPattern)
  const denied = deny.map(parseTagPattern)
  return (tag) =>
    (allowed.length === 0 || allowed.some((matches) => matches(tag))) &&
    !denied.some((matches) => matches(tag))
}

/** @returns undefined: a tag need be no version */
async function versionsOf(
  selection: TagSelection,
): Promise<((version: TagVersion) => boolean) | undefined> {
  const { allow = [], range: text, latest, preReleases = false } = selection
  if (text === undefined && latest === undefined) return undefined
  const range = text === undefined ? undefined : await parseVersionRange(text)
  const all = preReleases || range?.preReleases === true
  const patterns = allow.map(parseTagPattern)
  /** Whether a pattern would not match without a part of the tag. */
  const asked = (tag: string, without: string): boolean =>
    patterns.some((matches) => matches(tag) && !matches(without))
  return (version) => {
    const { tag, preRelease, suffix } = version
    const numbers = tag.slice(0, tag.length - preRelease.length - suffix.length)
    if (preRelease !== '' && !all && !asked(tag, numbers + suffix)) return false
    if (suffix !== '' && !asked(tag, numbers + preRelease)) return false
    return range?.includes(version) ?? true
  }
}
