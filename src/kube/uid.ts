/**
 * A uid as it is kept: the 16 bytes of a UUID as characters, half the memory of its text; what is no UUID stays as it is.
 */
export type CompactUid = string

const uuidBytes = 16
const uuidText = 36
const hex = Uint8Array.from({ length: 256 }, (_, code) => {
  const at = '0123456789abcdef'.indexOf(String.fromCharCode(code))
  return at < 0 ? 0xff : at
})
const packed = Buffer.alloc(uuidBytes)
const scratch = Buffer.alloc(uuidText)

/** Of the uid that stands in bytes between two offsets. */
export function compactUidOf(bytes: Buffer, start: number, end: number): CompactUid {
  if (end - start !== uuidText) return odd(bytes.toString('utf8', start, end))
  let at = start
  for (let index = 0; index < uuidBytes; index += 1) {
    if (index === 4 || index === 6 || index === 8 || index === 10) {
      if (bytes[at] !== 0x2d) return odd(bytes.toString('utf8', start, end))
      at += 1
    }
    const high = hex[bytes[at] as number] as number
    const low = hex[bytes[at + 1] as number] as number
    if ((high | low) > 15) return odd(bytes.toString('utf8', start, end))
    packed[index] = (high << 4) | low
    at += 2
  }
  return packed.toString('latin1')
}

/** Keeps a uid in as little memory as it needs. */
export function compactUid(text: string): CompactUid {
  if (text.length !== uuidText) return odd(text)
  const length = scratch.write(text, 'utf8')
  return length === uuidText ? compactUidOf(scratch, 0, uuidText) : odd(text)
}

/** The text again. */
export function uidText(uid: CompactUid): string {
  if (uid.length !== uuidBytes) return uid.startsWith(mark) ? uid.slice(1) : uid
  const digits = Buffer.from(uid, 'latin1').toString('hex')
  const cuts = [0, 8, 12, 16, 20, 32]
  return cuts
    .slice(1)
    .map((cut, index) => digits.slice(cuts[index], cut))
    .join('-')
}

/** What has the length of sixteen bytes, and would be taken for them, is marked. */
const mark = '='
function odd(text: string): CompactUid {
  return text.length === uuidBytes || text.startsWith(mark) ? `${mark}${text}` : text
}
