import { podKind, revisionKind, type WorkloadKind } from '../images/templates.ts'
import { builtInMessages } from '../kube/protobuf-schemas.ts'
import { Reflector } from '../kube/reflector.ts'
import { type CompactUid, uidText } from '../kube/uid.ts'
import { InvalidReferences } from './invalid-references.ts'
import type { Inventory } from './inventory.ts'
import type { DiscoveryOptions } from './options.ts'
import { createPodReader, type PodUse, unpulledImages } from './pod.ts'
import { ownerKeyOf, parseOwnerKey, type Reader, readMetadata, type Used } from './reader.ts'
import { Revisions } from './revisions.ts'

const messages = builtInMessages(readMetadata)

export interface WatchesOptions {
  readonly discovery: DiscoveryOptions
  readonly kinds: readonly WorkloadKind[]
  readonly read: Reader
  /** What is read goes there. */
  readonly inventory: Inventory
}

/** The watches of one run: pods and workloads, whose images go to the inventory. */
export class Watches {
  readonly #options: DiscoveryOptions
  readonly #inventory: Inventory
  readonly #revisions: Revisions
  readonly #invalid: InvalidReferences
  readonly #unsynced = new Set<string>()
  readonly #inUse: { set(value: number): void }
  readonly #pods: Reflector<PodUse>
  readonly #all: readonly Pick<Reflector<unknown>, 'run' | 'synced'>[]

  constructor({ discovery, kinds, read, inventory }: WatchesOptions) {
    const { settings, log, metrics, events } = discovery
    this.#options = discovery
    this.#inventory = inventory
    this.#revisions = new Revisions(settings.discovery.rollbackRevisions, inventory)
    this.#invalid = new InvalidReferences({ log, metrics, events })
    this.#inUse = metrics.gauge(
      'kip_discovery_images',
      'Images that stand in pods or workloads, those of excluded namespaces too.',
    )
    this.#pods = this.#reflectPods(read)
    const workloads = [...kinds, revisionKind].map((kind) => this.#reflectWorkloads(kind, read))
    this.#all = [this.#pods, ...workloads]
  }

  /** One for each kind: resolves when all of it was read once. */
  get synced(): readonly Promise<void>[] {
    return this.#all.map(({ synced }) => synced)
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#all.map((reflector) => reflector.run(signal)))
  }

  /** Resources that were not read to the end yet. */
  waiting(): readonly string[] {
    return [...this.#unsynced]
  }

  /** All pods, by `namespace/name`. */
  pods(): Iterable<[string, PodUse]> {
    return this.#pods.entries()
  }

  /** Reads the pods, of which there are many, and many are alike. */
  #reflectPods(read: Reader): Reflector<PodUse> {
    const { project, ...reading } = createPodReader(read)
    return new Reflector<PodUse>({
      ...this.#reflecting(podKind),
      project: (raw) => {
        if (raw.metadata?.deletionTimestamp !== undefined) this.#options.onLeaving?.(raw)
        return project(raw)
      },
      ...reading,
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
}
