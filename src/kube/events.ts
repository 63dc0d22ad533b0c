import { createHash, randomBytes } from 'node:crypto'
import type { KubeClient } from './client.ts'
import { type Clock, systemClock } from './clock.ts'
import { isAlreadyExists, isNotFound } from './errors.ts'
import type { Log } from './log.ts'
import { microTime } from './micro-time.ts'
import { resourceOf, resourcePath } from './resource.ts'
import type { Event, KubeObject, ObjectReference } from './types.ts'

/** An event to be told on an object. */
export interface EventNote {
  readonly regarding: KubeObject
  readonly type: 'Normal' | 'Warning'
  /** CamelCase, at most 128 characters. */
  readonly reason: string
  /** What was done or tried, CamelCase. */
  readonly action: string
  /** A sentence; cut to 1024 bytes. */
  readonly note: string
  /**
   * Names this news: it is told once for as long as its Event is kept (an hour by default), also by processes that come
   * later. Default: each process tells it anew.
   */
  readonly once?: string
}

export interface EventRecorder {
  /** Never rejects, never throws: an event that cannot be told is logged. */
  record(note: EventNote): void
  /** Tells what series still owe, and waits for writes under way. */
  close(): Promise<void>
}

export interface EventRecorderOptions {
  readonly client: KubeClient
  /** `reportingController`, such as `images.kip/kip`. */
  readonly controller: string
  /** `reportingInstance`: the pod's name; cut to 128 characters. */
  readonly instance: string
  readonly log: Log
  readonly clock?: Clock
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly date?: () => number
}

/** A series that was quiet for so long is over (client-go's); the next event of its kind begins a new one. */
const seriesEndsMs = 6 * 60_000
/** A series that goes on is written at most this often. */
const seriesWriteMs = 5 * 60_000
const sweepMs = 60_000
/** Kinds of events remembered; above, the oldest is forgotten and told anew when it comes again. */
const maxSeries = 1000
/** Writes under way; above, events are dropped and counted: they must never hold up the work that they tell of. */
const maxPending = 50

interface Series {
  readonly name: string
  readonly namespace: string
  readonly event: Event
  count: number
  written: number
  lastAt: number
  lastDate: number
  writtenAt: number
  /** Writes of one series go one after the other. */
  writing: Promise<void>
}

/** A sweep is owed no process: counts that it would write are not worth keeping one alive. */
const idleClock: Clock = {
  now: systemClock.now,
  timer: (callback, ms) => {
    const timeout = setTimeout(callback, ms).unref()
    return () => clearTimeout(timeout)
  },
}

/**
 * Tells events of events.k8s.io/v1. The same news of the same object again (all but the note alike) is a series: told
 * once, counted, and written now and then.
 *
 * @see https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
 */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new SeriesRecorder(options)
}

class SeriesRecorder implements EventRecorder {
  readonly #client: KubeClient
  readonly #controller: string
  readonly #instance: string
  readonly #log: Log
  readonly #clock: Clock
  readonly #date: () => number
  readonly #series = new Map<string, Series>()
  readonly #pending = new Set<Promise<void>>()
  readonly #stop = new AbortController()
  #cancelSweep: (() => void) | undefined
  #dropped = 0

  constructor(options: EventRecorderOptions) {
    this.#client = options.client
    this.#controller = options.controller
    this.#instance = options.instance.slice(0, 128)
    this.#log = options.log
    this.#clock = options.clock ?? idleClock
    this.#date = options.date ?? Date.now
  }

  record(note: EventNote): void {
    if (this.#stop.signal.aborted) return
    const regarding = referenceTo(note.regarding)
    const key = JSON.stringify([regarding, note.type, note.reason, note.action, note.once])
    const now = this.#clock.now()
    const known = this.#series.get(key)
    if (known !== undefined && now - known.lastAt < seriesEndsMs) {
      known.count += 1
      known.lastAt = now
      known.lastDate = this.#date()
      // The second makes it a series, at once; later ones only count.
      if (known.written === 1 || now - known.writtenAt >= seriesWriteMs) this.#write(known)
      return
    }
    if (this.#series.size >= maxSeries) {
      const [oldest] = this.#series.keys()
      if (oldest !== undefined) this.#series.delete(oldest)
    }
    const series = this.#begin(note, regarding, now)
    this.#series.delete(key)
    this.#series.set(key, series)
    this.#write(series)
    this.#cancelSweep ??= this.#clock.timer(() => this.#sweep(), sweepMs)
  }

  async close(): Promise<void> {
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
    for (const series of this.#series.values()) this.#write(series)
    this.#series.clear()
    await Promise.all(this.#pending)
    this.#stop.abort()
  }

  #begin(note: EventNote, regarding: ObjectReference, now: number): Series {
    // Of an object that has no namespace, events live in `default`, as kubectl describe looks for them.
    const namespace = regarding.namespace ?? 'default'
    const name = `${(regarding.name ?? 'unknown').slice(0, 200)}.${suffixOf(note, regarding)}`
    const date = this.#date()
    return {
      name,
      namespace,
      event: {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        metadata: { name, namespace },
        eventTime: microTime(date),
        reportingController: this.#controller,
        reportingInstance: this.#instance,
        action: note.action.slice(0, 128),
        reason: note.reason.slice(0, 128),
        regarding,
        note: cut(note.note, 1024),
        type: note.type,
      },
      count: 1,
      written: 0,
      lastAt: now,
      lastDate: date,
      writtenAt: now,
      writing: Promise.resolve(),
    }
  }

  #sweep(): void {
    this.#cancelSweep = undefined
    const now = this.#clock.now()
    for (const [key, series] of this.#series) {
      const over = now - series.lastAt >= seriesEndsMs
      if (over || now - series.writtenAt >= seriesWriteMs) this.#write(series)
      if (over) this.#series.delete(key)
    }
    if (this.#series.size > 0) {
      this.#cancelSweep = this.#clock.timer(() => this.#sweep(), sweepMs)
    }
  }

  /** Writes what is owed of a series, if anything. */
  #write(series: Series): void {
    if (series.written >= series.count) return
    if (this.#pending.size >= maxPending) {
      this.#dropped += 1
      if (this.#dropped === 1 || this.#dropped % 1000 === 0) {
        this.#log.warn({ dropped: this.#dropped }, 'too many events at once, some are not told')
      }
      return
    }
    const first = series.written === 0
    series.written = series.count
    series.writtenAt = this.#clock.now()
    const write = series.writing.then(() => this.#send(series, first))
    series.writing = write
    this.#pending.add(write)
    void write.finally(() => this.#pending.delete(write))
  }

  async #send(series: Series, first: boolean): Promise<void> {
    const resource = resourceOf('events', series.namespace)
    series.written = series.count
    const tail = { count: series.count, lastObservedTime: microTime(series.lastDate) }
    const signal = this.#stop.signal
    try {
      if (!first) {
        try {
          await this.#client.request({
            method: 'PATCH',
            path: resourcePath(resource, series.name),
            contentType: 'application/merge-patch+json',
            body: { series: tail },
            signal,
          })
          return
        } catch (error) {
          // Events are kept for an hour by default: a series may outlive its own.
          if (!isNotFound(error)) throw error
        }
      }
      await this.#client.request({
        method: 'POST',
        path: resourcePath(resource),
        body: first ? series.event : { ...series.event, series: tail },
        signal,
      })
    } catch (error) {
      // An event of this name is of another process, which told the same.
      if (first && isAlreadyExists(error)) return
      const { regarding, reason } = series.event
      this.#log.warn({ regarding, reason, err: error }, 'an event could not be told')
    }
  }
}

function suffixOf({ once, reason }: EventNote, { uid }: ObjectReference): string {
  if (once === undefined) return randomBytes(8).toString('hex')
  const text = JSON.stringify([uid, reason, once])
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

function referenceTo(object: KubeObject): ObjectReference {
  const { namespace, name, uid } = object.metadata ?? {}
  // Without the resourceVersion: each change of the object would begin a series of its own.
  const fields = { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid }
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined && value !== ''),
  )
}

/** At most so many bytes of UTF-8, at a whole character. */
function cut(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= maxBytes) return text
  return new TextDecoder('utf-8', { fatal: false })
    .decode(bytes.subarray(0, maxBytes - 3))
    .replace(/\uFFFD$/, '')
    .concat('…')
}
