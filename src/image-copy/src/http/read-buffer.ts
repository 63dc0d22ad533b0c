/**
 * A small blob with its head. Pages that no read reaches cost no memory, but V8 counts them: with more for each connection it
 * collects its whole heap in the middle of a short copy.
 */
const plainBytes = 64 * 1024
/** For longer bodies 256 KiB a read measured well on plain TCP. */
const longBytes = 256 * 1024
/** For large ones still longer reads take a sixth less CPU; smaller ones never fill them, and more than this gains nothing. */
export const largestReadBytes: number = 768 * 1024
const largeBodyBytes = 4 * 1024 * 1024

/** A TLS record. Answers that are kept, and bodies of no known length, are gathered no further. */
const recordBytes = 16 * 1024
/** Eight records are handed on at once, which is one write of a blob in place of eight. */
const gatheredBytes = 128 * 1024
/**
 * The largest blob of an image is the last to end, mostly alone, and what a turn of the event loop costs is then paid for its
 * bytes only.
 */
const gatheredLargeBytes = 512 * 1024
const gatheredLargeBodyBytes = 512 * 1024 * 1024
/** What Node reads of TLS at once: so much comes after reading was stopped, and what was there of a record before. */
const lateBytes = 64 * 1024

/** Memory that one read follows another in. */
class Block {
  readonly bytes: Buffer
  /** Views from one whole record after another: to make them anew for each read would keep V8 busy with collecting them. */
  readonly #views: Buffer[] = []

  constructor(bytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(bytes)
  }

  from(at: number): Buffer {
    if (at === 0) return this.bytes
    if (at % recordBytes > 0) return this.bytes.subarray(at)
    const n = at / recordBytes - 1
    this.#views[n] ??= this.bytes.subarray(at)
    return this.#views[n]
  }
}

/**
 * The memory that a connection reads into, as long as it lives. It is never handed on to another connection: bytes of a
 * broken download may still be on their way out of it, and the platform reads into it until it has asked for the next.
 *
 * A plain socket fills it with one read. Where reads are small (TLS brings a record at a time) many follow one another in it,
 * and while what was taken is not free yet, they go to a second block.
 */
export class ReadBuffer {
  /** Whether reads follow one another, and may come after reading was stopped. */
  readonly gathers: boolean
  #block: Block
  #filled = 0
  /** What is worth to be taken, in bytes. */
  #enough = recordBytes
  /** What the platform was given last, and keeps to for its next read. */
  #given: Block
  #givenFrom = 0
  #taken: Block
  #lent: Block | undefined
  #spare: Block | undefined

  constructor(gathers: boolean) {
    this.gathers = gathers
    this.#block = new Block(gathers ? blockFor(recordBytes) : plainBytes)
    this.#given = this.#block
    this.#taken = this.#block
  }

  /** Where the next read goes. */
  readonly room = (): Buffer => {
    this.#given = this.#block
    // Without room there is no connection any more, but the platform asks once more.
    this.#givenFrom = this.overflows ? 0 : this.#filled
    return this.#block.from(this.#givenFrom)
  }

  /** Counts bytes that were read into the {@link room} given last. */
  brought(bytes: number): void {
    const from = this.#givenFrom
    // What was read before may have been taken meanwhile: the platform still read behind it.
    if (this.#given !== this.#block || from !== this.#filled)
      this.#given.bytes.copy(this.#block.bytes, this.#filled, from, from + bytes)
    this.#filled += bytes
  }

  /** Bytes that were read and not taken. */
  get filled(): number {
    return this.#filled
  }

  /** So much was read that it is worth to be taken. */
  get enough(): boolean {
    return this.#filled >= this.#enough
  }

  /** What comes after a stop is enough with what was read. */
  get nearlyEnough(): boolean {
    return this.#filled >= this.#enough - lateBytes
  }

  /** More came than ever comes after a stop. */
  get overflows(): boolean {
    return this.#filled === this.#block.bytes.length
  }

  /** Takes what was read, the first {@link filled} bytes of what it returns. The next read overwrites them, unless they are lent. */
  take(): Buffer {
    this.#filled = 0
    this.#taken = this.#block
    return this.#taken.bytes
  }

  /** Keeps what was taken last as it is; reads go elsewhere. */
  lend(): void {
    this.#lent = this.#taken
    if (this.#lent !== this.#block) return
    this.#block = this.#spare ?? new Block(this.#lent.bytes.length)
    this.#spare = undefined
  }

  /** What was lent is free again. */
  reclaim(): void {
    if (this.#lent?.bytes.length === this.#block.bytes.length) this.#spare = this.#lent
    this.#lent = undefined
  }

  /** Makes ready for a body of this size. What was read before stays where it is. */
  expect(bodyBytes: number): void {
    if (this.gathers) this.#enough = Math.max(this.#enough, gatheredFor(bodyBytes))
    const wanted = this.gathers ? blockFor(this.#enough) : readFor(bodyBytes)
    if (wanted <= this.#block.bytes.length) return
    this.#block = new Block(wanted)
    this.#spare = undefined
  }
}

/** What is read before a stop, a record over it, what comes after it, and the beginning of a record that was there. */
function blockFor(enough: number): number {
  return Math.max(0, enough - lateBytes) + recordBytes + lateBytes + recordBytes
}

function readFor(bodyBytes: number): number {
  if (bodyBytes <= plainBytes) return plainBytes
  return bodyBytes < largeBodyBytes ? longBytes : largestReadBytes
}

function gatheredFor(bodyBytes: number): number {
  if (bodyBytes <= recordBytes) return recordBytes
  return bodyBytes < gatheredLargeBodyBytes ? gatheredBytes : gatheredLargeBytes
}
