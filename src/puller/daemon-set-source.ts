import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import { ObjectWatch } from '../kube/object-watch.ts'
import { Reflector } from '../kube/reflector.ts'
import { resourceOf } from '../kube/resource.ts'
import type { DaemonSet } from '../kube/types.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import { untilAnswered } from '../kube/until-answered.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { type ObservedShard, readDaemonSet } from './daemon-set.ts'
import { objectNames, type ShardKind, shardName } from './shard.ts'

/** The DaemonSets of kip's namespace, by watch: those of this puller as shards, of others the names. */
export interface DaemonSetSource {
  /** Resolves when all that is there was read. Never rejects. */
  readonly synced: Promise<unknown>
  run(signal: AbortSignal): Promise<void>
  values(): Iterable<ObservedShard | string>
  get(name: string): ObservedShard | string | undefined
  /** A DaemonSet of that name is about to be made, or stands in the way of making one. */
  expect(name: string): void
}

export interface DaemonSetSourceOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The puller's DaemonSet name. */
  readonly base: string
  readonly log: Log
  readonly metrics: Pick<Metrics, 'reflector'>
  readonly clock: Clock
  readonly onChange: () => void
}

/** All of the namespace, for who may list: a name that somebody else has is known before it is in the way. */
export function listedDaemonSets(options: DaemonSetSourceOptions): DaemonSetSource {
  const { client, namespace, base, log, metrics, clock, onChange } = options
  const reflector = new Reflector<ObservedShard | string>({
    client,
    resource: resourceOf('daemonsets', namespace),
    project: (raw) => readDaemonSet(raw, base) ?? raw.metadata?.name,
    onEvent: onChange,
    log,
    metrics: metrics.reflector('puller/daemonsets'),
    clock,
  })
  return {
    synced: reflector.synced,
    run: (signal) => reflector.run(signal),
    values: () => reflector.values(),
    get: (name) => reflector.get(`${namespace}/${name}`),
    expect: () => undefined,
  }
}

/** Numbers of one kind that are looked for beyond the last that was found: shards in between may have gone. */
const probedBeyond = 2
const probedKinds: readonly ShardKind[] = ['holding', 'originals', 'fresh', 'apart']
const longestRetryMs = 5_000

/** One watch for each that is there, for who may not list: the puller's names follow from its settings. */
export function namedDaemonSets(options: DaemonSetSourceOptions): DaemonSetSource {
  return new NamedDaemonSets(options)
}

class NamedDaemonSets implements DaemonSetSource {
  readonly #options: DaemonSetSourceOptions
  readonly #watches = new Map<string, ObjectWatch<ObservedShard | string>>()
  readonly #sync = Promise.withResolvers<void>()
  #running: { readonly signal: AbortSignal; readonly runs: Promise<void>[] } | undefined

  constructor(options: DaemonSetSourceOptions) {
    this.#options = options
  }

  get synced(): Promise<unknown> {
    return this.#sync.promise
  }

  async run(signal: AbortSignal): Promise<void> {
    const running = { signal, runs: [] as Promise<void>[] }
    this.#running = running
    for (const watch of this.#watches.values()) running.runs.push(watch.run(signal))
    await this.#probe(signal)
    if (!signal.aborted) {
      const watches = [...this.#watches.values()]
      void Promise.all(watches.map(({ synced }) => synced)).then(() => this.#sync.resolve())
      await untilAborted(signal)
    }
    await Promise.all(running.runs)
    this.#running = undefined
  }

  *values(): Iterable<ObservedShard | string> {
    for (const { value } of this.#watches.values()) if (value !== undefined) yield value
  }

  get(name: string): ObservedShard | string | undefined {
    return this.#watches.get(name)?.value
  }

  expect(name: string): void {
    if (this.#watches.has(name)) return
    const { client, namespace, base, log, clock, onChange } = this.#options
    const watch = new ObjectWatch<ObservedShard | string>({
      client,
      resource: resourceOf('daemonsets', namespace),
      name,
      project: (raw) => readDaemonSet(raw, base) ?? raw.metadata?.name,
      onChange,
      log,
      clock,
    })
    this.#watches.set(name, watch)
    this.#running?.runs.push(watch.run(this.#running.signal))
  }

  /** Looks for all that an earlier run may have made. */
  async #probe(signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#options
    const complaint = 'the DaemonSets were not read, trying again'
    await untilAnswered(
      async () => {
        for (const kind of probedKinds) await this.#probeKind(kind, signal)
      },
      { log, clock, complaint, longestMs: longestRetryMs },
      signal,
    )
  }

  async #probeKind(kind: ShardKind, signal: AbortSignal): Promise<void> {
    const { client, namespace, base } = this.#options
    const resource = resourceOf('daemonsets', namespace)
    let last = 0
    for (let index = 1; index <= last + probedBeyond; index++) {
      const names = objectNames(shardName(base, kind, index))
      const found = await Promise.all(
        names.map((name) => getObject<DaemonSet>(client, resource, name, { signal })),
      )
      for (const object of found) {
        const name = object?.metadata?.name
        if (name === undefined) continue
        last = index
        this.expect(name)
      }
    }
  }
}
