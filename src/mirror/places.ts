import { formatReference, parseReference } from '@containers/image-copy'
import type { Mapping } from '../images/mapping.ts'
import type { ImageStore } from '../state/store.ts'

/**
 * Knows where copies lie, and whose a place is that several images may want: imgCloneCtrl's flat names leave the host out. Kept
 * as images come and go, since everything is planned anew whenever a worker starts.
 */
export class Places {
  readonly #mapping: Mapping
  /** Of places that do not tell their image: the images that want each. */
  readonly #wanted = new Map<string, Set<string>>()
  readonly #stop: () => void

  constructor({ store, mapping }: { readonly store: ImageStore; readonly mapping: Mapping }) {
    this.#mapping = mapping
    const look = (reference: string): void => {
      const place = this.of(reference)
      if (place === undefined || this.#isOnesOwn(place)) return
      if (store.get(reference) === undefined) this.#leave(place, reference)
      else this.#want(place, reference)
    }
    this.#stop = store.onChange(look)
    for (const { reference } of store.list()) look(reference)
  }

  /** Where the copy of an image lies; undefined when it has no place, as a copy itself. */
  of(reference: string): string | undefined {
    const source = parseReference(reference)
    if (this.#mapping.isBackup(source)) return undefined
    return formatReference(this.#mapping.backupOf(source))
  }

  /** The image that has the place, the first by name of those that want it; undefined: no other can want it. */
  ownerOf(place: string): string | undefined {
    let first: string | undefined
    for (const reference of this.#wanted.get(place) ?? [])
      if (first === undefined || reference < first) first = reference
    return first
  }

  close(): void {
    this.#stop()
  }

  #isOnesOwn(place: string): boolean {
    return this.#mapping.sourceOf(parseReference(place)) !== undefined
  }

  #want(place: string, reference: string): void {
    const wanting = this.#wanted.get(place)
    if (wanting === undefined) this.#wanted.set(place, new Set([reference]))
    else wanting.add(reference)
  }

  #leave(place: string, reference: string): void {
    const wanting = this.#wanted.get(place)
    wanting?.delete(reference)
    if (wanting?.size === 0) this.#wanted.delete(place)
  }
}
