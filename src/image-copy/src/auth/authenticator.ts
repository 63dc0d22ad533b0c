import { abortable, type StopSignal } from '../abortable.ts'
import { cryptoModule } from '../crypto-module.ts'
import { RegistryError } from '../errors.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import {
  basicAuthorization,
  type Credential,
  type CredentialSource,
  identityKey,
} from './credential.ts'
import { judgeRealm, type Realm } from './realm.ts'
import { type SharedToken, SharedTokens, type SharedTokensOptions } from './shared-tokens.ts'

/** Who asks for what. */
export interface AccessRequest {
  readonly repository: string
  /** `repository:name:pull,push`, sorted. */
  readonly scopes: readonly string[]
}

/** Whom a request stands for: it tries each identity once, beginning with the one that was let in last. */
export interface Turn {
  /** Undefined: the registry has asked for nobody yet. */
  readonly identities: Identities | undefined
  /** The one the request began with. */
  readonly first: number
  readonly index: number
}

/** How a request was authorised, to be shown again with its answer. */
export interface Grant extends Turn {
  readonly authorization: string | undefined
  readonly token: SharedToken | undefined
  /** The token was issued while this very request waited for it. */
  readonly fresh: boolean
  /** Why there is nothing to show, though the registry has asked for it before. */
  readonly failure?: RegistryError
}

export interface AuthenticatorOptions extends SharedTokensOptions {
  /** The registry's own address. */
  readonly registry: URL
  /** The registry as it stands in references, which is what credentials are kept under. */
  readonly name: string
  readonly credentials: CredentialSource | undefined
  /** Hosts that may be given the credentials as token servers, besides those known. */
  readonly trustedRealms: readonly string[]
}

type Scheme =
  | { readonly kind: 'basic' }
  | { readonly kind: 'bearer'; readonly realm: Realm; readonly service: string | undefined }

interface Identities {
  readonly list: readonly Credential[]
  readAt: number
  /** The one that was let in last. */
  index: number
}

const unasked: Grant = {
  identities: undefined,
  first: 0,
  index: 0,
  authorization: undefined,
  token: undefined,
  fresh: false,
}

/** Credentials are asked for again after this, so that rotated ones are found. */
const credentialLifeMs = 60_000
/** Answers after which a request is not sent again as the same identity, with another token or in another way. */
const maxAgain = 16
/** The same for a token that was issued for the request: its server may have been restarted in between. */
const maxAgainFresh = 3

/**
 * Answers a registry's challenges, and remembers how: one per registry host.
 *
 * Nothing is sent before the registry has asked for it once. Scopes are always the ones this package needs, never those
 * that a challenge suggests.
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions
  #saltOnce: Buffer | undefined
  /** By repository; a promise while they are being read. */
  readonly #identities = new Map<string, Identities | Promise<Identities>>()
  readonly #tokens: SharedTokens
  #scheme: Scheme | undefined

  constructor(options: AuthenticatorOptions) {
    this.#options = options
    this.#tokens = new SharedTokens(options)
  }

  #salt(): Buffer {
    this.#saltOnce ??= cryptoModule().randomBytes(32)
    return this.#saltOnce
  }

  /**
   * What to show with a request now.
   *
   * @param turn what {@link turnedDown} said, for a request that was sent before
   * @throws RegistryError when the token server gives no token
   */
  grant(request: AccessRequest, signal: StopSignal, turn: Turn = unasked): Grant | Promise<Grant> {
    return this.#scheme === undefined ? unasked : this.#grantBy(this.#scheme, request, turn, signal)
  }

  /**
   * What to show when a request is sent for the first time. A token server that gives nothing may be another repository's (a
   * registry may have one for each), or the registry's no longer: then the registry is asked with nothing, and says who is to be
   * asked now: if that is the same, it is the failure that counts. Were it not asked, what one answer taught would hold for the
   * whole host and for good.
   */
  firstGrant(request: AccessRequest, signal: StopSignal): Grant | Promise<Grant> {
    const grant = this.grant(request, signal)
    if (!(grant instanceof Promise)) return grant
    return grant.catch((error) => {
      if (signal.aborted || !(error instanceof RegistryError)) throw error
      return { ...unasked, failure: error }
    })
  }

  async #grantBy(
    scheme: Scheme,
    request: AccessRequest,
    turn: Turn,
    signal: StopSignal,
  ): Promise<Grant> {
    const known = turn.identities ?? this.#identitiesFor(request.repository)
    const identities = known instanceof Promise ? await abortable(known, signal) : known
    const first = turn.identities === undefined ? identities.index : turn.first
    let index = turn.identities === undefined ? first : turn.index
    for (;;) {
      const credential = identities.list[index]
      if (scheme.kind === 'basic' || (credential !== undefined && 'registryToken' in credential)) {
        const authorization = shownItself(credential)
        return { identities, first, index, authorization, token: undefined, fresh: true }
      }
      const token = this.#tokenFor(scheme, request.scopes, credential, signal)
      const fresh = token.value === undefined
      try {
        const value = token.value ?? (await abortable(token.pending, signal)).value
        const authorization = `Bearer ${value}`
        return { identities, first, index, authorization, token, fresh }
      } catch (error) {
        if (signal.aborted) throw error
        if (token.stopped) continue
        const next = isTurnedDown(error) ? nextIndex({ identities, first, index }) : undefined
        if (next === undefined) throw error
        index = next
      }
    }
  }

  /**
   * Learns from an answer of 401, or 403 after which another credential may do.
   *
   * @param answers how many this request had before
   * @returns how to send the request again, with a new {@link grant}: as the same identity if the index is the same.
   *   Undefined: nothing more helps
   * @throws RegistryError `COPY_REALM_REFUSED`, or what failed before the request
   */
  turnedDown(used: Grant, status: number, challenge: string, answers: number): Turn | undefined {
    if (status === 401) {
      const before = this.#scheme
      this.#learn(challenge)
      if (this.#scheme === undefined) return undefined
      if (used.failure !== undefined && isSame(before, this.#scheme)) throw used.failure
      if (used.identities === undefined || before?.kind !== this.#scheme.kind)
        return answers < maxAgain ? used : undefined
    } else if (used.identities === undefined) return undefined
    const { identities, first, token, fresh } = used
    if (token !== undefined) this.#tokens.drop(token)
    const again = token !== undefined && status === 401
    if (again && answers < (fresh ? maxAgainFresh : maxAgain)) return used
    const index = nextIndex({ identities, first, index: used.index })
    return index === undefined ? undefined : { identities, first, index }
  }

  /** Lets later requests begin with the identity that was let in, and not with those that were turned down before it. */
  letIn({ identities, first, index }: Grant): void {
    if (identities !== undefined && index !== first) identities.index = index
  }

  /** The token server that was asked as nobody, though there were credentials to show it; undefined: none was. */
  untrustedRealm({ identities }: Turn): URL | undefined {
    const scheme = this.#scheme
    if (scheme?.kind !== 'bearer' || scheme.realm.showCredential) return undefined
    const some = identities?.list.some((credential) => !('registryToken' in credential))
    return some ? scheme.realm.url : undefined
  }

  #tokenFor(
    { realm, service }: Scheme & { kind: 'bearer' },
    scopes: readonly string[],
    credential: Credential | undefined,
    signal: StopSignal,
  ): SharedToken {
    const identity = identityKey(credential, this.#salt())
    return this.#tokens.find({ realm, service, scopes, credential }, identity, signal)
  }

  #learn(header: string): void {
    const challenges = parseChallenges(header)
    const bearer = challenges.find((it) => it.scheme === 'bearer' && it.parameters.has('realm'))
    if (bearer !== undefined) this.#scheme = this.#bearerScheme(bearer)
    else if (challenges.some((it) => it.scheme === 'basic')) this.#scheme = { kind: 'basic' }
  }

  #bearerScheme({ parameters }: Challenge): Scheme {
    const { registry, trustedRealms } = this.#options
    const realm = judgeRealm(parameters.get('realm') ?? '', { registry, trusted: trustedRealms })
    return { kind: 'bearer', realm, service: parameters.get('service') }
  }

  #identitiesFor(repository: string): Identities | Promise<Identities> {
    const known = this.#identities.get(repository)
    if (known instanceof Promise) return known
    if (known !== undefined && this.#options.now() - known.readAt < credentialLifeMs) return known
    const pending = this.#readIdentities(repository, known)
    this.#identities.set(repository, pending)
    pending.then(
      (identities) => this.#identities.set(repository, identities),
      () => this.#identities.delete(repository),
    )
    return pending
  }

  async #readIdentities(repository: string, known: Identities | undefined): Promise<Identities> {
    const list = (await this.#options.credentials?.(this.#options.name, repository)) ?? []
    const readAt = this.#options.now()
    if (known === undefined || JSON.stringify(known.list) !== JSON.stringify(list))
      return { list, readAt, index: 0 }
    // The same object, for requests under way are still to say who of it was let in.
    known.readAt = readAt
    return known
  }
}

function isSame(before: Scheme | undefined, now: Scheme): boolean {
  if (before?.kind !== 'bearer' || now.kind !== 'bearer') return before?.kind === now.kind
  return before.realm.url.href === now.realm.url.href && before.service === now.service
}

/** What an identity shows the registry without a token server's help. */
function shownItself(credential: Credential | undefined): string | undefined {
  if (credential === undefined) return undefined
  if ('registryToken' in credential) return `Bearer ${credential.registryToken}`
  return basicAuthorization(credential)
}

/** Who comes next, the first after the last; undefined: each had its turn. */
function nextIndex({ identities, first, index }: Turn): number | undefined {
  const next = index + 1 < (identities?.list.length ?? 0) ? index + 1 : 0
  return next === first ? undefined : next
}

/** Whether the token server's answer was about who asked. */
function isTurnedDown(error: unknown): boolean {
  return (
    error instanceof RegistryError &&
    (error.status === 401 || error.status === 403 || error.status === 400)
  )
}
