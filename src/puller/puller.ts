import type { Settings } from '../config/settings.ts'
import type { PullIdentity } from '../discovery/discovery.ts'
import type { Mapping } from '../images/mapping.ts'
import { deleteObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { type Clock, sleep, systemClock } from '../kube/clock.ts'
import type { KubeApiError } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import type { DaemonSet, OwnerReference } from '../kube/types.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Nodes } from '../state/cached-image.ts'
import type { ImageStore } from '../state/store.ts'
import { type Architectures, architecturesOf, isLinux } from './architectures.ts'
import { Attempts, firstRetryMs } from './attempts.ts'
import { ClusterView } from './cluster-view.ts'
import { buildDaemonSet, fingerprintOf, type ObservedShard, readDaemonSet } from './daemon-set.ts'
import { daemonSetsIn } from './daemon-set-source.ts'
import { budgetBytes, overBudget } from './disk-budget.ts'
import { type Generations, superseded } from './generations.ts'
import { standingOf } from './image-standing.ts'
import { blank, type Memory } from './memory.ts'
import { findOwner } from './owner.ts'
import { defaultPace, type Pace } from './pace.ts'
import { isMissing } from './placement.ts'
import { type Change, type Plan, plan } from './plan.ts'
import type { PodView } from './pod-view.ts'
import { type PrivateChange, PrivateImages, type PrivateScene } from './private-images.ts'
import { mayHoldPrivate, privateLayers, privateWanted } from './private-wanted.ts'
import { declareMetrics, type PullerMetrics } from './puller-metrics.ts'
import { Refusals } from './refusals.ts'
import { Reporter } from './reporter.ts'
import { isPatchForbidden, learnRights, type Rights } from './rights.ts'
import { labelValue, type Shard } from './shard.ts'
import { openGate, releaseNode } from './startup-gate.ts'
import { StatusWriter } from './status-writer.ts'
import type { StrategyName } from './strategies/strategies.ts'
import { StrategyInUse } from './strategy-in-use.ts'
import { keepsImageVolumes } from './volume-probe.ts'
import { type WantedSet, wantedSet } from './wanted.ts'
import { applyingWriter, type ShardWriter, succeedingWriter } from './writer.ts'

export interface PullerOptions {
  readonly client: KubeClient
  readonly store: ImageStore
  readonly settings: Settings
  readonly mapping: Mapping
  readonly log: Log
  readonly metrics: Metrics
  readonly clock?: Clock
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
  /** Default {@link defaultPace}; tests are in a hurry. */
  readonly pace?: Pace
  /** With which pull secrets the pods come that use images; undefined while that is not known. Default: never known. */
  readonly pullIdentities?: (
    references: Iterable<string>,
  ) => ReadonlyMap<string, readonly PullIdentity[]> | undefined
}

export interface Puller {
  /** Has the nodes hold what is wanted until the signal aborts; resolves then. May be called again afterwards. */
  run(signal: AbortSignal): Promise<void>
}

/**
 * Events come in swarms (one a node and container): one look at the cluster answers those of this long, or of as many
 * times as long as a look takes, so that on a large cluster looking costs at most a sixth of a CPU.
 */
const gatherEventsMs = 200
const gatherEventsFactor = 5

/** A DaemonSet that somebody edits again and again is put right this often at most. */
const repairIntervalMs = 30_000

/**
 * The puller: keeps DaemonSets whose pods make every node pull and hold the IMAGES set, and says in the store where each
 * image stands.
 *
 * Level-triggered: every round compares what is wanted with what the cluster shows and makes one step ({@link plan}).
 * Ending it, at whatever moment, leaves the DaemonSets as they are: nodes hold on, and new ones fill, without kip.
 */
export function createPuller(options: PullerOptions): Puller {
  const metrics = declareMetrics(options.metrics)
  return {
    run: async (signal) => {
      const { client, settings, log, clock = systemClock } = options
      const { namespace, puller } = settings
      const name = puller.deploymentName
      const owner = await findOwner({ client, namespace, name, log, clock }, signal)
      const { openShift } = puller
      const rights = await learnRights({ client, namespace, openShift, log, clock }, signal)
      if (rights === undefined || signal.aborted) return
      log.info({ ...rights }, 'what kip may do')
      const building = { namespace, settings: puller, owner }
      // OpenShift's constraints name the kinds of volumes that a pod may have, and not all name images.
      const asks =
        puller.strategy === 'volume' || (puller.strategy === 'auto' && !rights.assignsUsers)
      const serverKeepsVolumes =
        asks && rights.nodes && (await keepsImageVolumes({ client, building, log, clock }, signal))
      if (signal.aborted) return
      await new Term(options, metrics, { owner, rights, serverKeepsVolumes }).run(signal)
    },
  }
}

/** One run, from its start to its end. */
class Term {
  readonly #options: PullerOptions
  readonly #metrics: PullerMetrics
  readonly #owner: OwnerReference | undefined
  readonly #clock: Clock
  readonly #now: () => number
  readonly #view: ClusterView
  readonly #status: StatusWriter
  readonly #attempts: Attempts
  /** Generations that kip made or found in order, and when. */
  readonly #repaired = new Map<string, { readonly generation: number; readonly at: number }>()
  /** Since when a shard's newest DaemonSet is waited for, by its uid. */
  readonly #succeeding = new Map<string, number>()
  readonly #applying: ShardWriter
  readonly #succession: ShardWriter
  readonly #assignsUsers: boolean
  #mayPatch: boolean
  readonly #strategy: StrategyInUse
  readonly #reporter: Reporter
  readonly #refusals: Refusals
  readonly #private: PrivateImages
  readonly #fingerprints = new Map<string, { readonly key: string; readonly fingerprint: string }>()
  #memory: Memory = blank
  /** How long the last look at the cluster took. */
  #lookMs = 0
  #wanted: WantedSet | undefined
  #wakeUp = Promise.withResolvers<void>()

  constructor(
    options: PullerOptions,
    metrics: PullerMetrics,
    {
      owner,
      rights,
      serverKeepsVolumes,
    }: {
      readonly owner: OwnerReference | undefined
      readonly rights: Rights
      readonly serverKeepsVolumes: boolean
    },
  ) {
    this.#options = options
    this.#metrics = metrics
    this.#owner = owner
    this.#clock = options.clock ?? systemClock
    this.#now = options.now ?? Date.now
    const { client, settings, log, store } = options
    this.#view = new ClusterView({
      client,
      namespace: settings.namespace,
      base: settings.puller.daemonSetName,
      rights,
      log,
      metrics: options.metrics,
      clock: this.#clock,
      onChange: () => this.#wakeUp.resolve(),
    })
    this.#mayPatch = rights.patch
    this.#assignsUsers = rights.assignsUsers
    this.#applying = applyingWriter(client, settings.namespace)
    this.#succession = succeedingWriter(client, settings.namespace, (object) =>
      this.#view.expect(object),
    )
    this.#strategy = new StrategyInUse({
      settings: settings.puller,
      serverKeepsVolumes,
      settleMs: (options.pace ?? defaultPace).stuckMs,
      log,
    })
    this.#attempts = new Attempts({
      log,
      clock: this.#clock,
      onRefused: (reason) => metrics.refused(reason),
      adapts: (error) => this.#adapts(error),
    })
    this.#status = new StatusWriter({ store, log, clock: this.#clock })
    this.#reporter = new Reporter({ log, settings: settings.puller })
    this.#refusals = new Refusals({
      client,
      namespace: settings.namespace,
      log,
      clock: this.#clock,
    })
    this.#private = new PrivateImages({
      client,
      namespace: settings.namespace,
      base: settings.puller.daemonSetName,
      log,
      clock: this.#clock,
      pace: options.pace ?? defaultPace,
      identitiesOf: options.pullIdentities ?? (() => undefined),
      onChange: () => this.#wakeUp.resolve(),
    })
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store } = this.#options
    const stopListening = store.onChange(() => this.#wakeUp.resolve())
    try {
      await Promise.all([this.#view.run(signal), this.#status.run(signal), this.#rounds(signal)])
    } finally {
      stopListening()
    }
  }

  async #rounds(signal: AbortSignal): Promise<void> {
    const { store, log } = this.#options
    const aborted = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => aborted.resolve(), { once: true })
    await Promise.race([Promise.all([store.synced, this.#view.synced]), aborted.promise])
    while (!signal.aborted) {
      this.#wakeUp = Promise.withResolvers()
      const nextMs = await this.#round(signal).catch((error: unknown) => {
        if (!signal.aborted) log.error({ err: error }, 'a round failed, trying again')
        return firstRetryMs
      })
      const cancel = Number.isFinite(nextMs)
        ? this.#clock.timer(() => this.#wakeUp.resolve(), nextMs)
        : () => undefined
      await Promise.race([this.#wakeUp.promise, aborted.promise])
      cancel()
      const gatherMs = Math.max(gatherEventsMs, gatherEventsFactor * this.#lookMs)
      await sleep(this.#clock, gatherMs, signal).catch(() => undefined)
    }
  }

  /** Looks, plans and writes once; gives the milliseconds after which time alone calls for another round. */
  async #round(signal: AbortSignal): Promise<number> {
    const { settings, store, mapping, pace = defaultPace } = this.#options
    const generations = this.#view.shards()
    if (generations === undefined) return gatherEventsMs
    const shards = generations.shards.filter(({ kind }) => kind !== 'private')
    const epoch = this.#now()
    const architectures = architecturesOf(this.#view.nodes(), settings.puller)
    this.#wanted = wantedSet({
      store,
      settings,
      mapping,
      architectures,
      // Where each change makes a successor, what a tag is cannot be noted without rolling all.
      followTags: this.#mayPatch,
      now: epoch,
      ...(this.#wanted === undefined ? {} : { before: this.#wanted }),
    })
    const now = this.#clock.now()
    const taken = this.#view.taken()
    const before = this.#strategy.current
    const strategy = this.#strategy.choose(this.#view.nodes()?.filter(isLinux), now)
    if (strategy !== before) this.#fingerprints.clear()
    const scene = this.#privateScene(generations, strategy, epoch)
    const beside = this.#private.round(scene, signal)
    const privatePods = new Set<PodView>(scene.pods)
    const out = overBudget({
      wanted: this.#wanted.references,
      held: new Set(shards.flatMap(({ members }) => members.map(({ reference }) => reference))),
      bytes: budgetBytes(this.#view.nodes(), settings.puller, settings.puller.diskPercent),
    })
    const references = [...this.#wanted.references].filter(([reference]) => !out.has(reference))
    const next = plan({
      wanted: new Map(references),
      shards,
      taken,
      pods: [...this.#view.pods()].filter((pod) => !privatePods.has(pod)),
      architectures,
      memory: this.#memory,
      base: settings.puller.daemonSetName,
      strategy,
      podsPerNode: Math.max(2, settings.puller.podsPerNode - beside.shards),
      fingerprint: (shard) => this.#fingerprint(shard),
      pace,
      now,
    })
    this.#memory = next.memory
    this.#tell(next, this.#wanted, { taken, out, beside: beside.nodes })
    this.#lookMs = this.#clock.now() - now
    let nextMs = Math.min(next.wakeAt - now, beside.nextMs)
    if (this.#wanted.recheckAt !== undefined) {
      nextMs = Math.min(nextMs, this.#wanted.recheckAt - epoch)
    }
    const changed = new Set(next.changes.map(({ name }) => name))
    for (const change of next.changes) {
      nextMs = Math.min(
        nextMs,
        await this.#attempts.try(change.name, () => this.#write(change, signal)),
      )
    }
    for (const change of beside.changes) {
      const write = (): Promise<void> => this.#writePrivate(change, signal)
      nextMs = Math.min(nextMs, await this.#attempts.try(change.name, write))
    }
    if (beside.changes.length === 0 && scene.shards.length > 0) {
      const tidy = (): Promise<void> => this.#private.tidy(scene, signal)
      nextMs = Math.min(nextMs, await this.#attempts.try('credentials', tidy))
    }
    for (const shard of shards) {
      if (changed.has(shard.name) || isMissing(shard) || shard.deleting) continue
      nextMs = Math.min(nextMs, await this.#repair(shard, signal))
    }
    nextMs = Math.min(nextMs, await this.#endSuperseded(generations, changed, signal))
    nextMs = Math.min(nextMs, await this.#releaseNodes(next, architectures, signal))
    // After all that is written: nobody waits for an explanation.
    nextMs = Math.min(nextMs, await this.#refusals.look([...shards, ...scene.shards], signal))
    return Math.max(0, nextMs)
  }

  async #write(change: Change, signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    const { action, name, shard, observed, added, removed } = change
    if (action === 'delete') {
      if (observed === undefined) return
      for (const older of this.#view.shards()?.older.get(name) ?? []) {
        await this.#delete(older, signal)
      }
      await this.#delete(observed, signal)
    } else if ((await this.#put(name, shard, observed, signal)) === undefined) return
    this.#metrics.written(action)
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

  /** What images that need credentials are to be held with, and what is there of them. */
  #privateScene({ shards }: Generations, strategy: StrategyName, now: number): PrivateScene {
    const { settings, store, mapping } = this.#options
    // Secrets are made and removed with DaemonSets that are changed in place, and where an image stands is told by pods.
    const able = this.#mayPatch && this.#view.nodes() !== undefined
    const own = shards.filter((shard) => shard.kind === 'private' && !isMissing(shard))
    const names = new Set(own.map(({ name }) => labelValue(name)))
    return {
      wanted: able ? privateWanted({ store, settings, mapping, now }) : new Map(),
      shards: own.filter(({ deleting }) => !deleting),
      pods: names.size === 0 ? [] : [...this.#view.pods()].filter(({ shard }) => names.has(shard)),
      allowed: mayHoldPrivate(settings, this.#view.nodes()),
      layers: privateLayers(settings),
      strategy,
      building: this.#building,
    }
  }

  async #writePrivate(change: PrivateChange, signal: AbortSignal): Promise<void> {
    const { name, observed, shard, build, copy } = change
    if (shard === undefined) {
      if (observed !== undefined) await this.#delete(observed, signal)
    } else {
      // A kubelet that finds no Secret asks as anybody, and waits before it asks again.
      if (observed !== undefined) await copy(observed.uid, signal)
      const isTaken = (object: string): boolean => this.#view.isTaken(object)
      const written = await this.#applying.write({ name, observed, isTaken, build }, signal)
      if (written === undefined) return
      const { uid = '', generation = 0 } = written.metadata ?? {}
      this.#view.wrote(name, uid, generation)
      // The first one belongs to a DaemonSet that was not there before.
      if (observed === undefined) await copy(uid, signal)
    }
    const action = shard === undefined ? 'delete' : 'apply'
    this.#metrics.written(action)
    const images = shard?.members.length ?? 0
    this.#options.log.info({ daemonset: name, action, images }, 'shard changed')
  }

  /**
   * Applies a shard as it is once a term, and again whenever somebody else changed its spec: a no-op when all is as it
   * should be, which the server does not even store. One that cannot be changed in place gets a successor instead
   * ({@link #fingerprint}).
   */
  async #repair(shard: ObservedShard, signal: AbortSignal): Promise<number> {
    const { name, generation } = shard
    if (!this.#isChangedInPlace(shard)) return Number.POSITIVE_INFINITY
    const known = this.#repaired.get(name)
    if (known?.generation === generation) return Number.POSITIVE_INFINITY
    const waitMs = (known?.at ?? Number.NEGATIVE_INFINITY) + repairIntervalMs - this.#clock.now()
    if (waitMs > 0) return waitMs
    return await this.#attempts.try(name, async () => {
      const after = await this.#put(name, shard, shard, signal)
      if (after === undefined || after.metadata?.generation === generation) return
      this.#options.log.warn({ daemonset: name }, 'somebody else changed the shard; put right')
    })
  }

  async #put(
    name: string,
    shard: Shard,
    observed: ObservedShard | undefined,
    signal: AbortSignal,
  ): Promise<DaemonSet | undefined> {
    const inPlace = observed === undefined ? this.#mayPatch : this.#isChangedInPlace(observed)
    const writer = inPlace ? this.#applying : this.#succession
    const { members } = shard
    const { settings } = this.#options
    const written = await writer.write(
      {
        name,
        observed,
        isTaken: (object) => this.#view.isTaken(object),
        build: (object, revision) => buildDaemonSet({ ...shard, object, revision }, this.#building),
      },
      signal,
    )
    if (written === undefined) return undefined
    const { name: object = '', uid = '', generation = 0 } = written.metadata ?? {}
    this.#view.wrote(object, uid, generation)
    this.#repaired.set(name, { generation, at: this.#clock.now() })
    const kept = readDaemonSet(written, settings.puller.daemonSetName)?.members.length ?? 0
    if (this.#strategy.current === 'volume' && kept < members.length) {
      this.#strategy.lostVolume()
      this.#wakeUp.resolve()
    }
    return written
  }

  async #delete(observed: ObservedShard, signal: AbortSignal): Promise<void> {
    const { client, settings } = this.#options
    const { object, uid, resourceVersion } = observed
    await deleteObject(client, daemonSetsIn(settings.namespace), object, {
      uid,
      resourceVersion,
      propagationPolicy: 'Background',
      signal,
    })
    this.#view.wrote(object, uid, undefined)
  }

  /** Ends DaemonSets whose successors hold what they held. */
  async #endSuperseded(
    { shards, older }: Generations,
    changed: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<number> {
    const { pace = defaultPace, log } = this.#options
    let nextMs = Number.POSITIVE_INFINITY
    for (const shard of shards) {
      const predecessors = shard.deleting ? undefined : older.get(shard.name)
      if (predecessors === undefined || changed.has(shard.name)) continue
      const since = this.#succeeding.get(shard.uid) ?? this.#clock.now()
      this.#succeeding.set(shard.uid, since)
      const leftMs = since + pace.stuckMs - this.#clock.now()
      for (const one of superseded(shard, predecessors, leftMs > 0)) {
        const retryMs = await this.#attempts.try(shard.name, () => this.#delete(one, signal))
        nextMs = Math.min(nextMs, retryMs)
        if (retryMs !== Number.POSITIVE_INFINITY) break
        this.#metrics.written('delete')
        log.info({ daemonset: one.object, successor: shard.object }, 'predecessor ended')
      }
      if (leftMs > 0) nextMs = Math.min(nextMs, leftMs)
    }
    return nextMs
  }

  /** Takes the startup taint off nodes that hold what they are to hold. */
  async #releaseNodes(
    { seen }: Plan,
    architectures: Architectures,
    signal: AbortSignal,
  ): Promise<number> {
    const { client, settings, log } = this.#options
    const { puller } = settings
    const nodes = this.#view.nodes()
    if (puller.startupTaintSeconds === 0 || nodes === undefined) return Number.POSITIVE_INFINITY
    const gate = openGate({
      nodes,
      shards: seen.shards,
      seen,
      architectures,
      demand: puller,
      deadlineMs: puller.startupTaintSeconds * 1000,
      now: this.#now(),
    })
    let { nextMs } = gate
    for (const { node, why } of gate.releases) {
      const retryMs = await this.#attempts.try(`node ${node}`, async () => {
        await releaseNode(client, node, signal)
        log.info({ node, why }, 'node released of its startup taint')
      })
      nextMs = Math.min(nextMs, retryMs)
    }
    return nextMs
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

  /** Tells the store, the log and the metrics where things stand. */
  #tell(
    next: Plan,
    wanted: WantedSet,
    {
      taken,
      out,
      beside,
    }: {
      readonly taken: ReadonlySet<string>
      readonly out: ReadonlySet<string>
      /** Where images that need credentials stand. */
      readonly beside: ReadonlyMap<string, Nodes>
    },
  ): void {
    const { seen, places } = next
    const refusals = this.#refusals.found
    const standing = standingOf({
      plan: next,
      images: wanted.images,
      known: this.#options.store.list(),
      out,
      refused: new Set(refusals.keys()),
      beside,
    })
    for (const [image, nodes] of standing) this.#status.offer(image, nodes)
    this.#metrics.observe(places, seen, next.waiting.union(out))
    this.#reporter.report(next, { taken, out, refusals })
  }

  /** The fingerprint that a shard is to have, '' for one that is not as it was made; computed once for each state of it. */
  #fingerprint(shard: ObservedShard): string {
    // Nobody but kip makes successors, and kip does not edit them: who did is to be undone by another one.
    if (shard.uid !== '' && shard.revision > 0 && shard.generation > 1) return ''
    // What tags were is noted without a new generation.
    const key = `${shard.uid}/${shard.generation}/${shard.fingerprint}`
    const known = this.#fingerprints.get(shard.name)
    if (known?.key === key) return known.fingerprint
    const fingerprint = fingerprintOf(shard, this.#building)
    this.#fingerprints.set(shard.name, { key, fingerprint })
    return fingerprint
  }

  get #building(): Parameters<typeof buildDaemonSet>[1] {
    const { namespace, puller } = this.#options.settings
    return {
      namespace,
      settings: puller,
      owner: this.#owner,
      strategy: this.#strategy.current,
      assignsUsers: this.#assignsUsers,
    }
  }
}
