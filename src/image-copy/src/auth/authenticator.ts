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

/** How a request was authorised, to be shown again when it was turned down. */
export interface Grant {
  readonly authorization: string | undefined
  readonly identity: string
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
  readonly readAt: number
  /** The credential in use; those before it were turned down. */
  index: number
}

interface CachedToken {
  readonly promise: Promise<Token>
  expiresAt: number
}

const unasked: Grant = {
  authorization: undefined,
  identity: 'unasked',
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

  /** What to show with a request now. @throws RegistryError when the token server gives no token */
  grant(request: AccessRequest, signal: StopSignal): Grant | Promise<Grant> {
    return this.#scheme === undefined ? unasked : this.#grantBy(this.#scheme, request, signal)
  }

  async #grantBy(scheme: Scheme, request: AccessRequest, signal: StopSignal): Promise<Grant> {
    for (;;) {
      const identities = await abortable(this.#identitiesFor(request.repository), signal)
      const credential = identities.list[identities.index]
      const identity = identityKey(credential, this.#salt())
      if (credential !== undefined && 'registryToken' in credential) {
        return {
          authorization: `Bearer ${credential.registryToken}`,
          identity,
          tokenKey: undefined,
          fresh: true,
        }
      }
      if (scheme.kind === 'basic') {
        const authorization = credential === undefined ? undefined : basicAuthorization(credential)
        return { authorization, identity, tokenKey: undefined, fresh: true }
      }
      try {
        return await this.#bearer(scheme, request.scopes, credential, identity, signal)
      } catch (error) {
        const turnedDown =
          error instanceof RegistryError &&
          (error.status === 401 || error.status === 403 || error.status === 400)
        if (!turnedDown || !this.#advance(identities, identities.index)) throw error
      }
    }
  }

  /**
   * Learns from an answer of 401, or 403 after which another credential may do.
   *
   * @param turn how many answers this request had before
   * @returns whether to send the request again with a new {@link grant}
   * @throws RegistryError `COPY_REALM_REFUSED`
   */
  async turnedDown(
    request: AccessRequest,
    used: Grant,
    status: number,
    challenge: string,
    turn: number,
  ): Promise<boolean> {
    if (status === 401) {
      const before = this.#scheme
      this.#learn(challenge)
      if (this.#scheme === undefined) return false
      if (used.identity === 'unasked') return true
      if (before?.kind !== this.#scheme.kind) return true
    } else if (used.identity === 'unasked') return false
    if (used.tokenKey !== undefined) this.#tokens.delete(used.tokenKey)
    if (used.tokenKey !== undefined && status === 401 && (!used.fresh || turn < freshTokens))
      return true
    const identities = await this.#identitiesFor(request.repository)
    const current = identityKey(identities.list[identities.index], this.#salt())
    // Another request may have moved on already; then its choice is tried.
    return current !== used.identity || this.#advance(identities, identities.index)
  }

  async #bearer(
    scheme: Scheme & { kind: 'bearer' },
    scopes: readonly string[],
    credential: Credential | undefined,
    identity: string,
    signal: StopSignal,
  ): Promise<Grant> {
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
    return { authorization: `Bearer ${token.value}`, identity, tokenKey: key, fresh }
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

  #advance(identities: Identities, from: number): boolean {
    if (identities.index !== from) return true
    if (from + 1 >= identities.list.length) return false
    identities.index = from + 1
    return true
  }

  async #identitiesFor(repository: string): Promise<Identities> {
    const known = await this.#identities.get(repository)
    if (known !== undefined && this.#options.now() - known.readAt < credentialLifeMs) return known
    const read = async (): Promise<Identities> => {
      const list = (await this.#options.credentials?.(this.#options.name, repository)) ?? []
      const same = known !== undefined && JSON.stringify(known.list) === JSON.stringify(list)
      return { list, readAt: this.#options.now(), index: same ? known.index : 0 }
    }
    const pending = read()
    this.#identities.set(repository, pending)
    pending.catch(() => {
      if (this.#identities.get(repository) === pending) this.#identities.delete(repository)
    })
    return pending
  }
}
