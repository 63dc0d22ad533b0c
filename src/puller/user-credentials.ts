import type { PullIdentity } from '../discovery/discovery.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import { KubeApiError } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { type ImageCredentials, readCredentials } from './credential-source.ts'
import type { HeldCredential } from './credentials.ts'
import type { ObservedShard } from './daemon-set.ts'
import type { Pace } from './pace.ts'

/** Secrets change without an event that kip may watch: they are read so often, in milliseconds. */
export const refreshMs = 30_000

export interface UserCredentialsOptions {
  readonly client: KubeClient
  readonly log: Log
  readonly clock: Clock
  readonly pace: Pick<Pace, 'removeMs'>
  /** With which pull secrets an image's pods come; undefined: not known yet. */
  readonly identitiesOf: (
    references: Iterable<string>,
  ) => ReadonlyMap<string, readonly PullIdentity[]> | undefined
  /** What is to be read beside them. */
  readonly alongside: (shards: readonly ObservedShard[], signal: AbortSignal) => Promise<void>
  /** There is something new. */
  readonly onChange: () => void
}

/** An image that kip's own pods need, and the pull secrets that they are given. */
export interface OwnImage {
  readonly reference: string
  readonly identity: PullIdentity
}

/** The credentials with which pods pull images that need some, read from the Secrets that the pods name. */
export class UserCredentials {
  readonly #options: UserCredentialsOptions
  #known: ReadonlyMap<string, ImageCredentials> | undefined
  #own: HeldCredential | undefined
  /** When users of an image were last seen, with what they pulled then. */
  readonly #seen = new Map<
    string,
    { readonly at: number; readonly users: readonly PullIdentity[] }
  >()
  #readKey = ''
  #readAt = Number.NEGATIVE_INFINITY
  #isReading = false
  #told = ''

  constructor(options: UserCredentialsOptions) {
    this.#options = options
  }

  /** By reference; undefined until they were read. */
  get known(): ReadonlyMap<string, ImageCredentials> | undefined {
    return this.#known
  }

  /** That of the image that kip's own pods need, which is for no other; undefined: it needs none. */
  get own(): HeldCredential | undefined {
    return this.#own
  }

  /** Reads them anew in the background when there are other images, or the last time is long ago. */
  refresh(
    wanted: ReadonlyMap<string, unknown>,
    shards: readonly ObservedShard[],
    own: OwnImage,
    signal: AbortSignal,
  ): void {
    const { identitiesOf, pace, clock } = this.#options
    const now = clock.now()
    const key = [...wanted.keys()].sort().join(' ')
    if (this.#isReading || (key === this.#readKey && now < this.#readAt + refreshMs)) return
    const found = wanted.size === 0 ? new Map() : identitiesOf(wanted.keys())
    if (found === undefined) return
    this.#readKey = key
    this.#readAt = now
    for (const [reference, users] of found) this.#seen.set(reference, { at: now, users })
    for (const [reference, { at }] of this.#seen) {
      // While pods are made anew there may be none for a moment.
      if (!wanted.has(reference) || now - at >= pace.removeMs) this.#seen.delete(reference)
    }
    if (wanted.size === 0) this.#known = undefined
    else void this.#read(shards, own, signal)
  }

  async #read(shards: readonly ObservedShard[], own: OwnImage, signal: AbortSignal): Promise<void> {
    const { log, client, alongside, onChange } = this.#options
    const users = new Map([...this.#seen].map(([reference, { users }]) => [reference, users]))
    this.#isReading = true
    try {
      const [{ images, refused }, mine] = await Promise.all([
        readCredentials(client, users, signal),
        // Apart, so that it is nobody's who uses that image too.
        readCredentials(client, new Map([[own.reference, [own.identity]]]), signal),
        alongside(shards, signal),
      ])
      this.#known = images
      this.#own = mine.images.get(own.reference)?.credentials[0]
      if (refused === undefined) this.#told = ''
      else this.#tell('the pull secrets of workloads may not be read (component private-images)')
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof KubeApiError && error.status === 403) {
        this.#tell("Secrets of kip's namespace may not be read (component private-images)")
      } else log.warn({ err: error }, 'pull secrets were not read, trying again')
    } finally {
      this.#isReading = false
      onChange()
    }
  }

  #tell(text: string): void {
    if (this.#told === text) return
    this.#told = text
    this.#options.log.warn({}, `images that need credentials are not held: ${text}`)
  }
}
