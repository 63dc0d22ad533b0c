import { deleteObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import type { KubeApiError } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { resourceOf } from '../kube/resource.ts'
import type { DaemonSet } from '../kube/types.ts'
import { type Alterations, alteredMembers } from './altered-images.ts'
import { Attempts } from './attempts.ts'
import type { Blueprints } from './blueprints.ts'
import type { ClusterView } from './cluster-view.ts'
import {
  buildDaemonSet,
  fingerprintAnnotation,
  fingerprintOf,
  type ObservedShard,
  readDaemonSet,
} from './daemon-set.ts'
import { type Generations, superseded } from './generations.ts'
import { isMissing } from './placement.ts'
import type { Change } from './plan.ts'
import type { PrivateChange } from './private-images.ts'
import type { PullerMetrics } from './puller-metrics.ts'
import { RepeatedWrites } from './repeated-writes.ts'
import { isPatchForbidden } from './rights.ts'
import type { Shard } from './shard.ts'
import { applyingWriter, type ShardWriter, succeedingWriter } from './writer.ts'

export interface ShardWritesOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly log: Log
  readonly clock: Clock
  readonly metrics: PullerMetrics
  readonly view: ClusterView
  readonly blueprints: Blueprints
  /** DaemonSets may be changed in place. */
  readonly mayPatch: boolean
  /** How long a successor is waited for on nodes where its predecessor is not ready either, in milliseconds. */
  readonly stuckMs: number
  /** The API server dropped image volumes from what it was given. */
  readonly onVolumesLost: () => void
  /** It stored members of a shard under other references. */
  readonly onAltered: (altered: Alterations) => void
}

/** A DaemonSet that somebody edits again and again is put right this often at most. */
const repairIntervalMs = 30_000

const done = Number.POSITIVE_INFINITY

/** A shard as it is to be, and what that was computed from. */
interface Writable {
  readonly name: string
  readonly shard: Shard
  readonly observed?: ObservedShard | undefined
}

/**
 * All writes of DaemonSets: each backs off by itself when it is refused, and gives the milliseconds after which it is to
 * be tried again.
 */
export class ShardWrites {
  readonly #options: ShardWritesOptions
  readonly #attempts: Attempts
  readonly #repeated: RepeatedWrites
  /** Generations that kip made or found in order, and when. */
  readonly #repaired = new Map<string, { readonly generation: number; readonly at: number }>()
  /** Since when a shard's newest DaemonSet is waited for, by its uid. */
  readonly #succeeding = new Map<string, number>()
  readonly #applying: ShardWriter
  readonly #succession: ShardWriter
  #mayPatch: boolean
  #paused: ReadonlySet<string> = new Set()
  #pausesNew = false

  constructor(options: ShardWritesOptions) {
    const { client, namespace, log, clock, metrics, view } = options
    this.#options = options
    this.#mayPatch = options.mayPatch
    this.#applying = applyingWriter(client, namespace)
    this.#succession = succeedingWriter(client, namespace, (object) => view.expect(object))
    this.#repeated = new RepeatedWrites({ log, clock })
    this.#attempts = new Attempts({
      log,
      clock,
      onRefused: (reason) => metrics.refused(reason),
      adapts: (error) => this.#adapts(error),
    })
  }

  get mayPatch(): boolean {
    return this.#mayPatch
  }

  /** From now on these shards are paused, and no others but, if so, what is made: see {@link Pauses}. */
  pause(names: ReadonlySet<string>, whatIsMade: boolean): void {
    this.#paused = names
    this.#pausesNew = whatIsMade
  }

  /** Another write that backs off as these do. */
  async try(name: string, write: () => Promise<void>): Promise<number> {
    return await this.#attempts.try(name, write)
  }

  async carryOut(change: Change, signal: AbortSignal): Promise<number> {
    const { action, name } = change
    const waitMs = action === 'delete' ? 0 : this.#repeated.waitMs(name, this.#content(change))
    if (waitMs > 0) return waitMs
    return await this.#attempts.try(change.name, () => this.#write(change, signal))
  }

  async carryOutPrivate(change: PrivateChange, signal: AbortSignal): Promise<number> {
    const { action, name } = change
    const waitMs = action === 'delete' ? 0 : this.#repeated.waitMs(name, privateContent(change))
    if (waitMs > 0) return waitMs
    return await this.#attempts.try(change.name, () => this.#writePrivate(change, signal))
  }

  /**
   * Applies a shard as it is once a term, and again whenever somebody else changed its spec: a no-op when all is as it
   * should be, which the server does not even store. One that cannot be changed in place gets a successor instead
   * ({@link Blueprints.fingerprint}).
   */
  async repair(shard: ObservedShard, signal: AbortSignal): Promise<number> {
    const kept: Writable = { name: shard.name, shard, observed: shard }
    return await this.#repair(
      shard,
      () => this.#content(kept),
      () => this.#put(kept, signal),
    )
  }

  /** The same of a shard of private images. */
  async repairPrivate(kept: PrivateChange, signal: AbortSignal): Promise<number> {
    const { observed } = kept
    if (observed === undefined) return done
    return await this.#repair(
      observed,
      () => privateContent(kept),
      () => this.#putPrivate(kept, signal),
    )
  }

  /** @param content what the write says, for one that turns a pause */
  async #repair(
    shard: ObservedShard,
    content: () => string,
    put: () => Promise<DaemonSet | undefined>,
  ): Promise<number> {
    const { clock, log } = this.#options
    const { name, generation } = shard
    if (isMissing(shard) || shard.deleting || !this.#isChangedInPlace(shard)) return done
    const known = this.#repaired.get(name)
    const isTurned = this.#paused.has(name) !== (shard.paused === true)
    if (known?.generation === generation && !isTurned) return done
    const waitMs = isTurned
      ? this.#repeated.waitMs(name, content())
      : (known?.at ?? Number.NEGATIVE_INFINITY) + repairIntervalMs - clock.now()
    if (waitMs > 0) return waitMs
    return await this.#attempts.try(name, async () => {
      const after = await put()
      if (after === undefined || after.metadata?.generation === generation) return
      if (!isTurned) log.warn({ daemonset: name }, 'somebody else changed the shard; put right')
    })
  }

  /**
   * Ends DaemonSets whose successors hold what they held.
   *
   * @param changed shards that have just been changed
   */
  async endSuperseded(
    { shards, older }: Generations,
    changed: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<number> {
    const { stuckMs, log, clock, metrics } = this.#options
    let nextMs = done
    for (const shard of shards) {
      const predecessors = shard.deleting ? undefined : older.get(shard.name)
      if (predecessors === undefined) this.#succeeding.delete(shard.uid)
      if (predecessors === undefined || changed.has(shard.name)) continue
      const since = this.#succeeding.get(shard.uid) ?? clock.now()
      this.#succeeding.set(shard.uid, since)
      const leftMs = since + stuckMs - clock.now()
      for (const one of superseded(shard, predecessors, leftMs > 0)) {
        const retryMs = await this.#attempts.try(shard.name, () => this.#delete(one, signal))
        nextMs = Math.min(nextMs, retryMs)
        if (retryMs !== done) break
        metrics.written('delete')
        log.info({ daemonset: one.object, successor: shard.object }, 'predecessor ended')
      }
      if (leftMs > 0) nextMs = Math.min(nextMs, leftMs)
    }
    return nextMs
  }

  async #write(change: Change, signal: AbortSignal): Promise<void> {
    const { log, view, metrics } = this.#options
    const { action, name, shard, observed, added, removed } = change
    if (action === 'delete') {
      if (observed === undefined) return
      for (const older of view.shards()?.older.get(name) ?? []) await this.#delete(older, signal)
      await this.#delete(observed, signal)
    } else if ((await this.#put(change, signal)) === undefined) return
    metrics.written(action)
    log.info(
      {
        daemonset: name,
        action,
        images: shard.members.length,
        added: added.slice(0, 10),
        removed: removed.slice(0, 10),
      },
      'shard changed',
    )
  }

  async #writePrivate(change: PrivateChange, signal: AbortSignal): Promise<void> {
    const { metrics, log } = this.#options
    const { action, name, observed, shard } = change
    if (action === 'delete') {
      if (observed !== undefined) await this.#delete(observed, signal)
    } else if ((await this.#putPrivate(change, signal)) === undefined) return
    metrics.written(action)
    const images = action === 'delete' ? 0 : shard.members.length
    log.info({ daemonset: name, action, images }, 'shard changed')
  }

  async #putPrivate(change: PrivateChange, signal: AbortSignal): Promise<DaemonSet | undefined> {
    const { view, clock } = this.#options
    const { name, observed, build, copy } = change
    // A kubelet that finds no Secret asks as anybody, and waits before it asks again.
    if (observed !== undefined) await copy(observed.uid, signal)
    const isTaken = (object: string): boolean => view.isTaken(object)
    const written = await this.#applying.write({ name, observed, isTaken, build }, signal)
    if (written === undefined) return undefined
    const { uid = '', generation = 0 } = written.metadata ?? {}
    view.wrote(name, uid, generation)
    this.#repaired.set(name, { generation, at: clock.now() })
    this.#repeated.note(name, privateContent(change, uid))
    this.#tellTurned(name, observed, this.#paused.has(name))
    // The first one belongs to a DaemonSet that was not there before.
    if (observed === undefined) await copy(uid, signal)
    return written
  }

  async #put(writable: Writable, signal: AbortSignal): Promise<DaemonSet | undefined> {
    const { view, blueprints, clock, onVolumesLost, onAltered } = this.#options
    const { name, shard, observed } = writable
    const inPlace = observed === undefined ? this.#mayPatch : this.#isChangedInPlace(observed)
    const writer = inPlace ? this.#applying : this.#succession
    const building = blueprints.current
    const paused = this.#isToPause(name, observed)
    const written = await writer.write(
      {
        name,
        observed,
        isTaken: (object) => view.isTaken(object),
        build: (object, revision) =>
          buildDaemonSet({ ...shard, object, revision, paused }, building),
      },
      signal,
    )
    if (written === undefined) return undefined
    const { name: object = '', uid = '', generation = 0 } = written.metadata ?? {}
    view.wrote(object, uid, generation)
    this.#repaired.set(name, { generation, at: clock.now() })
    this.#repeated.note(name, this.#content(writable, uid))
    if (inPlace) this.#tellTurned(name, observed, paused)
    const stored = readDaemonSet(written, building.settings.daemonSetName)?.members ?? []
    if (building.strategy === 'volume' && stored.length < shard.members.length) onVolumesLost()
    onAltered(alteredMembers(shard.members, stored))
    return written
  }

  #isToPause(name: string, observed: ObservedShard | undefined): boolean {
    const inPlace = observed === undefined ? this.#mayPatch : this.#isChangedInPlace(observed)
    return inPlace && (this.#paused.has(name) || (observed === undefined && this.#pausesNew))
  }

  /** What a write says of an object; of each in a row of successors the same. */
  #content({ name, shard, observed }: Writable, uid = observed?.uid): string {
    const paused = this.#isToPause(name, observed)
    const { current } = this.#options.blueprints
    return `${uid}/${fingerprintOf({ ...shard, object: name, revision: 0, paused }, current)}`
  }

  #tellTurned(name: string, observed: ObservedShard | undefined, paused: boolean): void {
    const { log } = this.#options
    if (paused === (observed?.paused === true)) return
    if (paused) log.warn({ daemonset: name }, 'kubelets refuse its pods; the shard is paused')
    else log.info({ daemonset: name }, 'the shard goes on')
  }

  async #delete(observed: ObservedShard, signal: AbortSignal): Promise<void> {
    const { client, namespace, view } = this.#options
    const { object, uid, resourceVersion } = observed
    await deleteObject(client, resourceOf('daemonsets', namespace), object, {
      uid,
      resourceVersion,
      propagationPolicy: 'Background',
      signal,
    })
    view.wrote(object, uid, undefined)
  }

  /** What was made as a successor stays in the row of successors, whatever kip may do by now. */
  #isChangedInPlace({ revision }: ObservedShard): boolean {
    return this.#mayPatch && revision === 0
  }

  /** Once changes in place are forbidden they make successors. */
  #adapts(error: KubeApiError): boolean {
    if (!this.#mayPatch || !isPatchForbidden(error)) return false
    this.#mayPatch = false
    this.#options.log.info({}, 'DaemonSets may not be changed in place; changes make successors')
    return true
  }
}

/** What a write says of an object. */
function privateContent({ name, build, observed }: PrivateChange, uid = observed?.uid): string {
  return `${uid}/${build(name).metadata?.annotations?.[fingerprintAnnotation]}`
}
