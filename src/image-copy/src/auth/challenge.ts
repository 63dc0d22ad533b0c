/** One challenge of a WWW-Authenticate header (RFC 9110 §11.3). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>
}

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+/
const maxParameters = 32

/**
 * Reads the challenges of a WWW-Authenticate header. What cannot be read ends the list: a registry's nonsense gives fewer
 * challenges, never a wrong one.
 */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = []
  let rest = header
  while (rest.length > 0 && challenges.length < 8) {
    rest = rest.replace(/^[\s,]+/, '')
    const word = token.exec(rest)?.[0]
    if (word === undefined) break
    const after = rest.slice(word.length)
    const current = challenges.at(-1)
    const parameter = /^[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"=]+))/.exec(after)
    if (parameter !== null && current !== undefined) {
      const value = parameter[1]?.replace(/\\(.)/g, '$1') ?? parameter[2] ?? ''
      const key = word.toLowerCase()
      // A repeated parameter is refused by taking the first: the second may be an attempt to override it.
      if (!current.parameters.has(key) && current.parameters.size < maxParameters)
        current.parameters.set(key, value)
      rest = after.slice(parameter[0].length)
    } else if (/^[ \t]*=/.test(after)) {
      break
    } else {
      challenges.push({ scheme: word.toLowerCase(), parameters: new Map() })
      rest = after
    }
  }
  return challenges
}
