import { createCipheriv, createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { type Layer, mediaTypes } from './image.ts'

/** What one stored block of deflate holds at most. */
const BLOCK = 65_535
const TAR_BLOCK = 512

/**
 * A layer of one file of bytes that nothing can compress, made again whenever it is read, so that gigabytes of them need no
 * memory: a real tar in a real gzip, since some copiers look inside.
 *
 * @param name - what the bytes follow from; the same name and size give the same layer
 * @param bytes - of the file
 */
export function storedLayer(name: string, bytes: number): Layer {
  const diff = createHash('sha256')
  const whole = createHash('sha256')
  let size = 0
  for (const chunk of gzipChunks(tarChunks(name, bytes, (plain) => diff.update(plain)))) {
    whole.update(chunk)
    size += chunk.length
  }
  return {
    blob: {
      digest: `sha256:${whole.digest('hex')}`,
      size,
      read: async () => Buffer.concat([...gzipChunks(tarChunks(name, bytes))], size),
    },
    mediaType: `${mediaTypes.oci.layer}+gzip`,
    diffId: `sha256:${diff.digest('hex')}`,
  }
}

/** A gzip member of stored blocks (RFC 1951, 3.2.4), one for each chunk. */
function* gzipChunks(chunks: Iterable<Buffer>): Generator<Buffer> {
  const gzip = 0x1f8b
  const deflate = 8
  const unknownSystem = 255
  yield Buffer.from([gzip >> 8, gzip & 255, deflate, 0, 0, 0, 0, 0, 0, unknownSystem])
  let sum = 0
  let length = 0
  for (const chunk of chunks) {
    sum = crc32(chunk, sum)
    length += chunk.length
    yield blockHeader(chunk.length, false)
    yield chunk
  }
  yield blockHeader(0, true)
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(sum, 0)
  trailer.writeUInt32LE(length % 2 ** 32, 4)
  yield trailer
}

function blockHeader(length: number, last: boolean): Buffer {
  const header = Buffer.alloc(5)
  header[0] = last ? 1 : 0
  header.writeUInt16LE(length, 1)
  header.writeUInt16LE(~length & 0xffff, 3)
  return header
}

function* tarChunks(
  name: string,
  bytes: number,
  seen: (plain: Buffer) => void = () => undefined,
): Generator<Buffer> {
  const padding = (TAR_BLOCK - (bytes % TAR_BLOCK)) % TAR_BLOCK
  const parts = [
    [tarHeader(name.replaceAll('/', '-'), bytes)],
    noise(name, bytes),
    [Buffer.alloc(padding + 2 * TAR_BLOCK)],
  ]
  for (const part of parts) {
    for (const chunk of part) {
      seen(chunk)
      yield chunk
    }
  }
}

/** A key stream: as good as random to any compressor, and the same on every machine. */
function* noise(name: string, bytes: number): Generator<Buffer> {
  const key = createHash('sha256').update(name).digest()
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(BLOCK)
  for (let left = bytes; left > 0; left -= BLOCK) {
    yield cipher.update(left < BLOCK ? zeros.subarray(0, left) : zeros)
  }
}

/** A ustar header (POSIX.1-1988) of a plain file. */
function tarHeader(path: string, size: number): Buffer {
  const header = Buffer.alloc(TAR_BLOCK)
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0')
  header.write(path, 0)
  header.write(octal(0o644, 7), 100)
  header.write(octal(0, 7), 108)
  header.write(octal(0, 7), 116)
  header.write(octal(size, 11), 124)
  header.write(octal(0, 11), 136)
  header.write(' '.repeat(8), 148)
  header.write('0', 156)
  header.write('ustar\0' + '00', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${octal(sum, 6)}\0 `, 148)
  return header
}
