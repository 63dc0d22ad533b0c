import { formatReference, type ImageReference, parseReference } from '@containers/image-copy'
import type { Mapping } from '../images/mapping.ts'
import type { ImageStore } from '../state/store.ts'

/**
 * Knows where copies lie, and whose a place is that several images may want: imgCloneCtrl's flat names leave the host out. Kept
 * as images come and go, since everything is planned anew whenever a worker starts.
 */
export class Places {
  readonly #mapping: Mapping
  readonly #onOwner: (wanting: readonly string[]) => void
  /** The images that want each place, in the order of their names. */
  readonly #wanting = new Map<string, readonly string[]>()
  readonly #stop: () => void

  /** @param options.onOwner told of all images that want a place when it goes to another of them */
  constructor(options: {
    readonly store: ImageStore
    readonly mapping: Mapping
    readonly onOwner: (wanting: readonly string[]) => void
  }) {
    const { store } = options
    this.#mapping = options.mapping
    this.#onOwner = options.onOwner
    const look = (reference: string): void => {
      const place = this.of(reference)
      if (place !== undefined) this.#note(place, reference, store.get(reference) !== undefined)
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

  /**
   * The image that has the place, the first by name of those that want it; undefined: none does, or whoever wants it names the
   * same digest, whose bytes are the same under any name.
   */
  ownerOf(place: string): string | undefined {
    const first = this.#wanting.get(place)?.[0]
    return first === undefined || isPinned(parseReference(first)) ? undefined : first
  }

  /** The images whose copy a pod names, by the copy's reference as it stands in the pod. */
  imagesAt(copy: string): readonly string[] {
    const named = parseReference(copy)
    const { registry, repository, tag } = named
    const place = tag === undefined ? named : { registry, repository, tag }
    return this.#wanting.get(formatReference(place)) ?? []
  }

  close(): void {
    this.#stop()
  }

  #note(place: string, reference: string, isWanted: boolean): void {
    const before = this.#wanting.get(place) ?? []
    if (before.includes(reference) === isWanted) return
    const now = isWanted
      ? [...before, reference].sort()
      : before.filter((other) => other !== reference)
    if (now.length === 0) this.#wanting.delete(place)
    else this.#wanting.set(place, now)
    if (now.length + before.length > 1 && now[0] !== before[0]) this.#onOwner(now)
  }
}

function isPinned({ digest }: ImageReference): boolean {
  return digest !== undefined
}
