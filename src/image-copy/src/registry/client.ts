import type { LookupFunction } from 'node:net'
import { abortSignalOf, type StopSignal } from '../abortable.ts'
import type { Credential, CredentialSource } from '../auth/credential.ts'
import {
  maxTokenAnswerBytes,
  readToken,
  type Token,
  type TokenQuestion,
  tokenRequest,
} from '../auth/token-client.ts'
import type { Counters } from '../counters.ts'
import type { RateLimit } from '../events.ts'
import { type AllowAddress, defaultAddressPolicy } from '../http/address.ts'
import { faultOfAuthorities } from '../http/authorities.ts'
import { Dialer } from '../http/dial.ts'
import type { Origin } from '../http/origin.ts'
import { type ProxyChoice, parseProxy } from '../http/proxy.ts'
import { tlsIdentity } from '../http/tls-identity.ts'
import type { Traffic } from '../http/traffic.ts'
import { Transport } from '../http/transport.ts'
import { isRegistryHost } from '../reference.ts'
import { BlobLedger } from './blob-ledger.ts'
import type { BlobPlaces } from './blob-places.ts'
import { ClientCounts } from './client-counts.ts'
import { Endpoint } from './endpoint.ts'
import { failureOfAnswer, failureOfExchange } from './failure.ts'
import type { HostCounts } from './host-counts.ts'
import type { Timeouts } from './requests.ts'
import type { Asked } from './resource.ts'
import { defaultRetry, type RetryOptions } from './retry.ts'
import { SharedWrites } from './shared-writes.ts'

/** What a caller knows about one registry host. */
export interface HostOptions {
  /** Speak plain http to it. Default false; there is no host that this is guessed for. */
  readonly http?: boolean | undefined
  /** Hosts, each with an optional path prefix, that are asked before it when reading: `mirror.example.com/docker-hub`. */
  readonly mirrors?: readonly string[] | undefined
  /** PEM of authorities trusted for this host, besides the client's. */
  readonly ca?: string | undefined
  /** PEM of a client certificate and its key. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
  /** Hosts that may be shown its credentials as token servers, besides those known to belong to it. */
  readonly trustedRealms?: readonly string[] | undefined
  /** Requests of one kind at a time: short ones, downloads, uploads. Default 16. */
  readonly maxRequests?: number | undefined
}

/** Options of {@link createRegistryClient}; all optional. */
export interface RegistryClientOptions {
  readonly hosts?: ((host: string) => HostOptions) | undefined
  /** PEM of authorities trusted besides Node's own. */
  readonly ca?: string | undefined
  readonly credentials?: CredentialSource | undefined
  /**
   * Exchanges credentials for a token in place of the registry's token server, for clouds with ways of their own.
   * Undefined: not for this one.
   */
  readonly exchangeToken?:
    | ((
        question: TokenExchange,
        signal: AbortSignal,
      ) => Promise<{ token: string; expiresInSeconds: number } | undefined>)
    | undefined
  /** Asked at connect for every resolved address. Default {@link defaultAddressPolicy}. */
  readonly allowAddress?: AllowAddress | undefined
  /** Resolves names instead of the system. */
  readonly lookup?: LookupFunction | undefined
  /** Proxy URL for a target; see {@link proxyFromVariables}. */
  readonly proxy?: ProxyChoice | undefined
  readonly timeouts?: Partial<Timeouts> | undefined
  readonly retry?: Partial<RetryOptions> | undefined
  readonly userAgent?: string | undefined
  /**
   * Where blobs were seen at targets in earlier runs, which are mounted from there; what this client sees is added. Default:
   * what the client saw itself, in the last ten minutes.
   */
  readonly blobPlaces?: BlobPlaces | undefined
  /** Source of jitter, 0 to 1. Default Math.random. */
  readonly random?: (() => number) | undefined
}

/** What {@link RegistryClientOptions.exchangeToken} is asked. */
export interface TokenExchange {
  readonly host: string
  readonly realm: string
  readonly service: string | undefined
  readonly scopes: readonly string[]
  readonly credential: Credential | undefined
}

/** Connections, tokens, and what was learned about hosts and blobs: one per process, shared by all copies. */
export interface RegistryClient {
  /** Pulls that a host still allows by its own word, if it said so. */
  rateLimit(host: string): RateLimit | undefined
  /** What it did since it was made, as it is now; see {@link openMetrics}. */
  counters(): Counters
  /** Ends every connection; calls under way fail. */
  close(): Promise<void>
}

/**
 * - connectMs: the system sends a SYN that was lost again after 1, 3 and 7 s; what needs more than that is not there.
 * - answerMs, stallMs: after 60 s the usual proxies before a registry (nginx, a load balancer of AWS) give up too.
 * - commitMs: a registry on object storage may copy a 10 GiB blob before it answers the last PUT.
 * - requestMs: the head may take answerMs, and 4 MiB of a manifest, the largest body of such a request, come in the rest at
 *   35 KB/s.
 */
export const defaultTimeouts: Timeouts = Object.freeze({
  connectMs: 15_000,
  answerMs: 60_000,
  commitMs: 600_000,
  stallMs: 60_000,
  requestMs: 180_000,
})

/** With what the transport may add 30 s at most; the usual proxies before registries close what is idle after 60 s. */
const idleMs = 20_000
/** Measured 20 ms from the registry: 200 small images take 56 % of the time that they take with 6, one of 60 layers 91 %. */
const defaultMaxRequests = 16

/** Makes a client. @throws TypeError for malformed options */
export function createRegistryClient(options: RegistryClientOptions = {}): RegistryClient {
  return new Client(options)
}

/**
 * Where a registry is asked. Its host is not always the registry's name: Docker Hub's server has another one, and a URL is
 * in lower case and without the port of its scheme.
 *
 * @param registry `host[:port]` as it stands in references
 * @param http by plain http
 * @throws TypeError when it is no registry host
 */
export function serverOf(registry: string, http = false): URL {
  const name = registry === 'docker.io' ? 'registry-1.docker.io' : registry
  const url = `${http ? 'http' : 'https'}://${name}/`
  if (!isRegistryHost(registry) || !URL.canParse(url))
    throw new TypeError(`"${registry}" is no registry host`)
  return new URL(url)
}

function requireAuthorities(pem: string): void {
  const fault = faultOfAuthorities(pem)
  if (fault !== undefined) throw new TypeError(`ca ${fault}`)
}

/** The inside of a client. @throws TypeError for an object that {@link createRegistryClient} did not make */
export function internalsOf(client: RegistryClient): Client {
  if (client instanceof Client) return client
  throw new TypeError('the client must come from createRegistryClient')
}

/** One server to read a repository from. */
export interface ReadRoute {
  readonly endpoint: Endpoint
  readonly prefix: string
  /** Where the one blob that this route is for lies, instead of the place that its digest gives. */
  readonly blobUrl?: URL
}

/** A registry that a reference names, and its mirrors. */
export interface Route {
  /** Where it is written to. */
  readonly main: Endpoint
  /** Where it is read from, best first; `prefix` goes before the repository. */
  readonly reads: readonly ReadRoute[]
}

export class Client implements RegistryClient {
  readonly ledger: BlobLedger
  readonly counts: ClientCounts = new ClientCounts()
  /** Entries on their way into fallback tags. */
  readonly fallbackTags: SharedWrites<{ readonly digest: string }> = new SharedWrites()
  readonly #options: RegistryClientOptions
  readonly #timeouts: Timeouts
  readonly #transport: Transport
  readonly #endpoints = new Map<string, Endpoint>()
  readonly #routes = new Map<string, Route>()
  readonly #foreign = new Map<string, Endpoint>()
  readonly #identities = new Map<string, ReturnType<typeof tlsIdentity>>()

  constructor(options: RegistryClientOptions) {
    if (options.ca !== undefined) requireAuthorities(options.ca)
    this.ledger = new BlobLedger(options.blobPlaces)
    this.#options = options
    this.#timeouts = { ...defaultTimeouts, ...options.timeouts }
    const allowAddress = options.allowAddress ?? defaultAddressPolicy
    const dialer = new Dialer({
      allowAddress,
      lookup: options.lookup,
      connectMs: this.#timeouts.connectMs,
    })
    this.#transport = new Transport({
      dialer,
      idleMs,
      userAgent: options.userAgent ?? 'image-copy/0.1',
    })
  }

  rateLimit(host: string): RateLimit | undefined {
    return this.#endpoints.get(host)?.rateLimit
  }

  counters(): Counters {
    return this.counts.snapshot((host) => this.rateLimit(host))
  }

  close(): Promise<void> {
    this.#transport.close()
    return Promise.resolve()
  }

  /** Where a registry is read and written. */
  route(registry: string): Route {
    let route = this.#routes.get(registry)
    if (route === undefined) {
      route = this.#makeRoute(registry)
      this.#routes.set(registry, route)
    }
    return route
  }

  #makeRoute(registry: string): Route {
    const main = this.#endpoint(registry)
    const mirrors = (this.#host(registry).mirrors ?? []).map((text) => {
      const slash = text.indexOf('/')
      const host = slash < 0 ? text : text.slice(0, slash)
      if (!isRegistryHost(host))
        throw new TypeError(`mirror "${text}" of ${registry} does not start with a host`)
      return {
        endpoint: this.#endpoint(host),
        prefix: slash < 0 ? '' : `${text.slice(slash + 1).replace(/\/+$/, '')}/`,
      }
    })
    return { main, reads: [...mirrors, { endpoint: main, prefix: '' }] }
  }

  /**
   * A server that a manifest of `registry` names for a foreign layer. It is shown nothing of ours, neither credentials nor a
   * client certificate, and its address is judged like every other that an answer leads to.
   *
   * @returns undefined when the URL may not be asked: it is plain http, and its host is not marked so
   */
  foreignEndpoint(url: URL, registry: string): Endpoint | undefined {
    if (url.protocol !== 'https:' && this.#host(url.host).http !== true) return undefined
    const key = `${registry} ${url.origin}`
    let endpoint = this.#foreign.get(key)
    if (endpoint === undefined) {
      const { host, counts } = this.#endpoint(registry)
      endpoint = this.#makeEndpoint(url.host, new URL('/', url), counts, host)
      this.#foreign.set(key, endpoint)
    }
    return endpoint
  }

  #host(name: string): HostOptions {
    return this.#options.hosts?.(name) ?? {}
  }

  #endpoint(name: string): Endpoint {
    let endpoint = this.#endpoints.get(name)
    if (endpoint === undefined) {
      const base = serverOf(name, this.#host(name).http)
      endpoint = this.#makeEndpoint(name, base, this.counts.host(name))
      this.#endpoints.set(name, endpoint)
    }
    return endpoint
  }

  #makeEndpoint(name: string, base: URL, counts: HostCounts, namedBy?: string): Endpoint {
    const host = this.#host(name)
    return new Endpoint({
      name,
      base,
      transport: this.#transport,
      counts,
      timeouts: this.#timeouts,
      retry: { ...defaultRetry, ...this.#options.retry },
      maxRequests: host.maxRequests ?? defaultMaxRequests,
      ...(namedBy === undefined
        ? {
            auth: {
              credentials: this.#options.credentials,
              trustedRealms: host.trustedRealms ?? [],
              fetchToken: (question, signal) =>
                this.#fetchToken({ name, base }, counts.traffic.token, question, signal),
            },
          }
        : { namedBy }),
      originOf: (url) => this.#originOf(url, { name, base }, namedBy === undefined),
      random: this.#options.random ?? Math.random,
    })
  }

  /** The client certificate goes to the registry itself only. */
  #originOf(url: URL, registry: Asked, known = true): Origin {
    const scheme = url.protocol === 'https:' ? 'https' : 'http'
    const hostname = url.hostname.replace(/^\[|\]$/g, '')
    const port = Number(url.port || (scheme === 'https' ? 443 : 80))
    const proxy = this.#options.proxy?.(url)
    const own = url.host === registry.base.host
    const { ca, ...identity } = this.#host(own ? registry.name : url.host)
    const tls = scheme === 'https' ? this.#tls(known ? { ca, ...identity } : { ca }) : undefined
    return {
      scheme,
      hostname,
      port,
      tls,
      // The client's authorities count for the proxy too; a registry's own, and a client certificate, do not.
      proxy: proxy === undefined ? undefined : { ...parseProxy(proxy), tls: this.#tls({}) },
    }
  }

  #tls({ ca, cert, key }: HostOptions): ReturnType<typeof tlsIdentity> {
    const trusted = [this.#options.ca, ca].filter((pem) => pem !== undefined)
    const material = { ca: trusted.length === 0 ? undefined : trusted.join('\n'), cert, key }
    const name = JSON.stringify(material)
    if (!this.#identities.has(name)) {
      if (ca !== undefined) requireAuthorities(ca)
      this.#identities.set(name, tlsIdentity(material))
    }
    return this.#identities.get(name)
  }

  async #fetchToken(
    asker: Asked,
    traffic: Traffic,
    question: TokenQuestion,
    signal: StopSignal,
  ): Promise<Token> {
    const registry = asker.base
    const { realm, service, scopes, credential } = question
    if (this.#options.exchangeToken !== undefined && realm.showCredential) {
      const exchange = { host: registry.host, realm: realm.url.href, service, scopes, credential }
      const given = await this.#options.exchangeToken(exchange, abortSignalOf(signal))
      if (given !== undefined) return { value: given.token, lifeMs: given.expiresInSeconds * 1000 }
    }
    const { method, url, headers, body } = tokenRequest(question)
    // Which registry it is for, the request knows that waits for the token.
    const asked = { url, party: { host: url.host } }
    const untrusted = credential !== undefined && !realm.showCredential ? realm.url : undefined
    try {
      const answer = await this.#transport.send({
        origin: this.#originOf(url, asker),
        purpose: {
          registry: registry.host,
          derived: url.host !== registry.host,
          registryAddress: this.#transport.whereabouts(registry.host).address,
        },
        method,
        path: url.pathname + url.search,
        headers,
        body,
        expect: [200],
        maxBytes: maxTokenAnswerBytes,
        limits: { ...this.#timeouts, totalMs: this.#timeouts.requestMs },
        signal,
        traffic,
      })
      // Redirects are not followed: the realm was judged, where it sends on was not.
      if (answer.status !== 200) throw failureOfAnswer(method, asked, answer, untrusted)
      return readToken(answer.body, url.host)
    } catch (error) {
      throw failureOfExchange(error, method, asked, signal)
    }
  }
}
