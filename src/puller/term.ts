import type { Settings } from '../config/settings.ts'
import type { PullIdentity } from '../discovery/discovery.ts'
import type { Mapping } from '../images/mapping.ts'
import type { KubeClient } from '../kube/client.ts'
import { type Clock, sleep } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import type { OwnerReference } from '../kube/types.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { ImageStore } from '../state/store.ts'
import { type Alterations, AlteredImages } from './altered-images.ts'
import { firstRetryMs } from './attempts.ts'
import { Blueprints, copySecrets } from './blueprints.ts'
import { ClusterView } from './cluster-view.ts'
import { overBudget } from './disk-budget.ts'
import { type Ground, groundOf } from './ground.ts'
import { standingOf } from './image-standing.ts'
import { blank, countWritten, type Memory } from './memory.ts'
import { refusesPods } from './node-view.ts'
import type { Pace } from './pace.ts'
import { paced } from './paced-changes.ts'
import { Pauses } from './pauses.ts'
import { isMissing } from './placement.ts'
import { type Plan, plan } from './plan.ts'
import type { PodView } from './pod-view.ts'
import { PrivateImages, type PrivateRound, type PrivateScene } from './private-images.ts'
import { everyKubeletChecks, privateScene } from './private-wanted.ts'
import type { PullerMetrics } from './puller-metrics.ts'
import { Refusals } from './refusals.ts'
import { Reporter } from './reporter.ts'
import type { Rights } from './rights.ts'
import { ShardWrites } from './shard-writes.ts'
import { openGate, releaseNodes } from './startup-gate.ts'
import { StatusWriter } from './status-writer.ts'
import { StrategyInUse } from './strategy-in-use.ts'
import { type WantedSet, wantedSet } from './wanted.ts'
import type { DemandsOf } from './where-rules.ts'
import { Whereabouts } from './whereabouts.ts'

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
  /** Shards that what is held for good is spread over at most; default: 1. */
  readonly spread?: number
  /** Default `defaultPace`; tests are in a hurry. */
  readonly pace?: Pace
  /** With which pull secrets the pods come that use images; undefined while that is not known. Default: never known. */
  readonly pullIdentities?: (
    references: Iterable<string>,
  ) => ReadonlyMap<string, readonly PullIdentity[]> | undefined
  /** On which nodes the users of images may run. Default: nobody can tell, and images are held everywhere. */
  readonly demands?: {
    readonly of: DemandsOf
    /** @returns how to end it */
    readonly onChange: (listener: () => void) => () => void
  }
  /** Nodes with pods that those with an image are to replace; default: none are known. */
  readonly nodesBefore?: (reference: string) => readonly string[]
}

/** What the puller was made with, all of it settled, and what was learnt when the term began. */
export interface TermOptions extends Required<Omit<PullerOptions, 'demands'>> {
  readonly demands: PullerOptions['demands']
  readonly pullerMetrics: PullerMetrics
  readonly owner: OwnerReference | undefined
  readonly rights: Rights
  /** A dry run came back with its image volume. */
  readonly serverKeepsVolumes: boolean
}

/**
 * Events come in swarms (one a node and container): one look at the cluster answers those of this long, or of as many
 * times as long as a look takes, so that on a large cluster looking costs at most a sixth of a CPU.
 */
const gatherEventsMs = 200
const gatherEventsFactor = 5

/** One run of the puller, from its start to its end: looks, plans and writes, round after round. */
export class Term {
  readonly #options: TermOptions
  readonly #view: ClusterView
  readonly #blueprints: Blueprints
  readonly #writes: ShardWrites
  readonly #strategy: StrategyInUse
  readonly #private: PrivateImages
  readonly #whereabouts: Whereabouts
  readonly #refusals: Refusals
  readonly #pauses = new Pauses()
  readonly #altered = new AlteredImages()
  readonly #status: StatusWriter
  readonly #reporter: Reporter
  #memory: Memory = blank
  #wanted: WantedSet | undefined
  /** How long the last look at the cluster took. */
  #lookMs = 0
  #wakeUp = Promise.withResolvers<void>()

  constructor(options: TermOptions) {
    this.#options = options
    const { client, settings, log, store, clock, pace, rights, owner } = options
    const { namespace, puller } = settings
    const { assignsUsers } = rights
    const own = { client, namespace, base: puller.daemonSetName, log, clock }
    const onChange = (): void => this.#wakeUp.resolve()
    this.#view = new ClusterView({ ...own, rights, metrics: options.metrics, onChange })
    this.#strategy = new StrategyInUse({
      settings: puller,
      serverKeepsVolumes: options.serverKeepsVolumes,
      settleMs: pace.stuckMs,
      log,
    })
    this.#blueprints = new Blueprints(
      { namespace, settings: puller, owner, assignsUsers, pullSecrets: copySecrets(options) },
      this.#strategy.current,
    )
    this.#writes = new ShardWrites({
      ...own,
      metrics: options.pullerMetrics,
      view: this.#view,
      blueprints: this.#blueprints,
      mayPatch: rights.patch,
      stuckMs: pace.stuckMs,
      onVolumesLost: () => {
        this.#strategy.lostVolume()
        onChange()
      },
      onAltered: (altered) => this.#altered.note(altered, clock.now()),
    })
    this.#private = new PrivateImages({
      ...own,
      pace,
      identitiesOf: options.pullIdentities,
      onChange,
    })
    this.#whereabouts = new Whereabouts({
      settings: puller,
      demandsOf: options.demands?.of,
      narrowMs: pace.stuckMs,
    })
    this.#refusals = new Refusals(own)
    this.#status = new StatusWriter({ store, log, clock })
    this.#reporter = new Reporter({ log, settings: puller })
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store } = this.#options
    const onChange = (): void => this.#wakeUp.resolve()
    const stops = [store.onChange(onChange), this.#options.demands?.onChange(onChange)]
    try {
      await Promise.all([this.#view.run(signal), this.#status.run(signal), this.#rounds(signal)])
    } finally {
      for (const stop of stops) stop?.()
    }
  }

  async #rounds(signal: AbortSignal): Promise<void> {
    const { store, log, clock } = this.#options
    const aborted = untilAborted(signal)
    void aborted.then(() => this.#wakeUp.resolve())
    await Promise.race([Promise.all([store.synced, this.#view.synced]), aborted])
    while (!signal.aborted) {
      this.#wakeUp = Promise.withResolvers()
      const nextMs = await this.#round(signal).catch((error: unknown) => {
        if (!signal.aborted) log.error({ err: error }, 'a round failed, trying again')
        return firstRetryMs
      })
      const cancel = Number.isFinite(nextMs)
        ? clock.timer(() => this.#wakeUp.resolve(), nextMs)
        : () => undefined
      await this.#wakeUp.promise
      cancel()
      const gatherMs = Math.max(gatherEventsMs, gatherEventsFactor * this.#lookMs)
      await sleep(clock, gatherMs, signal).catch(() => undefined)
    }
  }

  /** Looks, plans and writes once; gives the milliseconds after which time alone calls for another round. */
  async #round(signal: AbortSignal): Promise<number> {
    const { settings, store, mapping, pace, clock, spread } = this.#options
    const { puller } = settings
    const generations = this.#view.shards()
    if (generations === undefined) return gatherEventsMs
    const shards = generations.shards.filter(({ kind }) => kind !== 'private')
    const epoch = this.#options.now()
    const now = clock.now()
    const nodes = this.#view.nodes()
    const cramped = generations.shards.flatMap(({ without = [] }) => without)
    const look = (): Ground => groundOf(nodes, puller, this.#whereabouts.placings, cramped)
    this.#whereabouts.begin(nodes, shards, now)
    this.#wanted = wantedSet({
      store,
      settings,
      mapping,
      ground: look(),
      choose: (...image) => this.#whereabouts.choose(...image),
      // Where each change makes a successor, what a tag is cannot be noted without rolling all.
      followTags: this.#writes.mayPatch,
      kubeletsCheck: everyKubeletChecks(nodes, puller),
      now: epoch,
      ...(this.#wanted === undefined ? {} : { before: this.#wanted }),
    })
    const ground = look()
    const taken = this.#view.taken()
    const strategy = this.#strategy.choose(ground.nodes, now)
    this.#blueprints.hold(strategy, ground.cramped)
    const isRefusing = ground.nodes?.some(refusesPods) === true
    const { paused, wakeAt } = this.#pauses.look({
      ...{ shards: generations.shards, pods: this.#view.pods(), isRefusing, now },
      refused: this.#view.refused(),
    })
    this.#writes.pause(paused, isRefusing)
    const scene = privateScene({
      store,
      settings,
      mapping,
      now: epoch,
      shards: generations.shards,
      pods: this.#view.pods(),
      nodes,
      served: ground.nodes?.length ?? 0,
      mayPatch: this.#writes.mayPatch,
      building: this.#blueprints.current,
      paused,
    })
    const beside = this.#private.round(scene, signal)
    const privatePods = new Set<PodView>(scene.pods)
    const out = overBudget({
      wanted: this.#wanted.references,
      held: new Set(shards.flatMap(({ members }) => members.map(({ reference }) => reference))),
      ground,
      percent: puller.diskPercent,
    })
    const pods = [...this.#view.pods()].filter((pod) => !privatePods.has(pod))
    const altered = this.#altered.look(shards, pods, this.#wanted.references, now)
    const asked = [...this.#wanted.references].filter(([reference]) => !out.has(reference))
    const next = plan({
      wanted: new Map(asked),
      altered: new Set(altered.inVain.keys()),
      besideBytes: beside.storedBytes,
      shards,
      taken,
      pods,
      ground,
      memory: this.#memory,
      base: puller.daemonSetName,
      strategy,
      podsPerNode: Math.max(2, puller.podsPerNode - beside.shards),
      spread,
      // A successor is asked for on all nodes in any case.
      ...(this.#writes.mayPatch && { nodesAtOnce: puller.nodesAtOnce }),
      firstOn: (reference) => this.#firstOn(reference),
      fingerprint: (shard) => this.#blueprints.fingerprint(shard),
      pace,
      now,
    })
    this.#memory = next.memory
    this.#tell(next, this.#wanted, { taken, out, altered: altered.all, beside })
    this.#lookMs = clock.now() - now
    let nextMs = Math.min(
      next.wakeAt - now,
      this.#whereabouts.wakeAt - now,
      this.#altered.wakeAt(now) - now,
      wakeAt - now,
      beside.nextMs,
    )
    const after = (ms: number): void => {
      nextMs = Math.min(nextMs, ms)
    }
    if (this.#wanted.recheckAt !== undefined) after(this.#wanted.recheckAt - epoch)
    for (const change of next.changes) {
      after(this.#count(next.bytes.get(change), await this.#writes.carryOut(change, signal)))
    }
    const missing = generations.shards.filter(isMissing).map(({ name }) => name)
    after(await this.#keepPrivate(beside, scene, new Set(missing), signal))
    const changed = new Set(next.changes.map(({ name }) => name))
    for (const shard of shards) {
      if (!changed.has(shard.name)) after(await this.#writes.repair(shard, signal))
    }
    after(await this.#writes.endSuperseded(generations, changed, signal))
    after(await this.#releaseNodes(next, ground, signal))
    // After all that is written: nobody waits for an explanation.
    after(await this.#refusals.look([...shards, ...scene.shards], signal))
    return Math.max(0, nextMs)
  }

  /**
   * Writes what is to be done to shards of private images, as far as etcd bears it now.
   *
   * @param missing names of shards that somebody deleted
   */
  async #keepPrivate(
    { changes, kept, isGathering }: PrivateRound,
    scene: PrivateScene,
    missing: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<number> {
    const now = this.#options.clock.now()
    let nextMs = Number.POSITIVE_INFINITY
    const after = (ms: number): void => {
      nextMs = Math.min(nextMs, ms)
    }
    for (const change of changes) {
      const { changes: allowed, bytes } = paced([change], {
        written: this.#memory.written,
        strategy: scene.strategy,
        nodesAt: () => scene.nodeCount,
        now,
        rolls: ({ rolls }) => rolls,
        isUrgent: ({ name }) => missing.has(name),
        wake: (at) => after(at - now),
      })
      if (allowed.length === 0) continue
      after(this.#count(bytes.get(change), await this.#writes.carryOutPrivate(change, signal)))
    }
    for (const one of kept) after(await this.#writes.repairPrivate(one, signal))
    if (changes.length === 0 && !isGathering && scene.shards.length > 0) {
      after(await this.#writes.try('credentials', () => this.#private.tidy(scene, signal)))
    }
    return nextMs
  }

  /** Counts what a change has made the API server store; what was refused is not stored. */
  #count(bytes = 0, retryMs: number): number {
    const isDone = retryMs === Number.POSITIVE_INFINITY
    if (isDone) this.#memory = countWritten(this.#memory, bytes, this.#options.clock.now())
    return retryMs
  }

  /** Nodes where a roll-out is to bring an image, by any of the names that it is held under. */
  #firstOn(name: string): readonly string[] {
    // Where each change makes a successor, a second step costs all nodes a pod.
    if (!this.#writes.mayPatch) return []
    const [image] =
      [...(this.#wanted?.images ?? [])].find(([, names]) => names.includes(name)) ?? []
    return this.#options.nodesBefore(image ?? name)
  }

  /** Takes the startup taint off nodes that hold what they are to hold. */
  async #releaseNodes({ seen }: Plan, ground: Ground, signal: AbortSignal): Promise<number> {
    const { client, settings, log } = this.#options
    const { puller } = settings
    const nodes = this.#view.nodes()
    if (puller.startupTaintSeconds === 0 || nodes === undefined) return Number.POSITIVE_INFINITY
    const gate = openGate({
      nodes,
      shards: seen.shards,
      seen,
      ground,
      deadlineMs: puller.startupTaintSeconds * 1000,
      now: this.#options.now(),
    })
    return await releaseNodes(gate, { client, log, attempts: this.#writes }, signal)
  }

  /** Tells the store, the log and the metrics where things stand. */
  #tell(
    next: Plan,
    wanted: WantedSet,
    {
      taken,
      out,
      altered,
      beside,
    }: {
      readonly taken: ReadonlySet<string>
      readonly out: ReadonlySet<string>
      readonly altered: Alterations
      /** Images that need credentials. */
      readonly beside: Pick<PrivateRound, 'nodes' | 'altered'>
    },
  ): void {
    const { store, pullerMetrics } = this.#options
    const refusals = this.#refusals.found
    const waiting = next.waiting.union(wanted.crowded)
    const standing = standingOf({
      plan: { ...next, waiting },
      images: wanted.images,
      known: store.list(),
      out,
      altered: new Set(altered.keys()),
      refused: new Set(refusals.keys()),
      maybePrivate: wanted.maybePrivate,
      beside: beside.nodes,
    })
    for (const [image, nodes] of standing) this.#status.offer(image, nodes)
    pullerMetrics.observe(next.places, next.seen, waiting.union(next.beyond).union(out))
    const changed = new Map([...altered, ...beside.altered])
    this.#reporter.report({ ...next, waiting }, { taken, out, altered: changed, refusals })
  }
}
