import type { ImageState } from './cached-image.ts'
import type { StoredImage } from './object.ts'

/**
 * All CachedImage objects by name, and by the reference that they stand for.
 *
 * It is fed by the watch and by the answers to our own writes, in whatever order they come: of one object the newest
 * version stays, so that who wrote reads what it wrote although the watch is behind. A full list stands over all that was
 * known before it was asked for.
 */
export class ImageIndex {
  readonly #byName = new Map<string, StoredImage>()
  readonly #byReference = new Map<string, readonly StoredImage[]>()
  readonly #views = new Map<string, ImageState>()
  /** Objects that were deleted by us, of which the watch may still tell older things. */
  readonly #gone = new Set<string>()
  /** By name, what stood when the list under way was asked for. */
  #beforeList = new Map<string, StoredImage>()
  readonly #onChange: (reference: string) => void

  constructor(onChange: (reference: string) => void) {
    this.#onChange = onChange
  }

  /** The image, from the first of its objects. */
  get(reference: string): ImageState | undefined {
    return this.#views.get(reference)
  }

  list(): IterableIterator<ImageState> {
    return this.#views.values()
  }

  /** All objects of a reference, the one that is used first. */
  objectsOf(reference: string): readonly StoredImage[] {
    return this.#byReference.get(reference) ?? []
  }

  put(object: StoredImage): void {
    const known = this.#byName.get(object.name)
    if (this.#gone.has(object.uid)) return
    if (known !== undefined && !isNewer(object.resourceVersion, known.resourceVersion)) return
    this.#set(object)
  }

  /** A full list is about to be asked for. */
  listing(): void {
    this.#beforeList = new Map(this.#byName)
    this.#gone.clear()
  }

  /**
   * The list is complete. Of what was known before it and has not changed since, it tells the newer state whatever the
   * versions say: after a restore of etcd from a backup objects have earlier ones, and some are gone.
   *
   * @param objects all that there are now
   */
  listed(objects: Iterable<StoredImage>): void {
    const before = this.#beforeList
    this.#beforeList = new Map()
    for (const object of objects) {
      const known = before.get(object.name)
      before.delete(object.name)
      if (known === undefined || known !== this.#byName.get(object.name)) continue
      if (known.resourceVersion !== object.resourceVersion) this.#set(object)
    }
    for (const [name, known] of before)
      if (known === this.#byName.get(name)) this.#drop(name, known.uid)
  }

  /** The watch says that an object went, or a write found none. */
  delete(name: string, uid: string): void {
    this.#gone.delete(uid)
    this.#drop(name, uid)
  }

  /** We deleted an object: whatever the watch still tells of it is old. */
  deleted(name: string, uid: string): void {
    this.#gone.add(uid)
    this.#drop(name, uid)
  }

  #set(object: StoredImage): void {
    const known = this.#byName.get(object.name)
    if (known !== undefined) this.#take(known)
    this.#byName.set(object.name, object)
    const reference = object.image?.reference
    if (reference !== undefined) {
      const objects = [...this.objectsOf(reference), object].sort(byAge)
      this.#setObjects(reference, objects)
    }
    const before = known?.image?.reference
    if (before !== undefined && before !== reference) this.#onChange(before)
    if (reference !== undefined) this.#onChange(reference)
  }

  #drop(name: string, uid: string): void {
    const known = this.#byName.get(name)
    if (known === undefined || known.uid !== uid) return
    this.#byName.delete(name)
    this.#take(known)
    if (known.image !== undefined) this.#onChange(known.image.reference)
  }

  #take(object: StoredImage): void {
    if (object.image === undefined) return
    const { reference } = object.image
    this.#setObjects(
      reference,
      this.objectsOf(reference).filter((other) => other !== object),
    )
  }

  #setObjects(reference: string, objects: readonly StoredImage[]): void {
    const first = objects[0]?.image
    if (first === undefined) {
      this.#byReference.delete(reference)
      this.#views.delete(reference)
      return
    }
    this.#byReference.set(reference, objects)
    // A second object made by hand is a request too: the image outlives its users.
    const requested = objects.some(({ managed }) => !managed)
    this.#views.set(reference, requested === first.requested ? first : { ...first, requested })
  }
}

/** The oldest is used; names decide within a second, which is what creation times tell apart. */
function byAge(a: StoredImage, b: StoredImage): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1
  return a.name < b.name ? -1 : 1
}

/**
 * Whether one resourceVersion of an object is newer than another. They are decimal numbers that grow (guaranteed since
 * Kubernetes 1.35, KEP-5504, and true of etcd before); anything else is taken as newer.
 */
function isNewer(version: string, than: string): boolean {
  if (version === than) return false
  if (!/^\d+$/.test(version) || !/^\d+$/.test(than)) return true
  if (version.length !== than.length) return version.length > than.length
  return version > than
}
