import {
  Authenticator,
  type AuthenticatorOptions,
  type Grant,
  type Turn,
} from '../auth/authenticator.ts'
import { now } from '../clock.ts'
import { RegistryError } from '../errors.ts'
import type { RateLimit } from '../events.ts'
import type { Answer, Exchange, ExchangeLimits } from '../http/exchange.ts'
import type { HeaderFields } from '../http/header-fields.ts'
import type { Origin } from '../http/origin.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import type { Transport, TransportPeer } from '../http/transport.ts'
import { Remembered } from '../remembered.ts'
import type { Context } from './context.ts'
import { failureOfAnswer, failureOfExchange } from './failure.ts'
import type { HostCounts } from './host-counts.ts'
import type { ManifestHead } from './manifests.ts'
import { readRateLimit } from './rate-limit.ts'
import { reads, redirects, requireRedirect } from './redirect.ts'
import type {
  Learned,
  OpenAnswer,
  RegistryAnswer,
  RegistryRequest,
  Timeouts,
  UploadRequest,
} from './requests.ts'
import { Resource } from './resource.ts'
import { backoffMs, delay, type RetryOptions } from './retry.ts'
import { Window } from './window.ts'

export interface EndpointOptions {
  /** The registry as it stands in references. */
  readonly name: string
  readonly base: URL
  readonly transport: Transport
  readonly counts: HostCounts
  readonly timeouts: Timeouts
  readonly retry: RetryOptions
  readonly maxRequests: number
  /** Undefined: nobody is shown a credential, whatever is asked for. */
  readonly auth?: Omit<AuthenticatorOptions, 'registry' | 'name' | 'now'> | undefined
  /** The registry whose answer named this server, as `host[:port]`; undefined: the caller did. */
  readonly namedBy?: string | undefined
  readonly originOf: (url: URL) => Origin
  readonly random: () => number
}

type Peer = Pick<TransportPeer, 'origin' | 'purpose'>

/**
 * Longest silence towards a registry that asks for one, in milliseconds; then it is asked once more. Some ask for hours over what
 * one image did, and a slip of units makes years of them.
 */
const longestSilenceMs = 300_000
/** Transfers of a kind at a time before anything is known of a host: as many as skopeo has of one image. */
const firstTransfers = 6
/** More would mostly be opened in vain where an image turns out to be there. */
const maxWarm = firstTransfers

/** One registry server: its address, who we are there, how much it bears, and what was learned about it. */
export class Endpoint {
  readonly name: string
  readonly base: URL
  /** `host[:port]` of it. */
  readonly host: string
  readonly learned: Learned = {
    mount: 'unknown',
    selfMount: 'unknown',
    referrers: new Remembered(),
    uploadStep: 0,
    absentTags: 0,
    absentImages: 0,
    rightTags: 0,
    absentNamesakes: 0,
  }
  readonly seenTags: Remembered<ManifestHead> = new Remembered()
  /** Short requests, blob downloads, and blob uploads, each with a window of its own so that none starves another. */
  readonly requests: Window
  readonly pulls: Window
  readonly pushes: Window
  readonly timeouts: Timeouts
  readonly counts: HostCounts
  readonly #options: EndpointOptions
  readonly #auth: Authenticator | undefined
  readonly #limits: ExchangeLimits
  readonly #requestLimits: ExchangeLimits
  readonly #uploadLimits: ExchangeLimits
  readonly #whereabouts: ReturnType<Transport['whereabouts']>
  /** For what the caller named. */
  #ownPeer: Peer | undefined
  /**
   * Patience outlives a restart. Of a server that never answered, one request's is enough for all: it is `absent` until it does, and
   * each request tries once.
   */
  #standing: 'unknown' | 'absent' | 'present' = 'unknown'
  #notBefore = 0
  /** What {@link #notBefore} comes from. */
  #askedBy: RegistryError | undefined
  #rateLimit: RateLimit | undefined

  constructor(options: EndpointOptions) {
    this.#options = options
    this.name = options.name
    this.base = options.base
    this.host = options.base.host
    this.timeouts = options.timeouts
    this.counts = options.counts
    const { answerMs, commitMs, stallMs, requestMs } = options.timeouts
    this.#limits = { answerMs, stallMs }
    this.#requestLimits = { answerMs, stallMs, totalMs: requestMs }
    this.#uploadLimits = { answerMs: commitMs, stallMs }
    const limits = {
      start: Math.min(firstTransfers, options.maxRequests),
      max: options.maxRequests,
    }
    this.requests = new Window({ start: options.maxRequests, max: options.maxRequests })
    this.pulls = new Window(limits)
    this.pushes = new Window(limits)
    this.#whereabouts = options.transport.whereabouts(options.namedBy ?? this.host)
    this.#auth =
      options.auth &&
      new Authenticator({
        ...options.auth,
        registry: options.base,
        name: options.name,
        now,
      })
  }

  /** What the registry last said about pulls left. */
  get rateLimit(): RateLimit | undefined {
    return this.#rateLimit
  }

  /** Sends a request and reads its answer whole, again and again as far as it helps. */
  fetch(request: RegistryRequest, context: Context): Promise<RegistryAnswer> {
    const once = (): Promise<OpenAnswer> => this.openOnce(request, context, this.#requestLimits)
    return this.retrying(context, once, this.requests)
  }

  /**
   * Runs `work` again after failures that may pass, with growing delays; Retry-After holds for all that this host is asked.
   *
   * @param window each try takes a place in
   */
  async retrying<T>(context: Context, work: () => Promise<T>, window?: Window): Promise<T> {
    const { retry } = this.#options
    for (let attempt = 1; ; attempt += 1) {
      const turn = window?.enter(context.signal)
      if (turn !== undefined) await turn
      let failure: RegistryError
      let refusal: RegistryError | undefined
      try {
        // With the place taken: those before may just have been asked for patience.
        if (this.#notBefore > 0) refusal = await this.#patience(context)
        if (refusal !== undefined) throw refusal
        const done = await work()
        window?.succeeded()
        return done
      } catch (error) {
        const final = context.signal.aborted || error === refusal
        if (final || !(error instanceof RegistryError && error.retryable)) throw error
        failure = error
      } finally {
        window?.leave()
      }
      this.noteTrouble(failure)
      if (attempt >= retry.attempts) this.#noteAbsence(failure)
      const tries = this.#standing === 'absent' ? 1 : (context.tries ?? retry.attempts)
      if (attempt >= Math.min(retry.attempts, tries)) throw failure
      await this.backOff(attempt, failure, '', context)
    }
  }

  /** @param failure after which there is no patience left */
  #noteAbsence({ code }: RegistryError): void {
    if (code === 'COPY_UNREACHABLE' && this.#standing === 'unknown') this.#standing = 'absent'
  }

  /**
   * Waits before the try after `attempt`, as long as is usual or as the registry asked, and tells of it.
   *
   * @param what is tried again, where the error's message does not tell
   * @throws the error, when the registry asked for more patience than there is
   */
  async backOff(
    attempt: number,
    error: RegistryError,
    what: string,
    context: Context,
  ): Promise<void> {
    const { retry, random } = this.#options
    const asked = error.retryAfterMs ?? 0
    if (asked > retry.maxRetryAfterMs) throw error
    const delayMs = Math.max(asked, backoffMs(attempt, retry, random))
    const reason = what === '' ? error.message : `${what}: ${error.message}`
    context.emit({ type: 'retry', image: context.image, host: this.host, reason, attempt, delayMs })
    this.counts.retries += 1
    const wait = delay(delayMs, context.signal)
    await (asked > 0 || error.status === 429 ? this.counts.throttled(wait, now) : wait)
  }

  /** Narrows the windows, and holds everybody back as long as the registry asked. */
  noteTrouble(error: RegistryError): void {
    if (error.status === 429 || error.status === 503 || error.code === 'COPY_TIMEOUT') {
      for (const window of [this.requests, this.pulls, this.pushes]) window.congested(now())
    }
    const longest = Math.max(longestSilenceMs, this.#options.retry.maxRetryAfterMs)
    const until = now() + Math.min(error.retryAfterMs ?? 0, longest)
    if (until <= Math.max(now(), this.#notBefore)) return
    this.#notBefore = until
    this.#askedBy = error
  }

  /** Why a request is not to be sent at all: it would wait for longer than there is patience, and be refused then. */
  #refusal({ tries }: Context): RegistryError | undefined {
    const left = this.#notBefore - now()
    // One that has a single try is passed over for another place.
    const patience = tries === 1 ? 0 : this.#options.retry.maxRetryAfterMs
    if (left <= patience) return undefined
    const { code = 'COPY_RATE_LIMITED', status } = this.#askedBy ?? {}
    const wait = `${Math.ceil(left / 1000)} s`
    return new RegistryError(
      code,
      `${this.host} asked for patience (${status}), and is not asked before ${wait} are over`,
      { host: this.host, registry: this.name, status, retryAfterMs: left, retryable: true },
    )
  }

  /** Sends a request once, with authorisation and redirects. */
  async openOnce(
    request: RegistryRequest,
    context: Context,
    limits: ExchangeLimits = this.#limits,
  ): Promise<OpenAnswer> {
    const first = new Resource(this, request.repository, request.url, request.query)
    let resource = first
    let direct = first.own
    let hops = 0
    let answers = 0
    try {
      const granted = this.#auth?.firstGrant(request, context.signal)
      let grant = granted instanceof Promise ? await granted : granted
      for (;;) {
        const shown = direct ? grant?.authorization : undefined
        const answer = await this.#send(request, { resource, direct }, shown, context, limits)
        const { status, headers, body, exchange } = answer
        if (direct) this.#standing = 'present'
        if (direct && reads.has(request.method)) this.#noteRateLimit(headers, context)
        // Asked with nothing for want of a token: that nobody sees it does not say that it is not there.
        if (grant?.failure?.retryable && status >= 400 && status !== 401) throw grant.failure
        if (request.expect.includes(status)) {
          if (grant !== undefined) this.#auth?.letIn(grant)
          return { status, headers, body, exchange, resource }
        }
        if (redirects.has(status)) {
          const destination = requireRedirect(request.method, resource, answer, hops)
          hops += 1
          // Once elsewhere, never trusted again: a later hop back could be forged to collect the credential.
          direct = direct && destination.same
          resource = new Resource(this, request.repository, destination.place)
          continue
        }
        const turn = direct ? this.#turnedDown(grant, answer, answers) : undefined
        if (turn === undefined) {
          const realm = direct && grant ? this.#auth?.untrustedRealm(grant) : undefined
          throw failureOfAnswer(request.method, resource, answer, realm)
        }
        answers += 1
        hops = 0
        resource = first
        grant = await this.#auth?.grant(request, context.signal, turn)
      }
    } catch (error) {
      throw failureOfExchange(error, request.method, resource, context.signal)
    }
  }

  /** Learns from an answer of 401 or 403. @returns how another try makes sense, with another token or credential */
  #turnedDown(
    grant: Grant | undefined,
    { status, headers }: ResponseHead,
    answers: number,
  ): Turn | undefined {
    if (this.#auth === undefined || grant === undefined) return undefined
    if (status !== 401 && status !== 403) return undefined
    return this.#auth.turnedDown(grant, status, headers.get('www-authenticate') ?? '', answers)
  }

  /** Starts a request whose body the caller streams. One try, no redirects. */
  async startUpload(
    request: Omit<RegistryRequest, 'body'> & { readonly bodyBytes: number },
    context: Context,
  ): Promise<UploadRequest> {
    const { method, expect, bodyBytes } = request
    const { signal } = context
    const resource = new Resource(this, request.repository, request.url, request.query)
    const limits = this.#uploadLimits
    const { origin, purpose } = this.#peer(resource, resource.own)
    const path = resource.target
    let grant: Grant | undefined
    let exchange: Exchange
    try {
      const granted = resource.own ? this.#auth?.grant(request, signal) : undefined
      grant = granted instanceof Promise ? await granted : granted
      const headers = authorized(request.headers, grant?.authorization)
      const { write: traffic } = this.counts.traffic
      const sent = { origin, purpose, method, path, headers, bodyBytes, expect, limits, signal }
      const opened = this.#options.transport.open({ ...sent, traffic })
      exchange = (opened instanceof Promise ? await opened : opened).exchange
    } catch (error) {
      throw failureOfExchange(error, method, resource, signal)
    }
    // Only with a new token: each credential would be sent all bytes anew, and the next try begins with the same again.
    const refused = async (head: ResponseHead): Promise<boolean> => {
      const turn = this.#turnedDown(grant, head, 0)
      return turn !== undefined && turn.index === grant?.index
    }
    return { exchange, resource, refused }
  }

  /** Opens connections for up to `count` requests that are about to come at a time. */
  warm(count: number, { signal }: Context): void {
    const { read: traffic } = this.counts.traffic
    const peer = { ...this.#peer(new Resource(this, '', '/'), true), signal, traffic }
    this.#options.transport.warm(peer, Math.min(count, maxWarm, this.pulls.size))
  }

  #send(
    { method, headers, body, expect, maxBytes, sink }: RegistryRequest,
    { resource, direct }: { readonly resource: Resource; readonly direct: boolean },
    authorization: string | undefined,
    { signal }: Context,
    limits: ExchangeLimits,
  ): Promise<Answer> {
    const { origin, purpose } = this.#peer(resource, direct)
    const { read, write } = this.counts.traffic
    // No spread: this is made for each request.
    return this.#options.transport.send({
      origin,
      purpose,
      method,
      path: resource.target,
      headers: authorized(headers, authorization),
      body,
      expect,
      maxBytes,
      sink: sink && ((head, exchange) => sink(head, exchange, resource)),
      limits,
      signal,
      traffic: reads.has(method) ? read : write,
    })
  }

  /** Whom a request goes to; `direct`: because the caller named it, and not an answer. */
  #peer(resource: Resource, direct: boolean): Peer {
    const registryAddress = this.#whereabouts.address
    const own = this.#ownPeer
    // The same objects as long as they say the same: a connection remembers which purpose it was judged by.
    if (direct && resource.own && own && own.purpose.registryAddress === registryAddress) return own
    const { namedBy, originOf } = this.#options
    const registry = namedBy ?? this.host
    const derived = !direct || namedBy !== undefined
    const origin = resource.own ? (own?.origin ?? originOf(this.base)) : originOf(resource.url)
    const peer = { origin, purpose: { registry, derived, registryAddress } }
    if (direct && resource.own) this.#ownPeer = peer
    return peer
  }

  /** Waits as long as the registry asked, which it may prolong meanwhile. @returns why it is not to be asked, if that is too long */
  async #patience(context: Context): Promise<RegistryError | undefined> {
    for (;;) {
      const refusal = this.#refusal(context)
      const left = this.#notBefore - now()
      if (refusal !== undefined || left <= 0) return refusal
      await this.counts.throttled(delay(left, context.signal), now)
    }
  }

  #noteRateLimit(headers: HeaderFields, context: Context): void {
    const limit = readRateLimit(headers)
    if (limit === undefined) return
    this.#rateLimit = limit
    context.emit({ type: 'rate-limit', image: context.image, host: this.host, limit })
  }
}

function authorized(
  headers: Readonly<Record<string, string>> | undefined,
  authorization: string | undefined,
): Readonly<Record<string, string>> | undefined {
  return authorization === undefined ? headers : { ...headers, Authorization: authorization }
}
