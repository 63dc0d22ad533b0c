import type { Demand } from '../images/demand.ts'
import { createImageFilter, type ImageFilter } from '../images/filter.ts'
import { allWorkloadKinds } from '../images/templates.ts'
import { systemClock } from '../kube/clock.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import { WorkQueue } from '../kube/work-queue.ts'
import type { ImageState } from '../state/cached-image.ts'
import type { FairShare } from '../state/fair-share.ts'
import { ConflictError } from '../state/store.ts'
import { followCopies } from './copies.ts'
import { CountedUsers } from './counted-users.ts'
import { Demands } from './demands.ts'
import { Inventory } from './inventory.ts'
import type { DiscoveryOptions } from './options.ts'
import { findPullIdentities, type PullIdentity } from './pull-identities.ts'
import { createReader } from './reader.ts'
import { staticReferences } from './static-images.ts'
import { UsageWriter } from './usage-writer.ts'
import { Watches } from './watches.ts'

/** A rollout changes the users of an image pod by pod: what a second brings is counted at once. */
const settleMs = 1_000
/** Writes at a time: some 400 a second against an API server that takes 10 ms, when a whole cluster is new. */
const concurrency = 4

/** One run, from a first look at everything to the abort. */
export class Term {
  readonly #options: DiscoveryOptions
  readonly #queue: WorkQueue
  readonly #inventory: Inventory
  readonly #users: CountedUsers
  readonly #filter: ImageFilter
  readonly #static: ReadonlySet<string>
  readonly #writer: UsageWriter
  /** undefined: nobody asks for them. */
  readonly #demands: Demands | undefined
  /** Images that were told to have too many pull secrets. */
  #manySecrets: ReadonlySet<string> = new Set()
  #watches: Watches | undefined
  #live = false

  constructor(options: DiscoveryOptions) {
    const { log, metrics, store, exclusions, clock = systemClock, now = Date.now } = options
    const { settings, events, demands } = options
    this.#options = options
    this.#queue = new WorkQueue({
      log,
      clock,
      baseDelayMs: 50,
      maxDelayMs: 60_000,
      metrics: metrics.workQueue('discovery'),
    })
    const inventory = new Inventory((reference, optedOut) => this.#touch(reference, optedOut))
    this.#inventory = inventory
    const { imagesPerNamespace, gigabytesPerNamespace } = settings.discovery
    this.#users = new CountedUsers({
      ...{ inventory, store, log, events },
      excluded: (namespace) => exclusions.excluded(namespace),
      limits: { images: imagesPerNamespace, bytes: gigabytesPerNamespace * 1e9 },
    })
    this.#filter = createImageFilter(settings.discovery)
    this.#static = new Set(staticReferences(settings.puller.images))
    const isStatic = (reference: string): boolean => this.#static.has(reference)
    this.#writer = new UsageWriter({ store, isStatic, clock, now })
    if (demands?.isAsked()) {
      const isKnown = (reference: string): boolean => store.get(reference) !== undefined
      this.#demands = new Demands({ inventory, isKnown, onChange: demands.onChange })
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store, exclusions, mapping, settings } = this.#options
    // What a copy is of, and whether a namespace counts, is asked while objects are read.
    if (!(await settled([store.synced, exclusions.synced], signal))) return
    const copies = followCopies(store, mapping)
    const watches = new Watches({
      discovery: this.#options,
      kinds: allWorkloadKinds(settings.discovery.templates),
      read: createReader({
        mapping,
        sourceOfCopy: copies.sourceOf,
        filter: this.#filter,
        readsDemands: this.#demands !== undefined,
      }),
      inventory: this.#inventory,
    })
    this.#watches = watches
    const stops = [
      copies.stop,
      store.onChange((reference) => this.#storeChanged(reference)),
      exclusions.onChange((namespace, gone) => {
        if (!this.#live) return
        // One that was deleted is left out too, but nobody opted it out.
        this.#inventory.touchNamespace(namespace, !gone && exclusions.excluded(namespace))
      }),
    ]
    const watching = watches.run(signal)
    try {
      if (await settled(watches.synced, signal)) {
        this.#goLive()
        await this.#queue.run((reference, signal) => this.#reconcile(reference, signal), {
          concurrency,
          signal,
        })
      }
    } finally {
      for (const stop of stops) stop()
      await watching
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
    if (!this.#live || this.#watches === undefined) return undefined
    const asked = [...references].map((reference) => {
      const { namespaces } = this.#inventory.usersOf(reference, this.#counts)
      return [reference, new Set(namespaces)] as const
    })
    const found = findPullIdentities(
      new Map(asked),
      this.#watches.pods(),
      (pod, used) => this.#inventory.topOfPod(pod, used) !== undefined,
    )
    this.#tellMany(found)
    return new Map([...found].map(([reference, { taken }]) => [reference, taken]))
  }

  /** Tells of an image once, until all of its pull secrets are looked at again. */
  #tellMany(found: ReadonlyMap<string, FairShare<PullIdentity>>): void {
    const told = this.#manySecrets
    const many = new Set<string>()
    this.#manySecrets = many
    for (const [image, { greediest: namespace }] of found) {
      if (namespace === undefined) continue
      many.add(image)
      const text =
        'image is pulled with more sets of pull secrets than are looked at, most of them here'
      if (!told.has(image)) this.#options.log.warn({ image, namespace }, text)
    }
  }

  /** undefined while it is not known. */
  demandsOf(reference: string): readonly Demand[] | undefined {
    return this.#demands?.of(reference)
  }

  /** Nodes with pods of the workloads that use an image which do not use it yet; looks at all pods. */
  nodesBefore(reference: string): readonly string[] {
    if (!this.#live || this.#watches === undefined) return []
    const tops = this.#inventory.topsOf(reference, this.#counts)
    const nodes = new Set<string>()
    for (const [name, { shape, node }] of this.#watches.pods()) {
      const { used } = shape
      if (node === '' || used.owner === '' || used.references.includes(reference)) continue
      if (nodes.has(node)) continue
      const top = this.#inventory.topOfPod(name, used)
      if (top !== undefined && tops.has(top)) nodes.add(node)
    }
    return [...nodes].sort()
  }

  waiting(): readonly string[] {
    return this.#watches?.waiting() ?? []
  }

  /** Whether users in a namespace count. */
  readonly #counts = (namespace: string): boolean => !this.#options.exclusions.excluded(namespace)

  /** Everything was read once: from now on an image without users has none. */
  #goLive(): void {
    const { store, log } = this.#options
    this.#live = true
    this.#inventory.goLive()
    // Images that are known come first: they keep their places under the namespace limit. What nobody uses comes before what
    // is used, for which it makes room, in the order in which it does.
    for (const { reference } of [...store.list()].sort(byLastUse)) this.#queue.add(reference)
    for (const reference of this.#static) this.#queue.add(reference)
    for (const reference of this.#inventory.references()) this.#queue.add(reference)
    log.info({ images: this.#inventory.size }, 'all workloads read')
  }

  #touch(reference: string, optedOut: boolean): void {
    if (optedOut) this.#writer.noteOptedOut(reference)
    const isNew = this.#options.store.get(reference) === undefined
    this.#queue.addAfter(reference, isNew ? 0 : settleMs)
  }

  #storeChanged(reference: string): void {
    if (!this.#live) return
    const isNew = this.#options.store.get(reference)?.usage === undefined
    // What may be too much for its namespace is not to be copied meanwhile.
    this.#queue.addAfter(reference, isNew || this.#users.isLarge(reference) ? 0 : settleMs)
  }

  async #reconcile(reference: string, signal: AbortSignal): Promise<void> {
    const { users, turnedAway, moved } = this.#users.of(reference)
    for (const other of moved) this.#queue.add(other)
    this.#demands?.note(reference, users)
    // Users of an image that is filtered out, or beyond a limit, are not counted; it is not kept for their return.
    const keeps = this.#filter(reference) && !turnedAway
    const keepSeconds = keeps ? this.#options.settings.discovery.keepSeconds : 0
    try {
      const wait = await this.#writer.write(reference, users, keepSeconds, signal)
      if (wait !== undefined) this.#queue.addAfter(reference, wait)
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error
      this.#queue.addRateLimited(reference)
    }
  }
}

/** The longest unused first, and last what is used. */
function byLastUse(a: ImageState, b: ImageState): number {
  const [one, other] = [a, b].map(({ usage }) => Date.parse(usage?.lastSeen ?? ''))
  return (one || Number.MAX_VALUE) - (other || Number.MAX_VALUE)
}

/** Waits for all; false when the signal aborts first. */
async function settled(promises: readonly Promise<void>[], signal: AbortSignal): Promise<boolean> {
  await Promise.race([Promise.all(promises), untilAborted(signal)])
  return !signal.aborted
}
