import { Backoff, reflectorBackoff } from './backoff.ts'
import { type Clock, sleep, systemClock } from './clock.ts'
import type { Decoder, Projection } from './decoder.ts'
import {
  isExpired,
  isForbidden,
  isNotFound,
  isUnreachable,
  KubeApiError,
  statusError,
} from './errors.ts'
import { jsonDecoder } from './json-decoder.ts'
import { type ListOptions, listPages, listVersion } from './list-pages.ts'
import { protobufDecoder } from './protobuf-decoder.ts'
import type { ReflectorOptions } from './reflector-options.ts'
import { resourcePath } from './resource.ts'
import { ObjectStore, type ReflectorEvent } from './store.ts'
import { readWatch, refuseShortWatch, type WatchTiming, watchTiming } from './watch.ts'
import { isRefusedQuery, WatchListOffer } from './watch-list-offer.ts'

/** A request a while for what somebody installs once a year: soon enough to need no restart. */
const askAgainMs = { least: 10_000, spread: 10_000 }

/** For a list of one object. */
const versionTimeoutMs = 10_000

/** While nobody is there to connect to, it is tried every 2 to 4 s: cheap, and seconds after the server is back all is known. */
const probeMs = 2_000

/**
 * Keeps the objects of one resource in step with the API server: a full list, then a watch from its version on, for as
 * long as `run` runs. It never gives up: a failed watch goes on from the last version heard of, a version that the
 * server no longer keeps (410) means a new list, and each failure is followed by a jittered wait of 0.8 to 60 s, of at
 * most 4 s while no connection can be made.
 *
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export class Reflector<T> {
  readonly #options: ReflectorOptions<T>
  readonly #decoder: Decoder<T>
  readonly #store: ObjectStore<T>
  readonly #clock: Clock
  readonly #random: () => number
  readonly #timing: WatchTiming
  readonly #backoff: Backoff
  readonly #sync = Promise.withResolvers<void>()
  #isSynced = false
  #running = false
  /** Where the next watch begins; undefined: list first. */
  #version: string | undefined
  readonly #watchList: WatchListOffer
  /** The last watch ended because nothing was heard of it. */
  #silent = false
  /** Status that an optional resource was last refused with; 0: it was not. */
  #refusedWith = 0

  constructor(options: ReflectorOptions<T>) {
    this.#options = options
    const projection: Projection<T> = {
      project: options.project,
      ofOne: options.ofOne,
      onFault: (error, object) => this.#faulty(error, object),
    }
    this.#decoder =
      options.protobuf === undefined
        ? jsonDecoder(projection, { metadataOnly: options.metadataOnly === true })
        : protobufDecoder(options.protobuf, projection)
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    this.#timing = { ...watchTiming, ...options.timing }
    this.#watchList = new WatchListOffer(options.watchList ?? true)
    this.#store = new ObjectStore((event) => this.#emit(event), options.isSame)
    this.#backoff = new Backoff({
      ...reflectorBackoff,
      random: this.#random,
      now: () => this.#clock.now(),
    })
  }

  /** Resolves when the first full list was read and told. Never rejects. */
  get synced(): Promise<void> {
    return this.#sync.promise
  }

  get isSynced(): boolean {
    return this.#isSynced
  }

  get size(): number {
    return this.#store.size
  }

  get(key: string): T | undefined {
    return this.#store.get(key)
  }

  values(): IterableIterator<T> {
    return this.#store.values()
  }

  entries(): IterableIterator<[string, T]> {
    return this.#store.entries()
  }

  /**
   * Lists and watches until the signal aborts; resolves then. May be called again afterwards: it lists again and tells
   * only what changed meanwhile.
   */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#running) throw new Error(`the reflector of ${this.#path} runs already`)
    this.#running = true
    this.#version = undefined
    try {
      while (!signal.aborted) await this.#round(signal)
    } finally {
      this.#running = false
    }
  }

  /** One list when one is due, and one watch; a wait when either failed. */
  async #round(signal: AbortSignal): Promise<void> {
    try {
      if (this.#silent) await this.#checkVersion(signal)
      if (this.#version === undefined) this.#options.onListing?.()
      if (this.#version === undefined && !this.#watchList.isOpen) await this.#list(signal)
      await this.#watch(signal)
    } catch (error) {
      if (signal.aborted) return
      const waitMs = this.#afterFailure(error)
      try {
        await sleep(this.#clock, waitMs, signal)
      } catch {
        // Aborted: the caller's loop ends.
      }
    }
  }

  #afterFailure(error: unknown): number {
    const { log, metrics } = this.#options
    if (this.#options.optional && isLacking(error)) return this.#lack(error)
    const reason = error instanceof KubeApiError ? error.reason : 'Internal'
    metrics?.failed?.(reason)
    if (reason === 'Silent') {
      // Bookmarks come only where versions move on: of a resource that nobody writes, this is the usual end of a watch.
      this.#silent = true
      log.debug(
        { resource: this.#path, err: error },
        'nothing was heard of the watch, opening another',
      )
      return 0
    }
    const askedMs = error instanceof KubeApiError ? (error.retryAfterMs ?? 0) : 0
    const backoffMs = isUnreachable(error) ? this.#backoff.next(probeMs) : this.#backoff.next()
    const waitMs = Math.max(backoffMs, askedMs)
    const fields = { resource: this.#path, err: error, waitMs: Math.round(waitMs) }
    if (isExpired(error)) {
      log.info(fields, 'the version watched from is not available, listing again')
      this.#version = undefined
    } else {
      log.warn(fields, 'list or watch failed, trying again')
    }
    return waitMs
  }

  /** What is optional is not there: says so when that is news, and takes the wait for it as its first list. */
  #lack(error: KubeApiError): number {
    const { log } = this.#options
    const fields = { resource: this.#path, err: error }
    const isMissing = error.status === 404
    if (error.status === this.#refusedWith) log.debug(fields, 'cannot be read yet')
    else if (isMissing) log.info(fields, 'not installed, waiting for it')
    else log.warn(fields, 'may not be read, left out until it may')
    this.#refusedWith = error.status
    this.#version = undefined
    if (isMissing) {
      this.#store.beginReplace()
      this.#store.endReplace()
    }
    this.#wasRead()
    return askAgainMs.least + askAgainMs.spread * this.#random()
  }

  /**
   * A server that was restored from a backup stands at an earlier version than ours: it lets us watch from there, and
   * says nothing until it has come as far. Its list tells.
   */
  async #checkVersion(signal: AbortSignal): Promise<void> {
    const serverVersion = await listVersion({
      ...this.#listing(signal),
      // One object; a connection that is dead is to be found out soon.
      timeoutMs: Math.min(this.#timing.listTimeoutMs, versionTimeoutMs),
    })
    if (Number(serverVersion) < Number(this.#version)) {
      this.#options.log.warn(
        { resource: this.#path, version: this.#version, serverVersion },
        'the server has gone back in time, listing again',
      )
      this.#version = undefined
    }
    this.#silent = false
  }

  async #list(signal: AbortSignal): Promise<void> {
    const startedAt = this.#clock.now()
    const { pageSize = 250 } = this.#options
    this.#replaced(await listPages({ ...this.#listing(signal), pageSize, store: this.#store }))
    this.#listed(startedAt)
  }

  /** Opens a watch, at a version or as WatchList from nothing, and reads it to its end. */
  async #watch(signal: AbortSignal): Promise<void> {
    const initial = this.#version === undefined
    const startedAt = this.#clock.now()
    let events = 0
    if (initial) this.#store.beginReplace()
    this.#options.metrics?.watched?.()
    try {
      await readWatch({
        client: this.#options.client,
        path: this.#path,
        query: {
          ...this.#selectors(),
          ...(initial
            ? { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' }
            : { resourceVersion: this.#version }),
        },
        decoder: this.#decoder,
        timing: this.#timing,
        clock: this.#clock,
        random: this.#random,
        signal,
        mayGather: () => this.#options.gathers === true && this.#version !== undefined,
        onEvent: (event) => {
          events += 1
          this.#options.metrics?.event?.(event.type)
          if (event.type === 'error') throw statusError(event.status, this.#path)
          if (event.type === 'bookmark') {
            if (event.initialEventsEnd && this.#version === undefined) {
              this.#replaced(event.resourceVersion)
              this.#watchList.succeeded()
              this.#listed(startedAt)
            }
          } else if (event.type === 'deleted') this.#store.remove(event.object)
          else this.#store.put(event.object)
          // Initial events come in no order of versions: only their end tells where the watch stands.
          if (this.#version !== undefined) {
            const version =
              event.type === 'bookmark' ? event.resourceVersion : event.object.resourceVersion
            if (version !== '') this.#version = version
          }
        },
      })
    } catch (error) {
      if (initial && this.#version === undefined && !signal.aborted) {
        this.#watchListFailed(error)
        if (isRefusedQuery(error)) return
      }
      throw error
    } finally {
      this.#options.metrics?.unwatched?.(events, (this.#clock.now() - startedAt) / 1000)
    }
    if (initial && this.#version === undefined) {
      this.#watchListFailed(undefined)
      throw new KubeApiError({
        status: 0,
        reason: 'Timeout',
        message: `GET ${this.#path}: the stream ended before its initial events did`,
      })
    }
    const lastedMs = this.#clock.now() - startedAt
    refuseShortWatch({ path: this.#path, lastedMs, news: events })
  }

  #watchListFailed(error: unknown): void {
    if (!this.#watchList.failed(error)) return
    this.#options.log.debug({ resource: this.#path, err: error }, 'no WatchList here, paging')
  }

  /** @param startedAt - when the list that is complete now was begun */
  #listed(startedAt: number): void {
    const seconds = (this.#clock.now() - startedAt) / 1000
    this.#options.metrics?.listed?.(this.#store.size, seconds)
  }

  #replaced(version: string): void {
    this.#version = version
    this.#store.endReplace()
    if (this.#refusedWith !== 0) this.#options.log.info({ resource: this.#path }, 'can be read now')
    this.#refusedWith = 0
    this.#wasRead()
  }

  #wasRead(): void {
    try {
      this.#options.onReplaced?.()
    } catch (error) {
      this.#options.log.error({ resource: this.#path, err: error }, 'onReplaced threw')
    }
    if (!this.#isSynced) {
      this.#isSynced = true
      this.#sync.resolve()
    }
  }

  #faulty(error: unknown, object: object): void {
    this.#options.metrics?.failed?.('Project')
    this.#options.log.error(
      { resource: this.#path, ...object, err: error },
      'an object could not be read and is left out',
    )
  }

  #emit(event: ReflectorEvent<T>): void {
    try {
      this.#options.onEvent?.(event)
    } catch (error) {
      this.#options.metrics?.failed?.('Callback')
      this.#options.log.error({ resource: this.#path, key: event.key, err: error }, 'onEvent threw')
    }
  }

  #listing(signal: AbortSignal): ListOptions<T> {
    return {
      client: this.#options.client,
      path: this.#path,
      selectors: this.#selectors(),
      decoder: this.#decoder,
      timeoutMs: this.#timing.listTimeoutMs,
      signal,
    }
  }

  #selectors(): { fieldSelector: string | undefined; labelSelector: string | undefined } {
    const { fieldSelector, labelSelector } = this.#options
    return { fieldSelector, labelSelector }
  }

  get #path(): string {
    return resourcePath(this.#options.resource)
  }
}

function isLacking(error: unknown): error is KubeApiError {
  return isNotFound(error) || isForbidden(error)
}
