import type { ObservedShard } from './daemon-set.ts'
import type { PodView } from './pod-view.ts'
import { labelValue } from './shard.ts'

/** Pods of a shard that one node refused and that are still there: one or two are what an eviction or a shutdown leaves. */
const refusedPods = 3

/**
 * For how long a shard stays paused after a kubelet refused one more. Disk pressure lasts five minutes at least
 * (`evictionPressureTransitionPeriod`), each try costs some pods, and a node that takes pods again goes without for that long.
 */
const pauseMs = 60_000

export interface PausesInput {
  readonly shards: readonly ObservedShard[]
  readonly pods: Iterable<PodView>
  /** Pods that were refused or evicted, and are still there. */
  readonly refused: readonly PodView[]
  /** The kubelet of some node is known to refuse what is new ({@link refusesPods}). */
  readonly isRefusing: boolean
  readonly now: number
}

/**
 * Shards whose pods kubelets refuse or evict, as under disk pressure, which every DaemonSet tolerates.
 *
 * Where a DaemonSet may surge, its controller makes another pod for each that is refused, several a second, and takes none of them
 * away for long (`podsShouldBeOnNode` of pkg/controller/daemon). One that is updated `OnDelete` makes none on a node that has
 * refused ones, which go one by one with back-off; all other nodes get theirs, nothing rolls, and the pods that are there stay.
 * So what has nothing to roll loses nothing by a pause, and is paused for as long as nodes are known to refuse pods.
 */
export class Pauses {
  readonly #until = new Map<string, number>()
  /** Refused pods by name, as they were when last looked at; undefined: never, and what is there is from before. */
  #known: ReadonlySet<string> | undefined

  /**
   * Looks at what kubelets refuse now.
   *
   * @returns names of the shards to be paused, and when the first of them is to go on
   */
  look({ shards, pods, refused, isRefusing, now }: PausesInput): {
    readonly paused: ReadonlySet<string>
    readonly wakeAt: number
  } {
    const isFirstLook = this.#known === undefined
    const counts = new Map<string, number>()
    const refusing = new Set<string>()
    for (const { shard, node } of refused) {
      counts.set(`${shard}/${node}`, (counts.get(`${shard}/${node}`) ?? 0) + 1)
    }
    for (const { name, shard, node } of refused) {
      if (this.#known?.has(name) !== false) continue
      if ((counts.get(`${shard}/${node}`) ?? 0) >= refusedPods) refusing.add(shard)
    }
    this.#known = new Set(refused.map(({ name }) => name))
    const resting = isRefusing ? withoutOlderPods(shards, pods) : new Set<string>()
    let wakeAt = Number.POSITIVE_INFINITY
    const paused = new Set<string>()
    for (const { name, paused: isPaused = false } of shards) {
      // One that was paused before this process began is waited for as long as any.
      const isFromBefore = isFirstLook && isPaused && !isRefusing
      if (refusing.has(labelValue(name)) || isFromBefore) this.#until.set(name, now + pauseMs)
      const until = this.#until.get(name) ?? now
      if (until > now) wakeAt = Math.min(wakeAt, until)
      if (until > now || resting.has(name)) paused.add(name)
    }
    const names = new Set(shards.map(({ name }) => name))
    for (const name of this.#until.keys()) if (!names.has(name)) this.#until.delete(name)
    return { paused, wakeAt }
  }
}

/** Names of the shards that have nothing to roll. */
function withoutOlderPods(
  shards: readonly ObservedShard[],
  pods: Iterable<PodView>,
): ReadonlySet<string> {
  const templates = new Map(shards.map(({ name, template }) => [labelValue(name), template]))
  const rolling = new Set<string>()
  for (const { shard, template } of pods) {
    if (template !== templates.get(shard)) rolling.add(shard)
  }
  return new Set(shards.map(({ name }) => name).filter((name) => !rolling.has(labelValue(name))))
}
