import type { Hash } from 'node:crypto'
import { algorithmOf, createDigester, digestOf } from '../digest.ts'
import type { RunningHash } from './running-hash.ts'

/** Copies of the state on the way; an upload that broke is resumed at most this part of the blob before the break. */
const checkpoints = 64
const minInterval = 4 * 1024 * 1024

/**
 * A running digest that can go back to an earlier position, so that a transfer which resumes there still hashes every byte
 * exactly once.
 */
export class CheckpointedHash implements RunningHash {
  readonly #digest: string
  readonly #size: number
  readonly #interval: number
  #marks: { readonly position: number; readonly hash: Hash }[] = []
  #hash: Hash | undefined
  #position = 0
  /** The digest of a blob that came in one piece: a running one costs more than most of them have bytes. */
  #whole: string | undefined

  constructor(digest: string, size: number) {
    this.#digest = digest
    this.#size = size
    this.#interval = Math.max(minInterval, Math.ceil(size / checkpoints))
  }

  get position(): number {
    return this.#position
  }

  update(bytes: Uint8Array): void {
    if (this.#position === 0 && bytes.length === this.#size) {
      this.#whole = digestOf(bytes, algorithmOf(this.#digest))
      this.#position = bytes.length
      return
    }
    this.#hash ??= createDigester(this.#digest)
    this.#hash.update(bytes)
    this.#position += bytes.length
    if (this.#position - (this.#marks.at(-1)?.position ?? 0) >= this.#interval) {
      this.#marks.push({ position: this.#position, hash: this.#hash.copy() })
    }
  }

  rewind(position: number): number {
    if (this.#position === 0) return 0
    this.#whole = undefined
    this.#marks = this.#marks.filter((mark) => mark.position <= position)
    const last = this.#marks.at(-1)
    this.#hash = last?.hash.copy()
    this.#position = last?.position ?? 0
    return this.#position
  }

  finish(): string {
    if (this.#whole !== undefined) return this.#whole
    const hash = this.#hash ?? createDigester(this.#digest)
    return `${algorithmOf(this.#digest)}:${hash.digest('hex')}`
  }
}
