import { closeSync, openSync, readSync } from 'node:fs'

/** Some 400,000 lines of a list of images, and far more than any configuration: what never ends is told from it. */
export const MAX_TEXT_BYTES = 64 * 1024 * 1024
const READ_BYTES = 64 * 1024

/**
 * Reads a text, also out of a pipe or device, of which nobody knows the size before.
 *
 * @param path of a text in UTF-8
 * @throws Error of the system's call that failed; RangeError when there are more than {@link MAX_TEXT_BYTES}
 */
export function readTextFile(path: string): string {
  const file = openSync(path, 'r')
  try {
    const parts: Buffer[] = []
    let part = Buffer.alloc(0)
    for (let size = 0; size <= MAX_TEXT_BYTES; ) {
      // A pipe may bring a line at a time, and none of them is worth a buffer of its own.
      const at = size % READ_BYTES
      if (at === 0) {
        part = Buffer.allocUnsafeSlow(READ_BYTES)
        parts.push(part)
      }
      const count = readSync(file, part, at, READ_BYTES - at, null)
      if (count === 0) return Buffer.concat(parts, size).toString()
      size += count
    }
    throw tooMuchText()
  } finally {
    closeSync(file)
  }
}

/** Reads a text to its end, such as what somebody types or another program writes. @throws as {@link readTextFile} */
export async function readText(stream: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of stream) {
    parts.push(part)
    size += part.length
    if (size > MAX_TEXT_BYTES) throw tooMuchText()
  }
  return Buffer.concat(parts).toString()
}

function tooMuchText(): RangeError {
  return new RangeError(
    `more than ${MAX_TEXT_BYTES / 1024 / 1024} MiB, which no text read here has`,
  )
}
