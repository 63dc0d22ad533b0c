import type { DockerConfig } from '@containers/image-copy'
import type { PullIdentity } from '../discovery/discovery.ts'
import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import { isForbidden } from '../kube/errors.ts'
import { resourceOf } from '../kube/resource.ts'
import type { Secret } from '../kube/types.ts'
import { fairShare } from '../state/fair-share.ts'
import { credentialsFor, type HeldCredential, readPullSecret } from './credentials.ts'

/** What the users of one image pull it with. */
export interface ImageCredentials {
  /** Each once, in the order of the namespaces. */
  readonly credentials: readonly HeldCredential[]
  /** Some of them name no pull secret for it: they pull as a service account or as the node. */
  readonly someWithout: boolean
}

/** What one reading of Secrets came to. */
export interface CredentialReading {
  readonly images: ReadonlyMap<string, ImageCredentials>
  /** Nothing is known yet of some Secrets, which may be there: their turn comes later, or they could not be read. */
  readonly isPartial: boolean
  /** The namespace that names most Secrets, where they are too many for one reading. */
  readonly greediest?: string
  /** A Secret may not be read. */
  readonly isRefused: boolean
  /** A Secret that the API server could not give, and why. */
  readonly failed?: SecretName & { readonly error: unknown }
}

interface SecretName {
  readonly namespace: string
  readonly name: string
}

/** What is known of one Secret. */
interface Known {
  readonly askedAt: number
  /** Whether the API server ever said what it is, or that there is none. */
  readonly isAnswered: boolean
  /** What it said last, and when. */
  readonly config?: DockerConfig | undefined
  readonly seenAt: number
}

/** Secrets read in one go: so many teams with a login of their own; more are read in turns. */
const mostSecrets = 1000
/** Reads at a time. */
const concurrency = 4
/**
 * Of what a pod names no API server checks the form. What no object is called is not asked for, as kubelets do not: it is
 * answered by a fault of the request, or means another path.
 */
const objectName = /^[a-z0-9][a-z0-9.-]{0,252}$/
const never = Number.NEGATIVE_INFINITY
const neverAsked: Known = { askedAt: never, isAnswered: false, seenAt: never }

/** The pull secrets that pods name, each read by its name, and what fits their images. */
export class CredentialSource {
  readonly #client: KubeClient
  readonly #clock: Clock
  readonly #keepMs: number
  /** By `namespace/name`, all that pods name now. */
  #known = new Map<string, Known>()

  /** @param options.keepMs how long what a Secret said counts when it is gone: it, or the right to read it, may be made anew */
  constructor(options: {
    readonly client: KubeClient
    readonly clock: Clock
    readonly keepMs: number
  }) {
    this.#client = options.client
    this.#clock = options.clock
    this.#keepMs = options.keepMs
  }

  /** @throws when none could be read, for another reason than that it is not there or is not to be read */
  async read(
    users: ReadonlyMap<string, readonly PullIdentity[]>,
    signal: AbortSignal,
  ): Promise<CredentialReading> {
    const names = namesOf(users)
    this.#known = new Map([...names.keys()].map((key) => [key, this.#of(key)]))
    const longestUnread = [...names]
      .map(([key, name]) => ({ ...name, key, askedAt: this.#of(key).askedAt }))
      .sort((a, b) => (a.askedAt < b.askedAt ? -1 : a.askedAt > b.askedAt ? 1 : 0))
    const { taken, greediest } = fairShare(longestUnread, mostSecrets)
    let isRefused = false
    let failures = 0
    let failed: CredentialReading['failed']
    const waiting = taken.values()
    const worker = async (): Promise<void> => {
      for (const { key, namespace, name } of waiting) {
        try {
          this.#note(key, await this.#get({ namespace, name }, signal))
        } catch (error) {
          signal.throwIfAborted()
          if (isForbidden(error)) {
            isRefused = true
            this.#note(key, undefined)
          } else {
            failures++
            failed = { namespace, name, error }
            this.#known.set(key, { ...this.#of(key), askedAt: this.#clock.now() })
          }
        }
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    if (failed !== undefined && failures === taken.length) throw failed.error
    const images = [...users].map(([image, users]) => [image, this.#fit(image, users)] as const)
    return {
      images: new Map(images),
      isPartial: [...this.#known.values()].some(({ isAnswered }) => !isAnswered),
      isRefused,
      ...(greediest !== undefined && { greediest }),
      ...(failed && { failed }),
    }
  }

  #of(key: string): Known {
    return this.#known.get(key) ?? neverAsked
  }

  async #get({ namespace, name }: SecretName, signal: AbortSignal): Promise<Secret | undefined> {
    const resource = resourceOf('secrets', namespace)
    return await getObject<Secret>(this.#client, resource, name, { signal })
  }

  #note(key: string, secret: Secret | undefined): void {
    const now = this.#clock.now()
    const config = readPullSecret(secret ?? {})
    const before = this.#of(key)
    const answered = { askedAt: now, isAnswered: true }
    if (config !== undefined) this.#known.set(key, { ...answered, config, seenAt: now })
    else if (now - before.seenAt < this.#keepMs) this.#known.set(key, { ...before, ...answered })
    else this.#known.set(key, { ...answered, seenAt: before.seenAt })
  }

  #fit(reference: string, identities: readonly PullIdentity[]): ImageCredentials {
    const credentials = new Map<string, HeldCredential>()
    let someWithout = false
    for (const { namespace, secrets } of identities) {
      const known = secrets
        .filter((name) => objectName.test(name))
        .map((name) => this.#of(`${namespace}/${name}`))
      const fitting = credentialsFor(
        reference,
        known.flatMap(({ config }) => config ?? []),
      )
      someWithout ||= fitting.length === 0 && known.every(({ isAnswered }) => isAnswered)
      for (const credential of fitting) {
        if (!credentials.has(credential.id)) credentials.set(credential.id, credential)
      }
    }
    return { credentials: [...credentials.values()], someWithout }
  }
}

/** Each Secret that is named once. */
function namesOf(
  users: ReadonlyMap<string, readonly PullIdentity[]>,
): ReadonlyMap<string, SecretName> {
  const names = new Map<string, SecretName>()
  for (const { namespace, secrets } of [...users.values()].flat()) {
    for (const name of secrets) {
      if (objectName.test(name)) names.set(`${namespace}/${name}`, { namespace, name })
    }
  }
  return names
}
