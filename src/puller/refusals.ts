import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import { isForbidden, KubeApiError } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { type ResourcePath, resourceOf, resourcePath } from '../kube/resource.ts'
import type { Event, KubeList } from '../kube/types.ts'
import type { ObservedShard } from './daemon-set.ts'
import { isMissing } from './placement.ts'
import { refusalText } from './refusal-text.ts'

/** How long a DaemonSet lacks pods before it is asked why: its controller makes a round of them within a second. */
export const patienceMs = 10_000

/** How often that is asked again: the controller's own next try comes later each time, in the end after a quarter of an hour. */
const askEveryMs = 30_000

/** Events of one DaemonSet that are read: what is like another is counted and not told again. */
const eventsRead = 500

const refused = 'FailedCreate'
const made = 'SuccessfulCreate'

export interface RefusalsOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly log: Log
  readonly clock: Clock
}

/**
 * Pods of shards that the API server does not let the DaemonSet controller make: a quota, a LimitRange, a webhook. No
 * pod tells of that, and no condition: only Events of the DaemonSet do, which are asked for while one lacks pods.
 */
export class Refusals {
  readonly #options: RefusalsOptions
  readonly #events: ResourcePath
  /** By DaemonSet: since when it lacks pods as it does, and when it is asked next. */
  readonly #lacking = new Map<string, { readonly mark: string; readonly askAt: number }>()
  readonly #found = new Map<string, string>()
  #mayRead = true

  constructor(options: RefusalsOptions) {
    const { namespace } = options
    this.#options = options
    this.#events = resourceOf('events', namespace)
  }

  /** Why pods are refused, in words of kip's own, by the names of the shards. */
  get found(): ReadonlyMap<string, string> {
    return this.#found
  }

  /** Asks about the shards that lack pods; gives the milliseconds after which it is to be called again. */
  async look(shards: readonly ObservedShard[], signal: AbortSignal): Promise<number> {
    const { clock } = this.#options
    const lacking = shards.filter(lacksPods)
    const names = new Set(lacking.map(({ name }) => name))
    for (const name of this.#lacking.keys()) if (!names.has(name)) this.#lacking.delete(name)
    for (const name of this.#found.keys()) if (!names.has(name)) this.#found.delete(name)
    if (!this.#mayRead) return Number.POSITIVE_INFINITY
    let nextMs = Number.POSITIVE_INFINITY
    for (const shard of lacking) {
      const { name, uid, generation, updated } = shard
      const mark = `${uid}/${generation}/${updated}`
      const known = this.#lacking.get(name)
      // While pods are being made, nothing is refused.
      let askAt = known?.mark === mark ? known.askAt : clock.now() + patienceMs
      if (clock.now() >= askAt) {
        if (await this.#ask(shard, signal)) nextMs = 0
        askAt = clock.now() + askEveryMs
      }
      this.#lacking.set(name, { mark, askAt })
      nextMs = Math.min(nextMs, askAt - clock.now())
    }
    return this.#mayRead ? Math.max(0, nextMs) : Number.POSITIVE_INFINITY
  }

  /** Gives whether the answer is another one than before. */
  async #ask({ name, uid, object }: ObservedShard, signal: AbortSignal): Promise<boolean> {
    const { client, log } = this.#options
    const query = { fieldSelector: `regarding.uid=${uid}`, limit: String(eventsRead) }
    const before = this.#found.get(name)
    try {
      const path = resourcePath(this.#events)
      const list = await client.request<KubeList<Event>>({ method: 'GET', path, query, signal })
      const note = lastRefusal(list.items ?? [])
      if (note === undefined) this.#found.delete(name)
      else this.#found.set(name, refusalText(note))
      return this.#found.get(name) !== before
    } catch (error) {
      if (!(error instanceof KubeApiError)) throw error
      if (isForbidden(error)) {
        this.#mayRead = false
        log.info({}, 'Events may not be read; why pods of a DaemonSet are refused is not told')
      } else log.warn({ daemonset: object, err: error }, 'Events were not read, trying again')
      return false
    }
  }
}

/** Whether nodes have no pod of the present template although the controller has seen it. */
function lacksPods(shard: ObservedShard): boolean {
  const { deleting, observedGeneration, generation, updated, desired } = shard
  if (deleting || isMissing(shard)) return false
  return observedGeneration >= generation && updated < desired
}

/** What the last refusal says; undefined when pods were made after it. */
function lastRefusal(events: readonly Event[]): string | undefined {
  const newest = (reason: string): Event | undefined =>
    events.filter((event) => event.reason === reason).toSorted((a, b) => timeOf(b) - timeOf(a))[0]
  const refusal = newest(refused)
  const success = newest(made)
  if (refusal === undefined) return undefined
  // Of one second, the refusal: some pods were made and the next one was not.
  if (success !== undefined && timeOf(success) > timeOf(refusal)) return undefined
  return refusal.note ?? ''
}

function timeOf({ series, deprecatedLastTimestamp, eventTime, metadata }: Event): number {
  const text =
    series?.lastObservedTime ?? deprecatedLastTimestamp ?? eventTime ?? metadata?.creationTimestamp
  return Date.parse(text ?? '') || 0
}
