import { abortable, type StopSignal } from '../abortable.ts'
import { now } from '../clock.ts'
import type { BlobPlaces } from './blob-places.ts'

/** Registries collect unused blobs after hours at the earliest; ten minutes stays far below. */
const knowledgeMs = 10 * 60_000
/** About 20 MB at worst. */
const maxBlobs = 50_000

/**
 * Which blobs a target registry holds, as far as this client saw, and which are on their way: so that each digest is
 * uploaded once at a time across all images of all running copies, and mounted from where it is known to be.
 */
export class BlobLedger {
  readonly #blobs = new Map<string, KnownBlob>()
  readonly #places: BlobPlaces | undefined

  /** @param places what earlier runs saw, and what is told of this one */
  constructor(places?: BlobPlaces) {
    this.#places = places
  }

  /** What is known of a blob at a registry. */
  of(host: string, digest: string): KnownBlob {
    const name = `${host} ${digest}`
    let blob = this.#blobs.get(name)
    if (blob === undefined) {
      blob = new KnownBlob(this.#places && { places: this.#places, host, digest })
      this.#blobs.set(name, blob)
      if (this.#blobs.size > maxBlobs) this.#dropOldest()
    }
    return blob
  }

  #dropOldest(): void {
    for (const [name, blob] of this.#blobs) {
      if (blob.led) continue
      this.#blobs.delete(name)
      return
    }
  }
}

/** A blob in what earlier runs saw. */
interface Remembered {
  readonly places: BlobPlaces
  readonly host: string
  readonly digest: string
}

/** What is known of one blob at one target registry. */
export class KnownBlob {
  readonly #remembered: Remembered | undefined
  /** Repositories that hold it, each with the time it was seen there, in milliseconds. */
  readonly #repositories = new Map<string, number>()
  /** For those who wait: settles when the upload under way has ended, either way. */
  #ended: PromiseWithResolvers<void> | undefined
  #led = false

  constructor(remembered?: Remembered) {
    this.#remembered = remembered
  }

  /** Whether an upload is under way. */
  get led(): boolean {
    return this.#led
  }

  /** Whether `repository` was seen to hold it lately. */
  isIn(repository: string): boolean {
    const seen = this.#repositories.get(repository)
    return seen !== undefined && now() - seen < knowledgeMs
  }

  /** A repository that holds it, to mount it from. */
  get holder(): string | undefined {
    if (this.#repositories.size === 0) return undefined
    for (const repository of this.#repositories.keys()) if (this.isIn(repository)) return repository
    return undefined
  }

  /** A repository that held it in an earlier run, and may do so still, to mount it from into `repository`. */
  hintFor(repository: string): string | undefined {
    if (this.#remembered === undefined) return undefined
    const { places, host, digest } = this.#remembered
    return places.holder(host, digest, repository)
  }

  /**
   * A hint was wrong.
   *
   * @param closed it may not be mounted from there, of which no other blob need be asked
   */
  missed(repository: string, closed: boolean): void {
    if (this.#remembered === undefined) return
    const { places, host, digest } = this.#remembered
    if (closed) places.close(host, repository)
    else places.drop(host, digest, repository)
  }

  /** `repository` was seen to hold it. */
  add(repository: string): void {
    this.#repositories.set(repository, now())
    if (this.#remembered === undefined) return
    const { places, host, digest } = this.#remembered
    places.add(host, digest, repository)
  }

  /** Forgets what was known: the registry says otherwise. */
  forget(): void {
    this.#repositories.clear()
    if (this.#remembered === undefined) return
    const { places, host, digest } = this.#remembered
    places.drop(host, digest)
  }

  /**
   * Runs `work`, which brings it into `repository`, as the only one for this blob. Others wait until it ended, and then run in
   * their turn, by when {@link holder} mostly has an answer for them.
   *
   * @returns undefined: it is there without any work
   */
  async lead<T>(
    repository: string,
    signal: StopSignal,
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    while (this.#led && this.holder === undefined) {
      this.#ended ??= Promise.withResolvers()
      await abortable(this.#ended.promise, signal)
    }
    if (this.isIn(repository)) return undefined
    const leads = !this.#led
    this.#led = true
    try {
      const done = await work()
      this.add(repository)
      return done
    } finally {
      if (leads) {
        this.#led = false
        this.#ended?.resolve()
        this.#ended = undefined
      }
    }
  }
}
