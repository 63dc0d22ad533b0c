import type { Origin } from './origin.ts'

/**
 * A small blob with its head. Pages that no read reaches cost no memory, but V8 counts them: with more for each connection it
 * collects its whole heap in the middle of a short copy.
 */
const plainBytes = 64 * 1024
/** For longer bodies 256 KiB a read measured well on plain TCP. */
const longBytes = 256 * 1024
/** For large ones still longer reads take a sixth less CPU; smaller ones never fill them, and more than this gains nothing. */
const largeBytes = 768 * 1024
const largeBodyBytes = 4 * 1024 * 1024
/** A TLS record holds 16 KiB, and a read never brings more than one. */
const tlsBytes = 16 * 1024

/**
 * The memory that a connection reads into, as long as it lives. It is never handed on to another connection: bytes of a
 * broken download may still be on their way out of it, and the platform reads into it until it has asked for the next.
 */
export class ReadBuffer {
  readonly #growing: boolean
  #buffer: Buffer

  constructor(scheme: Origin['scheme']) {
    this.#growing = scheme === 'http'
    this.#buffer = Buffer.allocUnsafeSlow(this.#growing ? plainBytes : tlsBytes)
  }

  /** Where the next read goes. */
  readonly current = (): Buffer => this.#buffer

  /** Makes ready for a body of this size. What was read before stays where it is. */
  expect(bodyBytes: number): void {
    if (!this.#growing || bodyBytes <= this.#buffer.length) return
    const wanted = bytesFor(bodyBytes)
    if (wanted > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(wanted)
  }
}

function bytesFor(bodyBytes: number): number {
  return bodyBytes < largeBodyBytes ? longBytes : largeBytes
}
