import { renameSync } from 'node:fs'
import { BlobPlaces } from '@containers/image-copy'
import type { Invocation } from '../invocation.ts'
import { replaceFile } from './replace-file.ts'

/** What stands in the file, or why that says nothing. */
type Kept =
  | { readonly places: BlobPlaces }
  | {
      readonly why: string
      /** Whether it may be written anew: else it cannot even be read. */
      readonly replaceable: boolean
      /** What is there is not ours as it is, and perhaps somebody else's. */
      readonly strange?: true
    }

/** A file that remembers from run to run where targets hold blobs. Nothing that befalls it is a failure: it only spares work. */
export class KnownFile {
  readonly places: BlobPlaces
  readonly #file: string
  readonly #invocation: Pick<Invocation, 'readFile' | 'complain'>

  /** Reads it; tells why it begins anew, if it does. */
  constructor(file: string, invocation: Pick<Invocation, 'readFile' | 'complain'>) {
    this.#file = file
    this.#invocation = invocation
    const kept = this.#read()
    this.places = 'places' in kept ? kept.places : new BlobPlaces()
    if ('why' in kept)
      this.#tell(kept.replaceable ? `${kept.why}; begun anew` : `is left alone: ${kept.why}`)
  }

  /** Writes what this run saw, with what other runs kept meanwhile; tells why, if it cannot. */
  save(): void {
    if (!this.places.changed) return
    const latest = this.#read()
    if ('why' in latest && !latest.replaceable) return
    try {
      if ('why' in latest && latest.strange) renameSync(this.#file, `${this.#file}.old`)
      const text = this.places.text('places' in latest ? latest.places : undefined)
      replaceFile(this.#file, text, 0o600)
    } catch (error) {
      this.#tell(`is not written: ${(error as Error).message}`)
    }
  }

  #read(): Kept {
    let text: string
    try {
      text = this.#invocation.readFile(this.#file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        return { why: 'is not there yet', replaceable: true }
      return { why: (error as Error).message, replaceable: false }
    }
    if (text === '') return { why: 'is empty', replaceable: true }
    try {
      return { places: BlobPlaces.parse(text) }
    } catch (error) {
      return { why: (error as Error).message, replaceable: true, strange: true }
    }
  }

  #tell(what: string): void {
    this.#invocation.complain(`kip copy: --known ${this.#file}: ${what}`)
  }
}
