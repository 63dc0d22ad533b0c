/** Slots; with the longest strings the table holds a mebibyte. */
const slots = 4096
/** A longer text is an annotation's, and of no use to keep. */
const longest = 256

/**
 * Reads strings of which many are the same: one that was read before is found by comparing its bytes, and costs no memory.
 *
 * Each slot holds the last text that fell into it, so that the table never grows. Texts beyond ASCII are read anew each time.
 */
export class StringTable {
  readonly #texts: string[] = new Array<string>(slots).fill('')

  /** The UTF-8 text between two offsets. */
  read(bytes: Buffer, start: number, end: number): string {
    const length = end - start
    if (length === 0) return ''
    if (length > longest) return bytes.toString('utf8', start, end)
    let hash = length
    for (let at = start; at < end; at += 1) hash = (Math.imul(hash, 31) + (bytes[at] as number)) | 0
    const slot = (hash ^ (hash >>> 15)) & (slots - 1)
    const text = this.#texts[slot] as string
    if (isText(text, bytes, start, length)) return text
    const read = bytes.toString('utf8', start, end)
    this.#texts[slot] = read
    return read
  }
}

function isText(text: string, bytes: Buffer, start: number, length: number): boolean {
  if (text.length !== length) return false
  for (let at = 0; at < length; at += 1) {
    const byte = bytes[start + at] as number
    // A byte beyond ASCII is a part of a character.
    if (byte > 0x7f || text.charCodeAt(at) !== byte) return false
  }
  return true
}
