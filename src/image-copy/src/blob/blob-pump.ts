import { RegistryError } from '../errors.ts'
import type { BodySink, Exchange } from '../http/exchange.ts'
import type { Resource } from '../registry/resource.ts'
import type { RunningHash } from './running-hash.ts'

export interface BlobPumpOptions {
  readonly digest: string
  readonly size: number
  readonly hash: RunningHash
  /** The target holds the bytes before this; they are hashed where the hash lacks them, and not sent. */
  readonly sendFrom: number
  /** Bytes of the blob that were handed to the target. */
  readonly onSent: (sent: number) => void
}

/**
 * Moves a blob's bytes from a download to one upload request after another, and hashes them in between.
 *
 * They are written out of the memory they were read into: no copy, no allocation, and the download goes on in it once the kernel
 * has taken them. The last bytes are not let go before size and digest are right, as far as they are known here, so that no
 * registry can finish a blob that is wrong. Errors thrown here end the download they came in.
 */
export class BlobPump {
  readonly #options: BlobPumpOptions
  /** What waits to be written: nothing more comes before it is. */
  #waiting: Buffer | undefined
  /** Whose memory that is, and what is written out of: it goes on when none of it is needed any more. */
  #stopped: Exchange | undefined
  #target: Exchange | undefined
  #writing = false
  #targetWants = 0
  #sent: number
  /** What the bytes come from, for errors, which are all thrown below {@link sink}. */
  #from!: Resource

  constructor(options: BlobPumpOptions) {
    this.#options = options
    this.#sent = options.sendFrom
  }

  /** Where the next download has to start. */
  get position(): number {
    return this.#options.hash.position
  }

  /** Takes what a download brings, after `skip` bytes of it. */
  sink(source: Exchange, skip: number, from: Resource): BodySink {
    this.#from = from
    let left = skip
    return (bytes) => {
      const known = Math.min(left, bytes.length)
      left -= known
      if (known === bytes.length) return true
      return this.#take(known === 0 ? bytes : bytes.subarray(known), source)
    }
  }

  /** Hands the next `count` bytes, one at least, to an upload request; its answer tells that they came. */
  fill(target: Exchange, count: number): void {
    this.#target = target
    this.#targetWants = count
    this.#push()
    this.#goOn()
  }

  /** Takes an upload request back that failed. @returns whether none of its `count` bytes were handed to it, so that another can be filled */
  takeBack(count: number): boolean {
    if (this.#targetWants !== count) return false
    this.#target = undefined
    this.#targetWants = 0
    return true
  }

  /** Lets go of an upload request that failed. */
  detach(): void {
    this.#target = undefined
    this.#waiting = undefined
    this.#stopped = undefined
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
    return this.#lend(known === 0 ? bytes : bytes.subarray(known), source)
  }

  #hash(bytes: Buffer): void {
    const { hash, size } = this.#options
    hash.update(bytes)
    if (hash.position === size) this.#verify()
  }

  #verify(): void {
    const actual = this.#options.hash.finish()
    if (actual !== undefined && actual !== this.#options.digest)
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
    this.#waiting = bytes
    this.#push()
    if (!last) this.#hash(bytes)
    if (this.#free) return true
    this.#stopped = source
    return false
  }

  get #free(): boolean {
    return this.#waiting === undefined && !this.#writing
  }

  #goOn(): void {
    const source = this.#stopped
    if (source === undefined || !this.#free) return
    this.#stopped = undefined
    source.resume()
  }

  /** Writes what waits, as far as the target's request goes. */
  #push(): void {
    while (!this.#writing) {
      const target = this.#target
      const waiting = this.#waiting
      if (target === undefined || waiting === undefined || this.#targetWants === 0) return
      const whole = waiting.length <= this.#targetWants
      const bytes = whole ? waiting : waiting.subarray(0, this.#targetWants)
      this.#waiting = whole ? undefined : waiting.subarray(bytes.length)
      this.#targetWants -= bytes.length
      this.#sent += bytes.length
      this.#writing = !target.write(bytes, this.#onWritten)
      this.#options.onSent(this.#sent)
    }
  }

  readonly #onWritten = (): void => {
    this.#writing = false
    this.#push()
    this.#goOn()
  }

  #wrong(code: 'COPY_DIGEST_MISMATCH', why: string): RegistryError {
    const { digest } = this.#options
    const { host, party } = this.#from
    return new RegistryError(
      code,
      `blob ${digest} from ${host} ${why}; it was altered on the way or in the registry's storage`,
      party,
    )
  }
}
