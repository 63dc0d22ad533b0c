/** Whether a tag is meant. */
export type TagPattern = (tag: string) => boolean

/**
 * Reads a pattern of whole tags: with the wildcards `*` and `?`, or between slashes a regular expression.
 *
 * @throws TypeError
 */
export function parseTagPattern(text: string): TagPattern {
  const fault = faultOfTagPattern(text)
  if (fault !== undefined) throw new TypeError(`tag pattern ${JSON.stringify(text)}: ${fault}`)
  const source = text.startsWith('/')
    ? text.slice(1, -1)
    : text.replaceAll(/\*+|[?.]/g, (part) => wildcards[part[0] ?? ''] ?? part)
  const expression = new RegExp(`^(?:${source})$`)
  return (tag) => expression.test(tag)
}

const wildcards: Readonly<Record<string, string>> = { '*': '.*', '?': '.', '.': '\\.' }

/** What is wrong with a pattern of tags; undefined when nothing is. */
export function faultOfTagPattern(text: string): string | undefined {
  if (!text.startsWith('/'))
    return /^[\w.*?-]+$/.test(text)
      ? undefined
      : 'give letters, digits, _ . - with * and ?, or a regular expression between slashes'
  if (text.length < 3 || !text.endsWith('/')) return 'a regular expression stands between slashes'
  try {
    new RegExp(text.slice(1, -1))
    return undefined
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    return `is no regular expression: ${said.slice(said.lastIndexOf('/: ') + 3)}`
  }
}
