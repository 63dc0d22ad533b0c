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

/**
 * Shards whose pods kubelets refuse or evict, as under disk pressure, which every DaemonSet tolerates.
 *
 * Where a DaemonSet may surge, its controller makes another pod for each that is refused, several a second, and takes none of them
 * away for long (`podsShouldBeOnNode` of pkg/controller/daemon). One that is updated `OnDelete` makes none on a node that has
 * refused ones, which go one by one with back-off; all other nodes get theirs, nothing rolls, and the pods that are there stay.
 */
export class Pauses {
  readonly #until = new Map<string, number>()
  /** Refused pods by name, as they were when last looked at. */
  #known: ReadonlySet<string> = new Set()

  /**
   * Looks at what kubelets refuse now.
   *
   * @param refused pods that were refused or evicted, and are still there
   * @returns names of the shards to be paused, and when the first of them is to go on
   */
  look(
    shards: readonly ObservedShard[],
    refused: readonly PodView[],
    now: number,
  ): { readonly paused: ReadonlySet<string>; readonly wakeAt: number } {
    const counts = new Map<string, number>()
    const refusing = new Set<string>()
    for (const { shard, node } of refused) {
      counts.set(`${shard}/${node}`, (counts.get(`${shard}/${node}`) ?? 0) + 1)
    }
    for (const { name, shard, node } of refused) {
      if (this.#known.has(name)) continue
      if ((counts.get(`${shard}/${node}`) ?? 0) >= refusedPods) refusing.add(shard)
    }
    this.#known = new Set(refused.map(({ name }) => name))
    for (const { name, paused } of shards) {
      // One that was paused before this process began is waited for as long as any.
      const isNew = paused === true && !this.#until.has(name)
      if (refusing.has(labelValue(name)) || isNew) this.#until.set(name, now + pauseMs)
    }
    const names = new Set(shards.map(({ name }) => name))
    let wakeAt = Number.POSITIVE_INFINITY
    const paused = new Set<string>()
    for (const [name, until] of this.#until) {
      if (!names.has(name)) this.#until.delete(name)
      else if (until > now) {
        paused.add(name)
        wakeAt = Math.min(wakeAt, until)
      }
    }
    return { paused, wakeAt }
  }
}
