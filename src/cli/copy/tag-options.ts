import { faultOfTagPattern, type TagSelection } from '@containers/image-copy'
import { parseSince } from './since.ts'

/** Which tags of a repository somebody wants. */
export interface WantedTags extends TagSelection {
  /** Of the tags that all else selects, those whose image was made since then. */
  readonly createdSince?: Date
}

/** Options that select tags. In a list the same words stand behind a line's pair: `tags=1.* latest=5 pre-releases`. */
export const TAG_OPTIONS = {
  tags: { type: 'string', multiple: true },
  'not-tags': { type: 'string', multiple: true },
  semver: { type: 'string' },
  latest: { type: 'string' },
  'pre-releases': { type: 'boolean', default: false },
  'created-since': { type: 'string' },
} as const

/** Their values, as `parseArgs` gives them. */
export interface TagValues {
  tags?: string[] | undefined
  'not-tags'?: string[] | undefined
  semver?: string | undefined
  latest?: string | undefined
  'pre-releases'?: boolean | undefined
  'created-since'?: string | undefined
}

/** How an option is written where its value is given. */
type Spelling = (option: string, value: string) => string

export const asOption: Spelling = (option, value) => `--${option} ${JSON.stringify(value)}`
const asWord: Spelling = (option, value) => `${option}=${value}`

/**
 * Reads which tags are to be selected.
 *
 * @param faults - added to; whether `semver` is a range is another question, for which there may be something to load
 * @returns undefined: no option was given
 */
export function parseSelection(
  values: TagValues,
  spell: Spelling,
  faults: string[],
): WantedTags | undefined {
  const { semver: range, latest, 'pre-releases': preReleases = false } = values
  const patterns = (option: 'tags' | 'not-tags'): readonly string[] | undefined => {
    const all = values[option]?.flatMap(splitPatterns)
    for (const pattern of all ?? []) {
      const fault = faultOfTagPattern(pattern)
      if (fault !== undefined) faults.push(`${spell(option, pattern)}: ${fault}`)
    }
    return all
  }
  const allow = patterns('tags')
  const deny = patterns('not-tags')
  if (latest !== undefined && !/^[1-9]\d{0,5}$/.test(latest))
    faults.push(`${spell('latest', latest)}: give a number from 1 to 999999`)
  if (preReleases && range === undefined && latest === undefined)
    faults.push('pre-releases: say of what, by semver or latest')
  const since = values['created-since']
  const createdSince = since === undefined ? undefined : parseSince(since, Date.now())
  if (since !== undefined && typeof createdSince === 'string')
    faults.push(`${spell('created-since', since)}: ${createdSince}`)
  const given = [allow, deny, range, latest, since]
  if (!preReleases && given.every((value) => value === undefined)) return undefined
  return {
    allow,
    deny,
    range,
    latest: latest === undefined ? undefined : Number(latest),
    preReleases,
    ...(createdSince instanceof Date && { createdSince }),
  }
}

const WORDS = 'tags=, not-tags=, semver=, latest=, pre-releases or created-since='

/** At commas, save those of a regular expression. */
function splitPatterns(text: string): readonly string[] {
  return text.split(/,(?=(?:[^/]*\/[^/]*\/)*[^/]*$)/)
}

/** Whether a word of a list's line may be meant to select tags. */
export function isTagWord(word: string): boolean {
  return word.includes('=') || word === 'pre-releases'
}

/**
 * Reads the words of a list's line that select tags.
 *
 * @param faults - added to, as by {@link parseSelection}
 */
export function parseTagWords(words: readonly string[], faults: string[]): WantedTags | undefined {
  const values: TagValues = {}
  for (const word of words) {
    const equals = word.indexOf('=')
    const option = equals < 0 ? word : word.slice(0, equals)
    const value = word.slice(equals + 1)
    if (option === 'tags' || option === 'not-tags') {
      values[option] = [...(values[option] ?? []), value]
    } else if (option === 'semver' || option === 'latest' || option === 'created-since') {
      if (values[option] !== undefined) faults.push(`${word}: is there twice`)
      values[option] = value
    } else if (word === 'pre-releases') values[word] = true
    else faults.push(`${word}: give ${WORDS}`)
  }
  return parseSelection(values, asWord, faults)
}
