import type { KubeClient } from './client.ts'
import type { Clock } from './clock.ts'
import type { Decoder, EventReader, WatchEvent } from './decoder.ts'
import { KubeApiError } from './errors.ts'

export interface WatchTiming {
  /** A watch is asked to end after a random time between these two: many watches do not end at once. */
  readonly minWatchMs: number
  readonly maxWatchMs: number
  /** Past the time asked for, the client ends the watch itself. */
  readonly graceMs: number
  /** Without a byte for so long, the connection is taken for dead: where versions move on, bookmarks come about once a minute. */
  readonly silenceMs: number
  /**
   * For how long events may be gathered where that is allowed. To wake for each of 500 changes a second takes half of all the CPU
   * that following them takes; a tenth of a second is nothing to who follows images, and a server waits far longer to be read.
   */
  readonly gatherMs: number
  /** For one page of a list. */
  readonly listTimeoutMs: number
}

/** client-go's 5–10 minutes; 30 s of grace; one and a half bookmarks of silence; 0.1 s of events; 60 s a page, as the server's own limit. */
export const watchTiming: WatchTiming = Object.freeze({
  minWatchMs: 300_000,
  maxWatchMs: 600_000,
  graceMs: 30_000,
  silenceMs: 90_000,
  gatherMs: 100,
  listTimeoutMs: 60_000,
})

export interface ReadWatchOptions<T> {
  readonly client: KubeClient
  readonly path: string
  readonly query: Readonly<Record<string, string | undefined>>
  readonly decoder: Decoder<T>
  readonly timing: WatchTiming
  readonly clock: Clock
  readonly random: () => number
  readonly signal: AbortSignal
  /** Whether events may be gathered before they are told, as those of a list that is waited for may not. Default: never. */
  readonly mayGather?: () => boolean
  /** Called when the server has begun to answer. */
  readonly onOpen?: () => void
  /** May throw: the watch ends with that error. */
  readonly onEvent: (event: WatchEvent<T>) => void
}

/**
 * Opens one watch and reads it until the server ends it.
 *
 * @throws KubeApiError when it was refused, broke, outlived its time (`Timeout`), or fell silent (`Silent`); the signal's
 *   reason when aborted
 */
export async function readWatch<T>(options: ReadWatchOptions<T>): Promise<void> {
  const { client, path, timing, clock, signal } = options
  const spreadMs = timing.maxWatchMs - timing.minWatchMs
  const watchMs = timing.minWatchMs + options.random() * spreadMs
  const stop = new AbortController()
  const onAbort = (): void => stop.abort(signal.reason)
  signal.throwIfAborted()
  signal.addEventListener('abort', onAbort, { once: true })
  const fail = (reason: string, message: string) => (): void =>
    stop.abort(new KubeApiError({ status: 0, reason, message: `GET ${path}: ${message}` }))
  const cancelDeadline = clock.timer(
    fail('Timeout', 'the watch outlived its time'),
    watchMs + timing.graceMs,
  )
  const silence = new Silence(clock, timing.silenceMs, fail('Silent', 'the watch fell silent'))
  try {
    let reader: EventReader<T> | undefined
    await client.stream(
      {
        method: 'GET',
        path,
        query: {
          ...options.query,
          watch: 'true',
          allowWatchBookmarks: 'true',
          timeoutSeconds: String(Math.max(1, Math.round(watchMs / 1000))),
        },
        accept: options.decoder.accept.watch,
        timeoutMs: timing.listTimeoutMs,
        signal: stop.signal,
      },
      {
        begin: (contentType) => {
          options.onOpen?.()
          reader = options.decoder.eventReader(contentType)
        },
        chunk: (chunk) => {
          silence.touch()
          if (!stop.signal.aborted) reader?.push(chunk, options.onEvent)
        },
        restMs: () => (options.mayGather?.() === true ? timing.gatherMs : 0),
      },
    )
    stop.signal.throwIfAborted()
  } catch (error) {
    // Whatever an abort looks like from below, its reason is what happened.
    if (stop.signal.aborted) throw stop.signal.reason
    throw error
  } finally {
    silence.stop()
    cancelDeadline()
    signal.removeEventListener('abort', onAbort)
  }
}

/** A watch that ended, as {@link refuseShortWatch} looks at it. */
export interface EndedWatch {
  readonly path: string
  readonly lastedMs: number
  /** Events that told what was not known. */
  readonly news: number
}

/**
 * A server, or a proxy, that opens watches and ends them at once would be asked without pause: such an end is a failure.
 *
 * @throws KubeApiError `ShortWatch` when the watch lasted less than a second and told nothing new
 */
export function refuseShortWatch({ path, lastedMs, news }: EndedWatch): void {
  if (news > 0 || lastedMs >= 1000) return
  throw new KubeApiError({
    status: 0,
    reason: 'ShortWatch',
    message: `GET ${path}: the watch ended within a second and told nothing new`,
  })
}

/** Calls back when nothing was heard for a time; one timer however much is heard. */
class Silence {
  readonly #clock: Clock
  readonly #limitMs: number
  readonly #onSilent: () => void
  #heardAt: number
  #cancel: () => void

  constructor(clock: Clock, limitMs: number, onSilent: () => void) {
    this.#clock = clock
    this.#limitMs = limitMs
    this.#onSilent = onSilent
    this.#heardAt = clock.now()
    this.#cancel = clock.timer(() => this.#check(), limitMs)
  }

  touch(): void {
    this.#heardAt = this.#clock.now()
  }

  stop(): void {
    this.#cancel()
  }

  #check(): void {
    const leftMs = this.#heardAt + this.#limitMs - this.#clock.now()
    if (leftMs <= 0) this.#onSilent()
    else this.#cancel = this.#clock.timer(() => this.#check(), leftMs)
  }
}
