import type { Answer, BodySink, Exchange, Reading } from '../http/exchange.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import type { Remembered } from '../remembered.ts'
import type { Resource } from './resource.ts'

/** Time limits of requests, in milliseconds. */
export interface Timeouts {
  /** Look-up, TCP, proxy and TLS of a new connection. */
  readonly connectMs: number
  /** From the end of a request to the head of its answer. */
  readonly answerMs: number
  /** The same for a PUT that ends an upload: the registry may copy the whole blob before it answers. */
  readonly commitMs: number
  /** A moving transfer moves at least once in this time. There is no limit on the whole. */
  readonly stallMs: number
  /** A small request, from start to the end of its answer. */
  readonly requestMs: number
}

/** What an endpoint has found out about its registry, shared by all copies of a client. */
export interface Learned {
  /** `POST ?mount=`: answered 201 once; or failed, and is not used any more. */
  mount: 'unknown' | 'works' | 'broken'
  /** Mounting a blob from the repository that is asked for it, which tells whether it is there. */
  selfMount: 'unknown' | 'works' | 'broken'
  /**
   * Repositories whose referrers API answered, or did not: one host may front several registries, of which one's 404 must
   * not hide what another keeps.
   */
  readonly referrers: Remembered<'api' | 'tag'>
  /** Which way of uploading blobs is known to work here; an index into the ways, the leanest first. */
  uploadStep: number
  /** Tags in a row that were asked for before a copy and were not there: a target that is being filled. */
  absentTags: number
  /** Images in a row that were not there by their digest either. */
  absentImages: number
  /** Tags in a row that were asked for before a copy and were what the source's was: a target that is up to date. */
  rightTags: number
  /** Sources' tags in a row that were not there, where copies were to get other names. */
  absentNamesakes: number
}

/** One request to a registry. */
export interface RegistryRequest extends Omit<Reading, 'sink'> {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Path with query below the registry, or where an answer of it pointed to. */
  readonly url: string | URL
  /** Added to the query of it. */
  readonly query?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** {@link Reading.sink}, told which resource gave the answer in the end. */
  readonly sink?: (head: ResponseHead, exchange: Exchange, resource: Resource) => BodySink
  /** Credentials are chosen by it. */
  readonly repository: string
  readonly scopes: readonly string[]
}

/** An answer and what gave it in the end. */
export interface RegistryAnswer extends Omit<Answer, 'exchange'> {
  readonly resource: Resource
}

/** An answer whose body may have gone, or be going, into a sink. */
export interface OpenAnswer extends RegistryAnswer {
  readonly exchange: Exchange
}

/** A request whose body is being streamed. */
export interface UploadRequest {
  readonly exchange: Exchange
  readonly resource: Resource
  /** To be told of an answer of 401 or 403. @returns whether another try makes sense, with a new token */
  readonly refused: (head: ResponseHead) => Promise<boolean>
}
