import { Authenticator, type AuthenticatorOptions, type Grant } from '../auth/authenticator.ts'
import { RegistryError } from '../errors.ts'
import type { RateLimit } from '../events.ts'
import type { ExchangeLimits } from '../http/exchange.ts'
import type { Origin } from '../http/origin.ts'
import { collect, type Transport } from '../http/transport.ts'
import type { Context } from './context.ts'
import { failureOfAnswer, failureOfExchange } from './failure.ts'
import { resolveLocation } from './location.ts'
import { readRateLimit } from './rate-limit.ts'
import type {
  Learned,
  OpenAnswer,
  RegistryAnswer,
  RegistryRequest,
  Timeouts,
  UploadRequest,
} from './requests.ts'
import { backoffMs, delay, type RetryOptions } from './retry.ts'
import { Window } from './window.ts'

export interface EndpointOptions {
  /** The registry as it stands in references. */
  readonly name: string
  readonly base: URL
  readonly transport: Transport
  readonly timeouts: Timeouts
  readonly retry: RetryOptions
  readonly maxRequests: number
  readonly userAgent: string
  /** Undefined: nobody is shown a credential, whatever is asked for. */
  readonly auth?: Omit<AuthenticatorOptions, 'registry' | 'name' | 'now'> | undefined
  /** The registry whose answer named this server, as `host[:port]`; undefined: the caller did. */
  readonly namedBy?: string | undefined
  readonly originOf: (url: URL) => Origin
  readonly random: () => number
}

const maxRedirects = 5
const redirects = new Set([301, 302, 303, 307, 308])
const maxErrorBytes = 64 * 1024
/** Windows begin at six, and more would mostly be opened in vain where an image turns out to be there. */
const maxWarm = 6
const defaultMaxBytes = 64 * 1024

/** One registry server: its address, who we are there, how much it bears, and what was learned about it. */
export class Endpoint {
  readonly name: string
  readonly base: URL
  readonly learned: Learned = {
    mount: 'unknown',
    selfMount: 'unknown',
    referrers: 'unknown',
    uploadStep: 0,
    absentTags: 0,
  }
  /** Short requests, blob downloads, and blob uploads, each with a window of its own so that none starves another. */
  readonly requests: Window
  readonly pulls: Window
  readonly pushes: Window
  readonly timeouts: Timeouts
  readonly #options: EndpointOptions
  readonly #auth: Authenticator | undefined
  #ownOrigin: Origin | undefined
  #notBefore = 0
  #rateLimit: RateLimit | undefined

  constructor(options: EndpointOptions) {
    this.#options = options
    this.name = options.name
    this.base = options.base
    this.timeouts = options.timeouts
    const limits = { start: Math.min(6, options.maxRequests), max: options.maxRequests }
    this.requests = new Window({ start: options.maxRequests, max: options.maxRequests })
    this.pulls = new Window(limits)
    this.pushes = new Window(limits)
    this.#auth =
      options.auth &&
      new Authenticator({
        ...options.auth,
        registry: options.base,
        name: options.name,
        now: () => performance.now(),
      })
  }

  get host(): string {
    return this.base.host
  }

  /** What the registry last said about pulls left. */
  get rateLimit(): RateLimit | undefined {
    return this.#rateLimit
  }

  /** Sends a request and reads its answer whole, again and again as far as it helps. */
  fetch(request: RegistryRequest, context: Context): Promise<RegistryAnswer> {
    return this.retrying(context, async () => {
      const release = await this.requests.acquire(context.signal)
      try {
        const limits = { ...this.#limits(), totalMs: this.timeouts.requestMs }
        const { exchange, head, url } = await this.openOnce({ limits, ...request }, context)
        const body = await this.#guard(request.method, url, context, () =>
          collect(exchange, head, request.maxBytes ?? defaultMaxBytes),
        )
        this.requests.succeeded()
        return { ...head, body, url }
      } finally {
        release()
      }
    })
  }

  /** Runs `work` again after failures that may pass, with growing delays; Retry-After holds for all that this host is asked. */
  async retrying<T>(context: Context, work: () => Promise<T>): Promise<T> {
    const { retry } = this.#options
    for (let attempt = 1; ; attempt += 1) {
      await this.#patience(context.signal)
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error
        if (!error.retryable) throw error
        this.noteTrouble(error)
        const asked = error.retryAfterMs ?? 0
        if (
          attempt >= Math.min(retry.attempts, context.tries ?? retry.attempts) ||
          asked > retry.maxRetryAfterMs
        )
          throw error
        await this.backOff(attempt, error, '', context)
      }
    }
  }

  /**
   * Waits before the try after `attempt`, as long as is usual or as the registry asked, and tells of it.
   *
   * @param what is tried again, where the error's message does not tell
   */
  async backOff(
    attempt: number,
    error: RegistryError,
    what: string,
    context: Context,
  ): Promise<void> {
    const { retry, random } = this.#options
    const asked = Math.min(error.retryAfterMs ?? 0, retry.maxRetryAfterMs)
    const delayMs = Math.max(asked, backoffMs(attempt, retry, random))
    const reason = what === '' ? error.message : `${what}: ${error.message}`
    context.emit({ type: 'retry', image: context.image, host: this.host, reason, attempt, delayMs })
    await delay(delayMs, context.signal)
  }

  /** Narrows the windows, and holds everybody back as long as the registry asked. */
  noteTrouble(error: RegistryError): void {
    if (error.status === 429 || error.status === 503 || error.code === 'COPY_TIMEOUT') {
      for (const window of [this.requests, this.pulls, this.pushes])
        window.congested(performance.now())
    }
    const asked = Math.min(error.retryAfterMs ?? 0, this.#options.retry.maxRetryAfterMs)
    if (asked > 0) this.#notBefore = Math.max(this.#notBefore, performance.now() + asked)
  }

  /** Sends a request once, with authorisation and redirects. The body of the answer waits to be read. */
  async openOnce(request: RegistryRequest, context: Context): Promise<OpenAnswer> {
    for (let turn = 0; ; turn += 1) {
      const grant = await this.#auth?.grant(request, context.signal)
      const answer = await this.#follow(request, grant?.authorization, context)
      const { status, headers } = answer.head
      if (request.expect.includes(status)) return answer
      const again =
        this.#auth !== undefined &&
        grant !== undefined &&
        answer.direct &&
        turn < 16 &&
        (status === 401 || status === 403) &&
        (await this.#auth.turnedDown(
          request,
          grant,
          status,
          headers.get('www-authenticate') ?? '',
          turn,
        ))
      const body = await this.#guard(request.method, answer.url, context, () =>
        collect(answer.exchange, answer.head, maxErrorBytes),
      )
      if (!again) throw failureOfAnswer(request.method, answer.url, status, headers, body)
    }
  }

  /** Starts a request whose body the caller streams. One try, no redirects. */
  async startUpload(
    request: Omit<RegistryRequest, 'body' | 'expect' | 'limits'> & { readonly bodyBytes: number },
    context: Context,
  ): Promise<UploadRequest> {
    const url = new URL(request.url, this.base)
    const trusted = this.#isOwn(url)
    const grant: Grant | undefined = trusted
      ? await this.#auth?.grant(request, context.signal)
      : undefined
    const limits = { ...this.#limits(), answerMs: this.timeouts.commitMs }
    const { exchange } = await this.#guard(request.method, url, context, () =>
      this.#options.transport.open({
        origin: this.#originOf(url, trusted),
        purpose: this.#purpose(!trusted),
        method: request.method,
        path: url.pathname + url.search,
        headers: this.#headers(request.headers, grant?.authorization),
        bodyBytes: request.bodyBytes,
        limits,
        signal: context.signal,
      }),
    )
    const refused = (status: number, headers: ReadonlyMap<string, string>): Promise<boolean> =>
      grant === undefined || this.#auth === undefined
        ? Promise.resolve(false)
        : this.#auth.turnedDown(request, grant, status, headers.get('www-authenticate') ?? '', 0)
    return { exchange, url, refused }
  }

  /** Whether the first request about a repository will most likely be answered by a challenge. */
  expectsChallenge(repository: string, signal: AbortSignal): Promise<boolean> {
    return this.#auth?.expectsChallenge(repository, signal) ?? Promise.resolve(false)
  }

  /** Opens connections for up to `count` requests that are about to come at a time. */
  warm(count: number, { signal }: Context): void {
    const peer = {
      origin: this.#originOf(this.base, true),
      purpose: this.#purpose(false),
      signal,
    }
    this.#options.transport.warm(peer, Math.min(count, maxWarm, this.pulls.size))
  }

  /** Turns transport errors into this package's. */
  async #guard<T>(method: string, url: URL, context: Context, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw failureOfExchange(error, method, url, context.signal)
    }
  }

  async #follow(
    request: RegistryRequest,
    authorization: string | undefined,
    context: Context,
  ): Promise<OpenAnswer & { direct: boolean }> {
    const { method } = request
    let url = new URL(request.url, this.base)
    let direct = this.#isOwn(url)
    for (let hops = 0; ; hops += 1) {
      const { exchange, head } = await this.#guard(method, url, context, () =>
        this.#options.transport.send({
          origin: this.#originOf(url, this.#isOwn(url)),
          purpose: this.#purpose(!direct),
          method,
          path: url.pathname + url.search,
          headers: this.#headers(request.headers, direct ? authorization : undefined),
          body: request.body,
          limits: request.limits ?? this.#limits(),
          signal: context.signal,
        }),
      )
      if (direct) this.#noteRateLimit(head.headers, context)
      const moved = redirects.has(head.status) && !request.expect.includes(head.status)
      if (!moved) return { exchange, head, url, direct }
      await this.#guard(method, url, context, () => collect(exchange, head, maxErrorBytes))
      if (hops >= maxRedirects || (method !== 'GET' && method !== 'HEAD')) {
        throw new RegistryError(
          'COPY_REDIRECT_REFUSED',
          `${method} ${url.host}: ${hops >= maxRedirects ? `more than ${maxRedirects} redirects` : 'is redirected, which is followed for reads only'}`,
          { host: url.host, status: head.status },
        )
      }
      const destination = resolveLocation(url, head.headers.get('location'))
      url = destination.url
      // Once elsewhere, never trusted again: a later hop back could be forged to collect the credential.
      direct = direct && destination.same
    }
  }

  #isOwn(url: URL): boolean {
    return url.protocol === this.base.protocol && url.host === this.base.host
  }

  #originOf(url: URL, own: boolean): Origin {
    if (!own) return this.#options.originOf(url)
    this.#ownOrigin ??= this.#options.originOf(this.base)
    return this.#ownOrigin
  }

  #purpose(derived: boolean) {
    const registry = this.#options.namedBy ?? this.host
    return {
      registry,
      derived: derived || this.#options.namedBy !== undefined,
      registryAddress: this.#options.transport.addressOf(registry),
    }
  }

  #limits(): ExchangeLimits {
    return { answerMs: this.timeouts.answerMs, stallMs: this.timeouts.stallMs }
  }

  #headers(
    extra: Readonly<Record<string, string>> | undefined,
    authorization: string | undefined,
  ): Record<string, string> {
    return {
      'User-Agent': this.#options.userAgent,
      ...extra,
      ...(authorization === undefined ? {} : { Authorization: authorization }),
    }
  }

  async #patience(signal: AbortSignal): Promise<void> {
    for (
      let left = this.#notBefore - performance.now();
      left > 0;
      left = this.#notBefore - performance.now()
    ) {
      await delay(left, signal)
    }
  }

  #noteRateLimit(headers: ReadonlyMap<string, string>, context: Context): void {
    const limit = readRateLimit(headers)
    if (limit === undefined) return
    this.#rateLimit = limit
    context.emit({ type: 'rate-limit', image: context.image, host: this.host, limit })
  }
}
