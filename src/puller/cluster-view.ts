import { isDeepStrictEqual } from 'node:util'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import { resourceOf } from '../kube/resource.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { podsFromCounts } from './counts.ts'
import { type ObservedShard, partLabel, pullerLabel } from './daemon-set.ts'
import { type DaemonSetSource, listedDaemonSets, namedDaemonSets } from './daemon-set-source.ts'
import { type Generations, mergeGenerations } from './generations.ts'
import { type NodeView, projectNode } from './node-view.ts'
import { createPodProjection, type PodView } from './pod-view.ts'
import type { Rights } from './rights.ts'
import { labelValue } from './shard.ts'

export interface ClusterViewOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The puller's DaemonSet name. */
  readonly base: string
  readonly rights: Pick<Rights, 'list' | 'pods' | 'nodes'>
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
  readonly #daemonSets: DaemonSetSource
  /** undefined: pods may not be read. */
  readonly #pods: Reflector<PodView> | undefined
  /** undefined: nodes may not be read. */
  readonly #nodes: Reflector<NodeView> | undefined
  readonly #expected = new Map<string, Expected>()
  /** Shards as they were last seen, but for those that kip deleted. */
  readonly #known = new Map<string, ObservedShard>()
  readonly #deleted = new Set<string>()

  constructor(options: ClusterViewOptions) {
    this.#options = options
    const { client, namespace, base, rights, log, metrics, clock, onChange } = options
    const source = { client, namespace, base, log, metrics, clock, onChange }
    this.#daemonSets = rights.list ? listedDaemonSets(source) : namedDaemonSets(source)
    // Shards for some nodes only have names that are not looked for one by one.
    if (rights.nodes && rights.list) {
      this.#nodes = new Reflector<NodeView>({
        client,
        resource: resourceOf('nodes'),
        project: projectNode,
        onEvent: ({ type, value, previous }) => {
          // A kubelet reports again and again what is of no concern here.
          if (type !== 'updated' || !isDeepStrictEqual(value, previous)) onChange()
        },
        log,
        metrics: metrics.reflector('puller/nodes'),
        clock,
      })
    }
    if (!rights.pods) return
    this.#pods = new Reflector<PodView>({
      client,
      resource: resourceOf('pods', namespace),
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
    await Promise.all([
      this.#daemonSets.run(signal),
      this.#pods?.run(signal),
      this.#nodes?.run(signal),
    ])
  }

  get synced(): Promise<unknown> {
    return Promise.all([this.#daemonSets.synced, this.#pods?.synced, this.#nodes?.synced])
  }

  /** Pods by shard, whichever of its DaemonSets made them; made up from counts where pods may not be read. */
  pods(): Iterable<PodView> {
    const daemonSets = [...this.#daemonSets.values()].filter((value) => typeof value !== 'string')
    const pods = this.#pods?.values() ?? daemonSets.flatMap(podsFromCounts)
    const renamed = new Map(
      daemonSets
        .filter(({ object, name }) => object !== name)
        .map(({ object, name }) => [labelValue(object), labelValue(name)]),
    )
    return [...pods]
      .filter(({ refused }) => refused !== true)
      .map((pod) => {
        const shard = renamed.get(pod.shard)
        return shard === undefined ? pod : { ...pod, shard }
      })
  }

  /** Pods that kubelets refused or evicted, and that are still there. */
  refused(): readonly PodView[] {
    return [...(this.#pods?.values() ?? [])].filter(({ refused }) => refused === true)
  }

  /** undefined: nodes may not be read. */
  nodes(): readonly NodeView[] | undefined {
    return this.#nodes === undefined ? undefined : [...this.#nodes.values()]
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
  shards(): Generations | undefined {
    const present = new Map<string, ObservedShard>()
    for (const value of this.#daemonSets.values()) {
      if (typeof value !== 'string') present.set(value.object, value)
    }
    if (this.#isBehind(present)) return undefined
    this.#forgetGone(present)
    for (const shard of present.values()) {
      if (!shard.deleting) this.#known.set(shard.object, shard)
    }
    const shards = [...present.values()].filter(
      (shard) => !shard.deleting || this.#deleted.has(shard.uid),
    )
    for (const shard of this.#known.values()) {
      if (present.get(shard.object)?.deleting === false) continue
      shards.push({ ...shard, uid: '', fingerprint: '', desired: 0, deleting: false })
    }
    return mergeGenerations(shards)
  }

  /** Whether there is a DaemonSet of that name, whoever's, or one on its way out. */
  isTaken(object: string): boolean {
    return this.#daemonSets.get(object) !== undefined
  }

  /** A DaemonSet of that name is about to be made, or was found in the way. */
  expect(object: string): void {
    this.#daemonSets.expect(object)
  }

  /** Tells of a write: until it is seen, or too long, there are no shards to read. */
  wrote(object: string, uid: string, generation: number | undefined): void {
    const until = this.#options.clock.now() + roundTripMs
    this.#daemonSets.expect(object)
    this.#expected.set(object, { uid, generation, until })
    if (generation !== undefined) return
    this.#deleted.add(uid)
    this.#known.delete(object)
  }

  /** What was deleted is asked for only while it is on its way out. */
  #forgetGone(present: ReadonlyMap<string, ObservedShard>): void {
    const there = new Set([...present.values()].map(({ uid }) => uid))
    for (const uid of this.#deleted) if (!there.has(uid)) this.#deleted.delete(uid)
  }

  #isBehind(present: ReadonlyMap<string, ObservedShard>): boolean {
    const now = this.#options.clock.now()
    for (const [object, { uid, generation, until }] of this.#expected) {
      const shard = present.get(object)
      const seen =
        generation === undefined
          ? shard?.uid !== uid || shard.deleting
          : shard?.uid === uid && shard.generation >= generation
      if (seen || now >= until) this.#expected.delete(object)
    }
    return this.#expected.size > 0
  }
}
