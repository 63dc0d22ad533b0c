import { Backoff, reflectorBackoff } from './backoff.ts'
import type { KubeClient } from './client.ts'
import { type Clock, sleep } from './clock.ts'
import type { Project } from './decoder.ts'
import { isForbidden, isNotFound, KubeApiError, statusError } from './errors.ts'
import { jsonDecoder } from './json-decoder.ts'
import type { Log } from './log.ts'
import { type ResourcePath, resourcePath } from './resource.ts'
import type { KubeObject } from './types.ts'
import { readWatch, refuseShortWatch, watchTiming } from './watch.ts'

export interface ObjectWatchOptions<T> {
  readonly client: KubeClient
  readonly resource: ResourcePath
  readonly name: string
  readonly project: Project<T>
  /** Called after every change; must not throw. */
  readonly onChange: () => void
  /** Called whenever the server says that the object may not be read or watched (403); it is asked again all the same. */
  readonly onRefused?: () => void
  readonly log: Log
  readonly clock: Clock
  readonly random?: () => number
}

/**
 * Keeps one object in step with the API server with the verbs `get` and `watch` alone: a watch of its name, and a read
 * whenever a watch has begun, since a watch that starts nowhere in particular tells nothing of what is gone.
 */
export class ObjectWatch<T> {
  readonly #options: ObjectWatchOptions<T>
  readonly #sync = Promise.withResolvers<void>()
  #value: T | undefined
  #version = 0
  /** Events heard, by which a read is found to be older than what the watch said meanwhile. */
  #heard = 0

  constructor(options: ObjectWatchOptions<T>) {
    this.#options = options
  }

  /** Resolves when the object was read for the first time, or found missing. Never rejects. */
  get synced(): Promise<void> {
    return this.#sync.promise
  }

  get value(): T | undefined {
    return this.#value
  }

  /** Watches until the signal aborts; resolves then. */
  async run(signal: AbortSignal): Promise<void> {
    const { name, resource, log, clock, random = Math.random } = this.#options
    const backoff = new Backoff({ ...reflectorBackoff, random, now: () => clock.now() })
    while (!signal.aborted) {
      try {
        await this.#watch(signal)
      } catch (error) {
        if (signal.aborted) return
        if (isForbidden(error)) this.#options.onRefused?.()
        const isUsual = error instanceof KubeApiError && error.reason === 'Silent'
        const waitMs = isUsual ? 0 : backoff.next()
        const fields = { resource: resourcePath(resource, name), err: error, waitMs }
        if (!isUsual) log.warn(fields, 'the watch of an object failed, trying again')
        await sleep(clock, waitMs, signal).catch(() => undefined)
      }
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { client, resource, name, project, clock, random = Math.random } = this.#options
    const round = new AbortController()
    const onAbort = (): void => round.abort(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const path = resourcePath(resource)
    const startedAt = clock.now()
    let news = 0
    let reading: Promise<void> = Promise.resolve()
    try {
      await readWatch({
        client,
        path,
        query: { fieldSelector: `metadata.name=${name}` },
        decoder: jsonDecoder({
          project,
          onFault: (error) => {
            throw error
          },
        }),
        timing: watchTiming,
        clock,
        random,
        signal: round.signal,
        onOpen: () => {
          reading = this.#read(round.signal).catch((error: unknown) => round.abort(error))
        },
        onEvent: (event) => {
          if (event.type === 'error') throw statusError(event.status, path)
          if (event.type === 'bookmark') return
          this.#heard += 1
          const value = event.type === 'deleted' ? undefined : event.object.value
          const version = Number(event.object.resourceVersion)
          // Older than what was read.
          if (version < this.#version) return
          // Each watch begins with what is known already.
          if (version !== this.#version) news += 1
          this.#set(value, version)
        },
      })
      refuseShortWatch({ path, lastedMs: clock.now() - startedAt, news })
    } finally {
      signal.removeEventListener('abort', onAbort)
      await reading
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { client, resource, name, project } = this.#options
    for (;;) {
      const heard = this.#heard
      let object: KubeObject | undefined
      try {
        object = await client.request<KubeObject>({
          method: 'GET',
          path: resourcePath(resource, name),
          signal,
        })
      } catch (error) {
        if (!isNotFound(error)) throw error
      }
      const version = object === undefined ? 0 : Number(object.metadata?.resourceVersion)
      // Only an event that came meanwhile can be newer than the answer. Versions are smaller too where a server was restored from
      // a backup, or is another one now: then the next answer stands.
      if (heard !== this.#heard && version < this.#version) continue
      this.#set(object && project(object), version)
      this.#sync.resolve()
      return
    }
  }

  #set(value: T | undefined, version: number): void {
    const wasThere = this.#value !== undefined
    this.#version = version
    this.#value = value
    if (wasThere || value !== undefined) this.#options.onChange()
  }
}
