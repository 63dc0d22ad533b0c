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
import type { Token, TokenQuestion } from './token-client.ts'

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
  readonly tokenKey: string | undefined
  /** The token was issued for this very request. */
  readonly fresh: boolean
}

export interface AuthenticatorOptions {
  /** The registry's own address. */
  readonly registry: URL
  /** The registry as it stands in references, which is what credentials are kept under. */
  readonly name: string
  readonly credentials: CredentialSource | undefined
  /** Hosts that may be given the credentials as token servers, besides those known. */
  readonly trustedRealms: readonly string[]
  readonly fetchToken: (question: TokenQuestion, signal: StopSignal) => Promise<Token>
  readonly now: () => number
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

interface CachedToken {
  readonly promise: Promise<Token>
  expiresAt: number
}

const unasked: Grant = {
  identities: undefined,
  first: 0,
  index: 0,
  authorization: undefined,
  tokenKey: undefined,
  fresh: false,
}

/** Credentials are asked for again after this, so that rotated ones are found. */
const credentialLifeMs = 60_000
const maxTokens = 4096
/** Turns in which even a token issued for the request is replaced: its server may have been restarted in between. */
const freshTokens = 3

/**
 * Answers a registry's challenges, and remembers how: one per registry host.
 *
 * Nothing is sent before the registry has asked for it once. Tokens are kept by realm, service, scopes and identity,
 * renewed before they end, and asked for once however many requests wait. Scopes are always the ones this package needs,
 * never those that a challenge suggests.
 */
export class Authenticator {
  readonly #options: AuthenticatorOptions
  #saltOnce: Buffer | undefined
  readonly #identities = new Map<string, Promise<Identities>>()
  readonly #tokens = new Map<string, CachedToken>()
  #scheme: Scheme | undefined

  constructor(options: AuthenticatorOptions) {
    this.#options = options
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

  async #grantBy(
    scheme: Scheme,
    request: AccessRequest,
    turn: Turn,
    signal: StopSignal,
  ): Promise<Grant> {
    const identities =
      turn.identities ?? (await abortable(this.#identitiesFor(request.repository), signal))
    const first = turn.identities === undefined ? identities.index : turn.first
    let index = turn.identities === undefined ? first : turn.index
    for (;;) {
      const credential = identities.list[index]
      if (scheme.kind === 'basic' || (credential !== undefined && 'registryToken' in credential)) {
        const authorization = shownItself(credential)
        return { identities, first, index, authorization, tokenKey: undefined, fresh: true }
      }
      try {
        const shown = await this.#bearer(scheme, request.scopes, credential, signal)
        return { identities, first, index, ...shown }
      } catch (error) {
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
   * @throws RegistryError `COPY_REALM_REFUSED`
   */
  turnedDown(used: Grant, status: number, challenge: string, answers: number): Turn | undefined {
    if (status === 401) {
      const before = this.#scheme
      this.#learn(challenge)
      if (this.#scheme === undefined) return undefined
      if (used.identities === undefined || before?.kind !== this.#scheme.kind) return used
    } else if (used.identities === undefined) return undefined
    if (used.tokenKey !== undefined) this.#tokens.delete(used.tokenKey)
    const renew = used.tokenKey !== undefined && status === 401
    if (renew && (!used.fresh || answers < freshTokens)) return used
    const { identities, first } = used
    const index = nextIndex({ identities, first, index: used.index })
    return index === undefined ? undefined : { identities, first, index }
  }

  /** Lets later requests begin with the identity that was let in, and not with those that were turned down before it. */
  letIn({ identities, first, index }: Grant): void {
    if (identities !== undefined && index !== first) identities.index = index
  }

  async #bearer(
    scheme: Scheme & { kind: 'bearer' },
    scopes: readonly string[],
    credential: Credential | undefined,
    signal: StopSignal,
  ): Promise<Pick<Grant, 'authorization' | 'tokenKey' | 'fresh'>> {
    const identity = identityKey(credential, this.#salt())
    const key = JSON.stringify([scheme.realm.url.href, scheme.service ?? '', scopes, identity])
    let cached = this.#tokens.get(key)
    const fresh = cached === undefined || cached.expiresAt <= this.#options.now()
    if (cached === undefined || fresh) {
      cached = this.#ask(
        key,
        { realm: scheme.realm, service: scheme.service, scopes, credential },
        signal,
      )
    }
    let token: Token
    try {
      token = await cached.promise
    } catch (error) {
      // Whoever asked may have been stopped; that stops nobody else.
      if (fresh || signal.aborted || error instanceof RegistryError) throw error
      token = await this.#ask(
        key,
        { realm: scheme.realm, service: scheme.service, scopes, credential },
        signal,
      ).promise
    }
    return { authorization: `Bearer ${token.value}`, tokenKey: key, fresh }
  }

  #ask(key: string, question: TokenQuestion, signal: StopSignal): CachedToken {
    const promise = this.#options.fetchToken(question, signal)
    const entry: CachedToken = { promise, expiresAt: Number.POSITIVE_INFINITY }
    this.#tokens.delete(key)
    this.#tokens.set(key, entry)
    const oldest = this.#tokens.keys().next().value
    if (this.#tokens.size > maxTokens && oldest !== undefined) this.#tokens.delete(oldest)
    promise.then(
      (token) => {
        // A tenth early, so that it does not end on the way.
        entry.expiresAt = this.#options.now() + token.lifeMs * 0.9
      },
      () => {
        if (this.#tokens.get(key) === entry) this.#tokens.delete(key)
      },
    )
    return entry
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

  async #identitiesFor(repository: string): Promise<Identities> {
    const known = await this.#identities.get(repository)
    if (known !== undefined && this.#options.now() - known.readAt < credentialLifeMs) return known
    const read = async (): Promise<Identities> => {
      const list = (await this.#options.credentials?.(this.#options.name, repository)) ?? []
      const readAt = this.#options.now()
      if (known === undefined || JSON.stringify(known.list) !== JSON.stringify(list))
        return { list, readAt, index: 0 }
      // The same object, for requests under way are still to say who of it was let in.
      known.readAt = readAt
      return known
    }
    const pending = read()
    this.#identities.set(repository, pending)
    pending.catch(() => {
      if (this.#identities.get(repository) === pending) this.#identities.delete(repository)
    })
    return pending
  }
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
