import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import type { ResourcePath } from '../kube/resource.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { type ObservedShard, partLabel, pullerLabel, readDaemonSet } from './daemon-set.ts'
import { createPodProjection, type PodView } from './pod-view.ts'
import { labelValue } from './shard.ts'

export interface ClusterViewOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The puller's DaemonSet name. */
  readonly base: string
  readonly log: Log
  readonly metrics: Pick<Metrics, 'reflector'>
  readonly clock: Clock
  readonly onChange: () => void
}

/** A write of kip's own that the watch has not shown yet. */
interface Expected {
  readonly uid: string
  /** undefined: it is to be gone. */
  readonly generation: number | undefined
  readonly until: number
}

/** How long a write may take to come round by the watch before it is no longer waited for. */
const roundTripMs = 5000

/**
 * The puller's DaemonSets and pods, by watch, and what is known of the former beyond that: writes that have not come
 * round yet, and shards that were deleted under kip's hands.
 */
export class ClusterView {
  readonly #options: ClusterViewOptions
  readonly #daemonSets: Reflector<ObservedShard | string>
  readonly #pods: Reflector<PodView>
  readonly #expected = new Map<string, Expected>()
  /** Shards as they were last seen, but for those that kip deleted. */
  readonly #known = new Map<string, ObservedShard>()
  readonly #deleted = new Set<string>()

  constructor(options: ClusterViewOptions) {
    this.#options = options
    const { client, namespace, base, log, metrics, clock, onChange } = options
    this.#daemonSets = new Reflector<ObservedShard | string>({
      client,
      resource: daemonSetsIn(namespace),
      // All of the namespace: a name that somebody else has is to be known too.
      project: (raw) => readDaemonSet(raw, base) ?? raw.metadata?.name,
      onEvent: onChange,
      log,
      metrics: metrics.reflector('puller/daemonsets'),
      clock,
    })
    this.#pods = new Reflector<PodView>({
      client,
      resource: { group: '', version: 'v1', plural: 'pods', namespace },
      labelSelector: `${partLabel}=puller,${pullerLabel}=${labelValue(base)}`,
      project: createPodProjection(),
      onEvent: onChange,
      log,
      metrics: metrics.reflector('puller/pods'),
      clock,
    })
  }

  /** Watches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#daemonSets.run(signal), this.#pods.run(signal)])
  }

  get synced(): Promise<unknown> {
    return Promise.all([this.#daemonSets.synced, this.#pods.synced])
  }

  pods(): Iterable<PodView> {
    return this.#pods.values()
  }

  /** Names of DaemonSets that are not this puller's. */
  taken(): ReadonlySet<string> {
    return new Set([...this.#daemonSets.values()].filter((value) => typeof value === 'string'))
  }

  /**
   * The shards as they are; one that vanished without kip's doing stands among them without uid, to be made again.
   *
   * @returns undefined while a write of kip's own has not come round: what would be read is older than what is known
   */
  shards(): readonly ObservedShard[] | undefined {
    const present = new Map<string, ObservedShard>()
    for (const value of this.#daemonSets.values()) {
      if (typeof value !== 'string') present.set(value.name, value)
    }
    if (this.#isBehind(present)) return undefined
    for (const shard of present.values()) {
      if (!shard.deleting) this.#known.set(shard.name, shard)
    }
    const shards = [...present.values()].filter(
      (shard) => !shard.deleting || this.#deleted.has(shard.uid),
    )
    for (const shard of this.#known.values()) {
      if (present.get(shard.name)?.deleting === false) continue
      shards.push({ ...shard, uid: '', fingerprint: '', desired: 0, deleting: false })
    }
    return shards
  }

  /** Whether a DaemonSet of that name is on its way out, so that none can be made now. */
  isDying(name: string): boolean {
    const value = this.#daemonSets.get(`${this.#options.namespace}/${name}`)
    return typeof value === 'object' && value.deleting
  }

  /** Tells of a write: until it is seen, or too long, there are no shards to read. */
  wrote(name: string, uid: string, generation: number | undefined): void {
    const until = this.#options.clock.now() + roundTripMs
    this.#expected.set(name, { uid, generation, until })
    if (generation !== undefined) return
    this.#deleted.add(uid)
    this.#known.delete(name)
  }

  #isBehind(present: ReadonlyMap<string, ObservedShard>): boolean {
    const now = this.#options.clock.now()
    for (const [name, { uid, generation, until }] of this.#expected) {
      const shard = present.get(name)
      const seen =
        generation === undefined
          ? shard?.uid !== uid || shard.deleting
          : shard?.uid === uid && shard.generation >= generation
      if (seen || now >= until) this.#expected.delete(name)
    }
    return this.#expected.size > 0
  }
}

export function daemonSetsIn(namespace: string): ResourcePath {
  return { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
}
