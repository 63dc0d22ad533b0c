import type { RateLimit } from './events.ts'

/** What a client did since it was made: numbers that only grow, but for what a registry said last. */
export interface Counters {
  /**
   * Each registry and mirror that was asked, in the order they were first asked: 100 at most, with all that came later
   * together as {@link otherHosts}, since whoever names images names hosts. Requests that a registry led elsewhere, to its
   * token server or its storage, count as asked of it.
   */
  readonly hosts: readonly HostCounters[]
  /** Blobs of images that were brought into a target, by how; one that two images share counts for each of them. */
  readonly blobs: Readonly<Record<'copied' | 'present' | 'mounted' | 'skipped', BlobCounters>>
  /** Copies that ended: complete, given up, and stopped by the caller's signal. A plan is no copy. */
  readonly images: Readonly<Record<'done' | 'failed' | 'stopped', number>>
}

/** Blobs, and bytes of them by their manifests. */
export interface BlobCounters {
  readonly count: number
  readonly bytes: number
}

/** What a client did at one registry. */
export interface HostCounters {
  /** `host[:port]` as in references, `docker.io` for Docker Hub. */
  readonly host: string
  /** Requests that are over: GET and HEAD, those that write, and those for tokens. */
  readonly requests: Readonly<Record<RequestKind, Readonly<Record<AnswerClass, number>>>>
  /** Bytes of bodies of requests and answers, of transfers that broke too. */
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Connections that were opened, and that could not be: name, address, TCP, proxy or TLS. */
  readonly connections: number
  readonly failedConnections: number
  /** Tries of requests and transfers again, after failures that may pass. */
  readonly retries: number
  /** Waits because the registry answered 429 or asked for patience (Retry-After), and their sum in milliseconds. */
  readonly throttledWaits: number
  readonly throttledMs: number
  /** Downloads that went on by Range where they broke, and uploads that went on where the registry said they were. */
  readonly resumedDownloads: number
  readonly resumedUploads: number
  /** Pulls left, as it last said. */
  readonly rateLimit?: RateLimit | undefined
}

/** Kinds of requests that are counted apart. */
export type RequestKind = 'read' | 'write' | 'token'

/**
 * What came of a request: the class of its final answer's status, with 429 apart from the other 4xx; `none`: no answer came,
 * be it in time; `stopped`: the caller wanted it no more before one came. Each 401 that asks for a token counts as 4xx.
 */
export type AnswerClass = '2xx' | '3xx' | '429' | '4xx' | '5xx' | 'none' | 'stopped'

/** Stands for the hosts beyond those that are counted one by one; no registry can be called so. */
export const otherHosts = '(others)'
