import { ProtocolError } from './protocol-error.ts'

const maxFields = 128
/** A line break, a name of one letter and a colon. */
const leastFieldBytes = 4
/** Lines of fields, each with its line break before it (RFC 9112 §5). */
const wellFormed = /^(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)*$/
const wellNamed = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:/

/**
 * The header fields of one answer. They stay the text that came: an answer has a dozen, of which a request wants a few.
 *
 * White space before a colon, folded lines, bare CR or LF, and NUL are refused: where readers are lenient, two of them can
 * disagree.
 */
export class HeaderFields {
  readonly #text: string
  readonly #lower: string

  /** @param text every field with a line break before it @throws ProtocolError */
  constructor(text: string) {
    if (!wellFormed.test(text)) throw malformed(text)
    this.#text = text
    this.#lower = text.toLowerCase()
    if (text.length > maxFields * leastFieldBytes && text.split('\n').length > maxFields + 1)
      throw new ProtocolError(`more than ${maxFields} headers`)
  }

  /** A field's value; repeated fields joined by `, `. @param name in lower case */
  get(name: string): string | undefined {
    const lower = this.#lower
    let value: string | undefined
    for (let at = lower.indexOf(name); at >= 0; at = lower.indexOf(name, at)) {
      const isName = lower[at - 1] === '\n' && lower[at + name.length] === ':'
      at += name.length
      if (!isName) continue
      const end = lower.indexOf('\r', at)
      const part = trimmed(this.#text, at + 1, end < 0 ? lower.length : end)
      value = value === undefined ? part : `${value}, ${part}`
    }
    return value
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }
}

/** Refuses lines of fields, each with a line break before it, that are not well formed. @throws ProtocolError */
export function requireFields(text: string): void {
  if (!wellFormed.test(text)) throw malformed(text)
}

function malformed(text: string): ProtocolError {
  const lines = text.split('\r\n').slice(1)
  if (lines.every((line) => wellNamed.test(line)))
    return new ProtocolError('a control character in a header')
  return new ProtocolError('a malformed header name')
}

/** Without blanks around it. String.trim takes away more, non-breaking spaces among it. */
function trimmed(text: string, start: number, end: number): string {
  let from = start
  let to = end
  while (from < to && (text[from] === ' ' || text[from] === '\t')) from += 1
  while (from < to && (text[to - 1] === ' ' || text[to - 1] === '\t')) to -= 1
  return text.slice(from, to)
}
