import type { DiscoverySettings } from '../config/settings.ts'
import type { Demand } from '../images/demand.ts'
import { createImageFilter, type ImageFilter } from '../images/filter.ts'
import type { Mapping } from '../images/mapping.ts'
import { allWorkloadKinds, podKind, revisionKind, type WorkloadKind } from '../images/templates.ts'
import type { KubeClient } from '../kube/client.ts'
import { type Clock, systemClock } from '../kube/clock.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Log } from '../kube/log.ts'
import { builtInMessages } from '../kube/protobuf-schemas.ts'
import { Reflector } from '../kube/reflector.ts'
import type { Pod } from '../kube/types.ts'
import { type CompactUid, uidText } from '../kube/uid.ts'
import { WorkQueue } from '../kube/work-queue.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Exclusions } from '../state/exclusions.ts'
import { ConflictError, type ImageStore } from '../state/store.ts'
import { followCopies } from './copies.ts'
import { InvalidReferences } from './invalid-references.ts'
import { Inventory, type Users } from './inventory.ts'
import { type Content, NamespaceLimit, type NamespaceLimits } from './namespace-limit.ts'
import { createPodReader, type PodUse, unpulledImages } from './pod.ts'
import { findPullIdentities, type PullIdentity } from './pull-identities.ts'
import {
  createReader,
  ownerKeyOf,
  parseOwnerKey,
  type Reader,
  readMetadata,
  type Used,
} from './reader.ts'
import { Revisions } from './revisions.ts'
import { staticReferences } from './static-images.ts'
import { isCountsOnly, planUsage } from './usage.ts'

/** A rollout changes the users of an image pod by pod: what a second brings is counted at once. */
const settleMs = 1_000
/** Numbers of users are for people: fresh enough, and a busy image costs the API server twelve writes a minute. */
const countsEveryMs = 5_000
/** Writes at a time: some 400 a second against an API server that takes 10 ms, when a whole cluster is new. */
const concurrency = 4
/** Longer waits overflow a timer, which then fires at once. */
const longestTimerMs = 2 ** 31 - 1

const messages = builtInMessages(readMetadata)

export interface DiscoveryOptions {
  readonly client: KubeClient
  readonly store: ImageStore
  readonly exclusions: Exclusions
  readonly mapping: Mapping
  readonly settings: {
    readonly discovery: Omit<
      DiscoverySettings,
      'enabled' | 'ignoreNamespaces' | 'namespaceSelector'
    >
    readonly puller: { readonly images: readonly { readonly image: string }[] }
  }
  readonly log: Log
  readonly metrics: Metrics
  /** Absent: invalid references are told in the log alone. */
  readonly events?: EventRecorder
  /** Told of every pod that is being deleted, also of its end; takes what it needs and keeps nothing of it. */
  readonly onLeaving?: (pod: Pod) => void
  /** Absent: nobody asks on which nodes the users of images may run. */
  readonly demands?: {
    /** Whether anybody does, when a run begins. */
    readonly isAsked: () => boolean
    /** Told when it is known of an image for the first time, and whenever it changes. */
    readonly onChange: () => void
  }
  /** Told of each image that a node could not pull, by its normalised reference; must return at once. */
  readonly onUnpulled?: (reference: string) => void
  readonly clock?: Clock
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
}

/** One run, from a first look at everything to the abort. */
export class Term {
  readonly #options: DiscoveryOptions
  readonly #clock: Clock
  readonly #now: () => number
  readonly #queue: WorkQueue
  readonly #inventory: Inventory
  readonly #revisions: Revisions
  readonly #limits: NamespaceLimits
  readonly #limit: NamespaceLimit
  /** Of images that were turned away, and whose objects, which knew it, are gone. */
  readonly #remembered = new Map<string, Content>()
  readonly #filter: ImageFilter
  readonly #invalid: InvalidReferences
  readonly #static: ReadonlySet<string>
  readonly #readsDemands: boolean
  readonly #unsynced = new Set<string>()
  /** Images whose users were opted out, until that is written. */
  readonly #optedOut = new Set<string>()
  /** When the users of an image were last written, on the clock that never jumps. */
  readonly #writtenAt = new Map<string, number>()
  /** Namespaces that were named as exceeding the limit. */
  readonly #exceeding = new Set<string>()
  /** Of each image, on which nodes its users may run. */
  readonly #demands = new Map<string, readonly Demand[]>()
  readonly #inUse: { set(value: number): void }
  #pods: Reflector<PodUse> | undefined
  #live = false

  constructor(options: DiscoveryOptions) {
    const { log, metrics, clock = systemClock, now = Date.now, settings } = options
    this.#options = options
    this.#clock = clock
    this.#now = now
    this.#queue = new WorkQueue({
      log,
      clock,
      baseDelayMs: 50,
      maxDelayMs: 60_000,
      metrics: metrics.workQueue('discovery'),
    })
    this.#inventory = new Inventory((reference, optedOut) => this.#touch(reference, optedOut))
    this.#revisions = new Revisions(settings.discovery.rollbackRevisions, this.#inventory)
    const { imagesPerNamespace, gigabytesPerNamespace } = settings.discovery
    this.#limits = { images: imagesPerNamespace, bytes: gigabytesPerNamespace * 1e9 }
    this.#limit = new NamespaceLimit(this.#limits, (reference) => this.#contentOf(reference))
    this.#filter = createImageFilter(settings.discovery)
    this.#invalid = new InvalidReferences({ log, metrics, events: options.events })
    this.#static = new Set(staticReferences(settings.puller.images))
    this.#readsDemands = options.demands?.isAsked() ?? false
    this.#inUse = metrics.gauge(
      'kip_discovery_images',
      'Images that stand in pods or workloads, those of excluded namespaces too.',
    )
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store, exclusions, mapping, settings } = this.#options
    // What a copy is of, and whether a namespace counts, is asked while objects are read.
    if (!(await settled([store.synced, exclusions.synced], signal))) return
    const copies = followCopies(store, mapping)
    const reader = createReader({
      mapping,
      sourceOfCopy: copies.sourceOf,
      filter: this.#filter,
      readsDemands: this.#readsDemands,
    })
    const kinds = [...allWorkloadKinds(settings.discovery.templates), revisionKind]
    const pods = this.#reflectPods(reader)
    this.#pods = pods
    const reflectors = [pods, ...kinds.map((kind) => this.#reflectWorkloads(kind, reader))]
    const stops = [
      copies.stop,
      store.onChange((reference) => this.#storeChanged(reference)),
      exclusions.onChange((namespace, gone) => {
        if (!this.#live) return
        // One that was deleted is left out too, but nobody opted it out.
        this.#inventory.touchNamespace(namespace, !gone && exclusions.excluded(namespace))
      }),
    ]
    const watches = reflectors.map((reflector) => reflector.run(signal))
    try {
      const synced = reflectors.map((reflector) => reflector.synced)
      if (await settled(synced, signal)) {
        this.#goLive()
        await this.#queue.run((reference, signal) => this.#reconcile(reference, signal), {
          concurrency,
          signal,
        })
      }
    } finally {
      for (const stop of stops) stop()
      await Promise.all(watches)
    }
  }

  sight(references: readonly string[]): void {
    if (!this.#live) return
    for (const reference of references) this.#queue.add(reference)
  }

  /** undefined until everything was read once. */
  pullIdentities(
    references: Iterable<string>,
  ): ReadonlyMap<string, readonly PullIdentity[]> | undefined {
    if (!this.#live || this.#pods === undefined) return undefined
    const { exclusions } = this.#options
    const counted = (namespace: string): boolean => !exclusions.excluded(namespace)
    const asked = [...references].map((reference) => {
      const { namespaces } = this.#inventory.usersOf(reference, counted)
      return [reference, new Set(namespaces)] as const
    })
    return findPullIdentities(new Map(asked), this.#pods.entries())
  }

  /** undefined while it is not known. */
  demandsOf(reference: string): readonly Demand[] | undefined {
    return this.#demands.get(reference)
  }

  /** Nodes with pods of the workloads that use an image which do not use it yet; looks at all pods. */
  nodesBefore(reference: string): readonly string[] {
    if (!this.#live || this.#pods === undefined) return []
    const { exclusions } = this.#options
    const tops = this.#inventory.topsOf(reference, (namespace) => !exclusions.excluded(namespace))
    const nodes = new Set<string>()
    for (const [name, { shape, node }] of this.#pods.entries()) {
      const { used } = shape
      if (node === '' || used.owner === '' || used.references.includes(reference)) continue
      if (nodes.has(node)) continue
      const top = this.#inventory.topOfPod(name, used)
      if (top !== undefined && tops.has(top)) nodes.add(node)
    }
    return [...nodes].sort()
  }

  waiting(): readonly string[] {
    return [...this.#unsynced]
  }

  /** Reads the pods, of which there are many, and many are alike. */
  #reflectPods(read: Reader): Reflector<PodUse> {
    const { project, ofOne, isSame } = createPodReader(read)
    return new Reflector<PodUse>({
      ...this.#reflecting(podKind),
      project: (raw) => {
        if (raw.metadata?.deletionTimestamp !== undefined) this.#options.onLeaving?.(raw)
        return project(raw)
      },
      ofOne,
      isSame,
      onEvent: ({ type, key, uid, value, previous }) => {
        const { used } = value.shape
        if (type === 'deleted') this.#inventory.changePod(key, undefined, used)
        else {
          this.#tellInvalid(podKind, key, uid, used)
          this.#inventory.changePod(key, used, previous?.shape.used)
          for (const reference of unpulledImages(value.shape)) this.#options.onUnpulled?.(reference)
        }
        this.#inUse.set(this.#inventory.size)
      },
    })
  }

  #reflectWorkloads(of: WorkloadKind, read: Reader): Reflector<Used> {
    return new Reflector<Used>({
      ...this.#reflecting(of),
      project: (raw) => read(of, raw),
      onEvent: ({ type, key, uid, value }) => {
        const owner = ownerKeyOf(of, key)
        if (type === 'deleted') this.#revisions.delete(owner)
        else {
          this.#tellInvalid(of, key, uid, value)
          this.#revisions.set(owner, value)
        }
        this.#inUse.set(this.#inventory.size)
      },
    })
  }

  /** What the reflectors of all kinds have in common. */
  #reflecting(of: WorkloadKind) {
    const { group, version, plural, isCustom } = of
    const { client, log, metrics } = this.#options
    const name = isCustom ? `${plural}.${group}` : plural
    this.#unsynced.add(name)
    const protobuf = messages[`${group}/${plural}`]
    return {
      client,
      resource: { group, version, plural },
      // Who runs kip with the rights of an earlier version has no less found than before.
      optional: isCustom || of === revisionKind,
      ...(protobuf && { protobuf }),
      onReplaced: () => {
        this.#unsynced.delete(name)
      },
      log,
      metrics: metrics.reflector(`discovery/${name}`),
    }
  }

  #tellInvalid(of: WorkloadKind, key: string, uid: CompactUid, used: Used): void {
    if (used.invalid.length === 0) return
    const owner = ownerKeyOf(of, key)
    const { namespace, name } = parseOwnerKey(owner)
    if (this.#options.exclusions.excluded(namespace)) return
    const apiVersion = of.group === '' ? of.version : `${of.group}/${of.version}`
    const metadata = { namespace, name, uid: uidText(uid) }
    this.#invalid.tell(owner, used, { apiVersion, kind: of.kind, metadata })
  }

  /** Everything was read once: from now on an image without users has none. */
  #goLive(): void {
    const { store, log } = this.#options
    this.#live = true
    this.#inventory.goLive()
    // Images that are known come first: they keep their places under the namespace limit.
    for (const { reference } of store.list()) this.#queue.add(reference)
    for (const reference of this.#static) this.#queue.add(reference)
    for (const reference of this.#inventory.references()) this.#queue.add(reference)
    log.info({ images: this.#inventory.size }, 'all workloads read')
  }

  #touch(reference: string, optedOut: boolean): void {
    if (optedOut) this.#optedOut.add(reference)
    const isNew = this.#options.store.get(reference) === undefined
    this.#queue.addAfter(reference, isNew ? 0 : settleMs)
  }

  #storeChanged(reference: string): void {
    if (!this.#live) return
    const image = this.#options.store.get(reference)
    // What may be too much for its namespace is not to be copied meanwhile.
    const isLarge = (image?.source?.sizeBytes ?? 0) > this.#limits.bytes / this.#limits.images
    this.#queue.addAfter(reference, image?.usage === undefined || isLarge ? 0 : settleMs)
  }

  #contentOf(reference: string): Content | undefined {
    const { digest, sizeBytes } = this.#options.store.get(reference)?.source ?? {}
    if (digest === undefined || sizeBytes === undefined) return this.#remembered.get(reference)
    return { digest, bytes: sizeBytes }
  }

  async #reconcile(reference: string, signal: AbortSignal): Promise<void> {
    const { store, settings } = this.#options
    const image = store.get(reference)
    const { users, turnedAway } = this.#usersOf(reference)
    this.#noteDemands(reference, users)
    const plan = planUsage({
      users,
      image,
      isStatic: this.#static.has(reference),
      optedOut: this.#optedOut.has(reference),
      // Users of an image that is filtered out, or beyond a limit, are not counted; it is not kept for their return.
      keepSeconds: this.#filter(reference) && !turnedAway ? settings.discovery.keepSeconds : 0,
      now: this.#now(),
    })
    if (plan.action === 'put' && plan.recheckAt !== undefined) {
      const wait = Math.min(plan.recheckAt - this.#now(), longestTimerMs)
      this.#queue.addAfter(reference, Math.max(wait, 1))
    }
    try {
      if (plan.action === 'remove' && image !== undefined) await store.remove(image, signal)
      if (plan.action === 'put') {
        const early = this.#writtenTooRecently(reference)
        if (early > 0 && isCountsOnly(image?.usage, plan.usage)) {
          this.#queue.addAfter(reference, early)
          return
        }
        await store.putUsage(reference, plan.usage, signal)
        if (store.get(reference) !== image) this.#writtenAt.set(reference, this.#clock.now())
      } else {
        this.#writtenAt.delete(reference)
      }
      this.#optedOut.delete(reference)
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error
      this.#queue.addRateLimited(reference)
    }
  }

  #noteDemands(reference: string, { workloads, namespaces }: Users): void {
    const { demands: asked, store } = this.#options
    if (!this.#readsDemands) return
    if (workloads === 0 && store.get(reference) === undefined) {
      this.#demands.delete(reference)
      return
    }
    const counted = new Set(namespaces)
    const demands = this.#inventory.demandsOf(reference, (namespace) => counted.has(namespace))
    const before = this.#demands.get(reference)
    this.#demands.set(reference, demands)
    if (before === undefined || !isSameSet(before, demands)) asked?.onChange()
  }

  #writtenTooRecently(reference: string): number {
    const at = this.#writtenAt.get(reference)
    return at === undefined ? 0 : at + countsEveryMs - this.#clock.now()
  }

  /** Who uses an image within the limits of their namespaces, and whether any does beyond. */
  #usersOf(reference: string): { readonly users: Users; readonly turnedAway: boolean } {
    const { exclusions } = this.#options
    const asked = new Set<string>()
    let turnedAway = false
    const users = this.#inventory.usersOf(reference, (namespace) => {
      if (exclusions.excluded(namespace)) return false
      asked.add(namespace)
      const taken = this.#limit.take(namespace, reference)
      turnedAway ||= !taken
      return taken
    })
    this.#limit.keepOnly(reference, asked)
    const content = turnedAway ? this.#contentOf(reference) : undefined
    if (content === undefined) this.#remembered.delete(reference)
    else this.#remembered.set(reference, content)
    for (const other of this.#limit.drain()) if (other !== reference) this.#queue.add(other)
    for (const namespace of asked) this.#tellLimit(namespace)
    return { users, turnedAway }
  }

  /** Names a namespace when it goes over the limit, once. */
  #tellLimit(namespace: string): void {
    const { log, events } = this.#options
    const exceeding = this.#limit.exceeding(namespace)
    const [image] = exceeding
    if (image === undefined) {
      this.#exceeding.delete(namespace)
      return
    }
    if (this.#exceeding.has(namespace)) return
    this.#exceeding.add(namespace)
    const { images, bytes } = this.#limits
    log.warn({ namespace, image, images, bytes }, 'namespace uses more images than its limit')
    events?.record({
      regarding: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      type: 'Warning',
      reason: 'TooManyImages',
      action: 'Discovering',
      note: `more than ${images} images or ${bytes / 1e9} GB are used here: kip leaves out those that came last, such as ${image}`,
    })
  }
}

function isSameSet(a: readonly Demand[], b: readonly Demand[]): boolean {
  return a.length === b.length && new Set(a).isSubsetOf(new Set(b))
}

/** Waits for all; false when the signal aborts first. */
async function settled(promises: readonly Promise<void>[], signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false
  const aborted = Promise.withResolvers<void>()
  const onAbort = (): void => aborted.resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([Promise.all(promises), aborted.promise])
    return !signal.aborted
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
