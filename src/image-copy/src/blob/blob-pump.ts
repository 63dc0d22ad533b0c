import { RegistryError } from '../errors.ts'
import type { BodySink, Exchange } from '../http/exchange.ts'
import type { CheckpointedHash } from './checkpointed-hash.ts'

export interface BlobPumpOptions {
  readonly digest: string
  readonly size: number
  readonly hash: CheckpointedHash
  /** The target holds the bytes before this; they are hashed where the hash lacks them, and not sent. */
  readonly sendFrom: number
  /** For messages. */
  readonly sourceHost: string
  /** Bytes of the blob that were handed to the target. */
  readonly onSent: (sent: number) => void
}

/** Bytes on their way, and what to do when their memory is free again. */
interface Piece {
  readonly bytes: Buffer
  readonly release: () => void
}

/**
 * Bytes are gathered to this where the source lends its buffer for a moment only: eight TLS records a write. The largest blob
 * of an image is the last to end, mostly alone, and what a turn of the event loop costs is then paid for its writes only.
 */
const gatherBytes = 128 * 1024
const gatherLargeBytes = 512 * 1024
const largeBlobBytes = 512 * 1024 * 1024

/**
 * Moves a blob's bytes from a download to one upload request after another, and hashes them in between.
 *
 * Where the download's buffer stays as it is while reading is stopped, it is written to the target as it is: no copy, no
 * allocation, and the source is read again once the kernel has taken it. Otherwise bytes are copied into a few buffers that
 * go round. The last bytes are not let go before size and digest are right, so that no registry can finish a blob that is
 * wrong. Errors thrown here end the download they came in.
 */
export class BlobPump {
  readonly #options: BlobPumpOptions
  readonly #queue: Piece[] = []
  readonly #spare: Buffer[] = []
  readonly #gatherBytes: number
  #source: Exchange | undefined
  #sourceStopped = false
  #gathering: Buffer | undefined
  #gathered = 0
  #target: Exchange | undefined
  #writing = false
  #targetWants = 0
  #sent: number

  constructor(options: BlobPumpOptions) {
    this.#options = options
    this.#sent = options.sendFrom
    this.#gatherBytes = options.size < largeBlobBytes ? gatherBytes : gatherLargeBytes
  }

  /** Where the next download has to start. */
  get position(): number {
    return this.#options.hash.position + this.#gathered
  }

  /** Takes what a download brings, after `skip` bytes of it. */
  sink(source: Exchange, skip: number): BodySink {
    let left = skip
    this.#source = source
    this.#sourceStopped = false
    return (bytes) => {
      const from = Math.min(left, bytes.length)
      left -= from
      if (from === bytes.length) return true
      return this.#take(from === 0 ? bytes : bytes.subarray(from), source)
    }
  }

  /** Hands the next `count` bytes, one at least, to an upload request; its answer tells that they came. */
  fill(target: Exchange, count: number): void {
    this.#target = target
    this.#targetWants = count
    this.#push()
  }

  /** Lets go of an upload request that failed. */
  detach(): void {
    this.#target = undefined
    this.#queue.length = 0
  }

  #take(bytes: Buffer, source: Exchange): boolean {
    const { size, sendFrom } = this.#options
    const start = this.position
    if (start + bytes.length > size)
      throw this.#wrong(
        'COPY_DIGEST_MISMATCH',
        `is longer than the ${size} bytes of its descriptor`,
      )
    const known = Math.min(Math.max(0, sendFrom - start), bytes.length)
    if (known > 0) this.#hash(bytes.subarray(0, known))
    if (known === bytes.length) return true
    const wanted = known === 0 ? bytes : bytes.subarray(known)
    return source.stable ? this.#lend(wanted, source) : this.#gather(wanted)
  }

  #hash(bytes: Buffer): void {
    const { hash, size } = this.#options
    hash.update(bytes)
    if (hash.position === size) this.#verify()
  }

  #verify(): void {
    const actual = this.#options.hash.finish()
    if (actual !== this.#options.digest)
      throw this.#wrong(
        'COPY_DIGEST_MISMATCH',
        `has digest ${actual}: its bytes are not those it names`,
      )
  }

  /** @returns whether the kernel has taken all of it */
  #lend(bytes: Buffer, source: Exchange): boolean {
    // The target works on them while they are hashed, but it is given no last byte of a blob that may be wrong.
    const last = this.position + bytes.length === this.#options.size
    if (last) this.#hash(bytes)
    let freed = false
    let waited = false
    this.#queue.push({
      bytes,
      release: () => {
        freed = true
        if (waited) source.resume()
      },
    })
    this.#push()
    if (!last) this.#hash(bytes)
    if (freed) return true
    waited = true
    return false
  }

  /** @returns whether there is room for more */
  #gather(bytes: Buffer): boolean {
    let from = 0
    while (from < bytes.length) {
      this.#gathering ??= this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#gatherBytes)
      const taken = bytes.copy(this.#gathering, this.#gathered, from)
      from += taken
      this.#gathered += taken
      if (this.#gathered === this.#gatherBytes || this.position === this.#options.size) this.#ship()
    }
    this.#push()
    // Bytes that come although the source was stopped do not start it again: a release does.
    this.#sourceStopped ||=
      this.#queue.length > 0 || (this.#writing && this.#gathered >= this.#gatherBytes / 2)
    return !this.#sourceStopped
  }

  #ship(): void {
    const buffer = this.#gathering
    if (buffer === undefined) return
    const bytes = buffer.subarray(0, this.#gathered)
    this.#gathering = undefined
    this.#gathered = 0
    this.#hash(bytes)
    this.#queue.push({
      bytes,
      release: () => {
        this.#spare.push(buffer)
        if (!this.#sourceStopped) return
        this.#sourceStopped = false
        this.#source?.resume()
      },
    })
  }

  /** Writes what waits, as far as the target's request goes. */
  #push(): void {
    for (;;) {
      const target = this.#target
      const piece = this.#queue[0]
      if (target === undefined || piece === undefined || this.#targetWants === 0) return
      if (this.#writing) return
      const whole = piece.bytes.length <= this.#targetWants
      const bytes = whole ? piece.bytes : piece.bytes.subarray(0, this.#targetWants)
      if (whole) this.#queue.shift()
      else this.#queue[0] = { bytes: piece.bytes.subarray(bytes.length), release: piece.release }
      this.#targetWants -= bytes.length
      this.#sent += bytes.length
      const release = (): void => {
        this.#writing = false
        if (whole) piece.release()
      }
      this.#writing = true
      const taken = target.write(bytes, () => {
        release()
        this.#push()
      })
      if (taken) release()
      this.#options.onSent(this.#sent)
    }
  }

  #wrong(code: 'COPY_DIGEST_MISMATCH', why: string): RegistryError {
    const { digest, sourceHost } = this.#options
    return new RegistryError(
      code,
      `blob ${digest} from ${sourceHost} ${why}; it was altered on the way or in the registry's storage`,
      {
        host: sourceHost,
      },
    )
  }
}
