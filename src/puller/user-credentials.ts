import type { PullIdentity } from '../discovery/discovery.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import { isForbidden } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import {
  type CredentialReading,
  CredentialSource,
  type ImageCredentials,
} from './credential-source.ts'
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
  readonly #source: CredentialSource
  /** Apart, so that what it reads is nobody's who uses that image too. */
  readonly #ownSource: CredentialSource
  #known: ReadonlyMap<string, ImageCredentials> | undefined
  #own: readonly HeldCredential[] = []
  /** When users of an image were last seen, with what they pulled then. */
  readonly #seen = new Map<
    string,
    { readonly at: number; readonly users: readonly PullIdentity[] }
  >()
  /** When they were first asked for while nothing is known. */
  #askedSince: number | undefined
  #readKey = ''
  #readAt = Number.NEGATIVE_INFINITY
  #isReading = false
  #told = ''

  constructor(options: UserCredentialsOptions) {
    this.#options = options
    const { client, clock, pace } = options
    const reading = { client, clock, keepMs: pace.removeMs }
    this.#source = new CredentialSource(reading)
    this.#ownSource = new CredentialSource(reading)
  }

  /** By reference; undefined until they were read. */
  get known(): ReadonlyMap<string, ImageCredentials> | undefined {
    return this.#known
  }

  /** Those of the image that kip's own pods need, which are for no other; none: it needs none. */
  get own(): readonly HeldCredential[] {
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
    this.#askedSince = wanted.size === 0 ? undefined : (this.#askedSince ?? now)
    if (wanted.size === 0) this.#known = undefined
    else void this.#read(shards, own, signal)
  }

  async #read(shards: readonly ObservedShard[], own: OwnImage, signal: AbortSignal): Promise<void> {
    const { log, alongside, onChange } = this.#options
    const users = new Map([...this.#seen].map(([reference, { users }]) => [reference, users]))
    this.#isReading = true
    try {
      const [reading, mine] = await Promise.all([
        this.#source.read(users, signal),
        this.#ownSource.read(new Map([[own.reference, [own.identity]]]), signal),
        alongside(shards, signal),
      ])
      // Without it the shards would be made anew, and again when it is known.
      if (mine.isPartial && this.#known === undefined && this.#isEarly) return
      if (!mine.isPartial) this.#own = mine.images.get(own.reference)?.credentials ?? []
      this.#take(reading)
    } catch (error) {
      if (signal.aborted) return
      if (isForbidden(error)) {
        this.#tell("Secrets of kip's namespace may not be read (component private-images)")
      } else log.warn({ err: error }, 'pull secrets were not read, trying again')
    } finally {
      this.#isReading = false
      onChange()
    }
  }

  #take({ images, isPartial, isRefused, greediest, failed }: CredentialReading): void {
    const { log } = this.#options
    if (this.#known !== undefined || !isPartial || !this.#isEarly) this.#known = images
    if (failed !== undefined) {
      const { namespace, name, error } = failed
      log.warn({ namespace, secret: name, err: error }, 'a pull secret was not read, trying again')
    }
    if (isRefused) {
      this.#tell('the pull secrets of workloads may not be read (component private-images)')
    } else if (greediest !== undefined) {
      const text = 'more pull secrets are named than are read in one go, most of them here'
      this.#warnOnce(text, { namespace: greediest })
    } else this.#told = ''
  }

  /** Nodes may hold what a new leader knows nothing of yet. */
  get #isEarly(): boolean {
    const { clock, pace } = this.#options
    return clock.now() < (this.#askedSince ?? 0) + pace.removeMs
  }

  #tell(text: string): void {
    this.#warnOnce(`images that need credentials are not held: ${text}`, {})
  }

  #warnOnce(text: string, fields: { readonly namespace?: string }): void {
    if (this.#told === text) return
    this.#told = text
    this.#options.log.warn(fields, text)
  }
}
