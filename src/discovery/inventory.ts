import type { Demand } from '../images/demand.ts'
import type { Owner } from '../state/cached-image.ts'
import { isWatchedKind, parseOwnerKey, type Used } from './reader.ts'

/** Owners that a summary names. */
const namedOwners = 10
/** Pod, Job, CronJob is a chain of three; more is a loop that somebody made by hand. */
const longestChain = 8

/** Who uses one image. */
export interface Users {
  readonly pods: number
  /** Workloads at the top of their chain (Deployment, not ReplicaSet), and pods that belong to none. */
  readonly workloads: number
  /** In which namespaces they are. */
  readonly namespaces: readonly string[]
  /** The first ten in the order of namespace, name and kind. */
  readonly owners: readonly Owner[]
}

/** Told for each reference of which the users may have changed; `optedOut`: because some were opted out. */
export type InventoryListener = (reference: string, optedOut: boolean) => void

interface Count {
  pods: number
  templates: number
  /** Pods by what they ask of nodes, where that is read. */
  demands?: Map<Demand, number>
}

/**
 * All images in use with who uses them: a multiset, kept up object by object.
 *
 * An object adds to its references under its owner, so that ten thousand pods of one Deployment are one entry with a
 * count. Who the owner belongs to, and whether that is opted out, is looked at when a summary is asked for.
 */
export class Inventory {
  /** Workloads, by their keys. */
  readonly #objects = new Map<string, Used>()
  readonly #uses = new Map<string, Map<string, Count>>()
  /** What the pods of an owner use, besides what its template says. */
  readonly #ofPods = new Map<string, Set<string>>()
  /** Workloads that belong to an owner. */
  readonly #children = new Map<string, Set<string>>()
  readonly #onChange: InventoryListener
  #live = false

  constructor(onChange: InventoryListener) {
    this.#onChange = onChange
  }

  /** From now on changes are told; before, everything is new anyhow. */
  goLive(): void {
    this.#live = true
  }

  get size(): number {
    return this.#uses.size
  }

  references(): IterableIterator<string> {
    return this.#uses.keys()
  }

  /** A workload as it stands now. */
  set(key: string, used: Used): void {
    const before = this.#objects.get(key)
    this.#objects.set(key, used)
    if (before !== undefined && isSameUse(before, used)) return
    const optedOut = used.ignored && before?.ignored !== true
    if (before !== undefined) this.#count(key, before, -1, optedOut)
    this.#count(key, used, 1, optedOut)
    if (before !== undefined) removeFrom(this.#children, before.owner, key)
    if (used.owner !== '') addTo(this.#children, used.owner, key)
    const sameChain = before?.owner === used.owner && before.ignored === used.ignored
    if (!sameChain) this.#tellBelow(key, optedOut)
  }

  /** A workload is gone. */
  delete(key: string): void {
    const before = this.#objects.get(key)
    if (before === undefined) return
    this.#objects.delete(key)
    this.#count(key, before, -1, false)
    removeFrom(this.#children, before.owner, key)
    this.#tellBelow(key, false)
  }

  /**
   * A pod has come, changed or gone. What it used before is to be given back as it was given: of pods, which are many, nothing
   * is kept here but the count.
   *
   * @param name `namespace/name`
   */
  changePod(name: string, used: Used | undefined, before: Used | undefined): void {
    if (used !== undefined && before !== undefined && isSameUse(before, used)) return
    const optedOut = used?.ignored === true && before?.ignored !== true
    if (before !== undefined) this.#count(podKeyOf(name, before), before, -1, optedOut, true)
    if (used !== undefined) this.#count(podKeyOf(name, used), used, 1, optedOut, true)
  }

  /** Tells all references that are used in a namespace: whether it counts has changed. */
  touchNamespace(namespace: string, optedOut: boolean): void {
    for (const [reference, uses] of this.#uses) {
      for (const key of uses.keys()) {
        if (parseOwnerKey(key).namespace !== namespace) continue
        this.#onChange(reference, optedOut)
        break
      }
    }
  }

  /**
   * Who uses an image, opted-out workloads and their pods left out.
   *
   * A pod of a workload that is not known does not count yet: the workload's flag may be on the way.
   *
   * @param counts whether users of a namespace count; asked once a namespace
   */
  usersOf(reference: string, counts: (namespace: string) => boolean): Users {
    const tops = new Set<string>()
    const namespaces = new Map<string, boolean>()
    let pods = 0
    for (const [key, count] of this.#uses.get(reference) ?? []) {
      const top = this.#topOf(key)
      if (top === undefined) continue
      const { namespace } = parseOwnerKey(key)
      let counted = namespaces.get(namespace)
      if (counted === undefined) {
        counted = counts(namespace)
        namespaces.set(namespace, counted)
      }
      if (!counted) continue
      tops.add(top)
      pods += count.pods
    }
    return {
      pods,
      workloads: tops.size,
      namespaces: [...namespaces].flatMap(([name, counted]) => (counted ? [name] : [])),
      owners: firstOwners(tops),
    }
  }

  /**
   * On which nodes the users of an image may run, each demand once. What pods ask counts before what their workload's
   * template does, since admission may have changed it; but pods of DaemonSets ask for their own node each.
   *
   * @param counts whether users of a namespace count
   */
  demandsOf(reference: string, counts: (namespace: string) => boolean): readonly Demand[] {
    const byTop = new Map<string, { readonly pods: Demand[]; readonly templates: Demand[] }>()
    for (const [key, { demands, templates }] of this.#uses.get(reference) ?? []) {
      const top = this.#topOf(key)
      const { kind, namespace } = parseOwnerKey(key)
      if (top === undefined || !counts(namespace)) continue
      const known = byTop.get(top) ?? { pods: [], templates: [] }
      byTop.set(top, known)
      if (demands !== undefined && kind !== 'DaemonSet') known.pods.push(...demands.keys())
      const own = templates === 0 ? undefined : this.#objects.get(key)?.demand
      if (own !== undefined) known.templates.push(own)
    }
    const found = [...byTop.values()].map(({ pods, templates }) =>
      pods.length === 0 ? templates : pods,
    )
    return [...new Set(found.flat())]
  }

  /**
   * Workloads that use an image, as keys of the top of their chain.
   *
   * @param counts whether users of a namespace count
   */
  topsOf(reference: string, counts: (namespace: string) => boolean): ReadonlySet<string> {
    const tops = new Set<string>()
    for (const key of this.#uses.get(reference)?.keys() ?? []) {
      const top = counts(parseOwnerKey(key).namespace) ? this.#topOf(key) : undefined
      if (top !== undefined) tops.add(top)
    }
    return tops
  }

  /**
   * The workload that a pod belongs to, as the key of the top of its chain.
   *
   * @param name `namespace/name`
   */
  topOfPod(name: string, used: Used): string | undefined {
    return this.#topOf(podKeyOf(name, used))
  }

  /** @param user key of the workload, or of whom a pod counts for */
  #count(user: string, used: Used, sign: 1 | -1, optedOut: boolean, pod = false): void {
    if (used.ignored) return
    for (const reference of used.references) {
      const uses = this.#uses.get(reference) ?? new Map<string, Count>()
      this.#uses.set(reference, uses)
      const count = uses.get(user) ?? { pods: 0, templates: 0 }
      uses.set(user, count)
      if (pod) {
        count.pods += sign
        if (used.demand !== undefined) countDemand(count, used.demand, sign)
      } else count.templates += sign
      if (pod && used.owner !== '') {
        if (count.pods === 0) removeFrom(this.#ofPods, user, reference)
        else if (sign === 1 && count.pods === 1) addTo(this.#ofPods, user, reference)
      }
      if (count.pods === 0 && count.templates === 0) uses.delete(user)
      if (uses.size === 0) this.#uses.delete(reference)
      if (this.#live) this.#onChange(reference, optedOut)
    }
  }

  /** Tells all references that are used below an owner: whether they count hangs on it. */
  #tellBelow(owner: string, optedOut: boolean, depth = 1): void {
    if (!this.#live || depth > longestChain) return
    for (const reference of this.#ofPods.get(owner) ?? []) this.#onChange(reference, optedOut)
    for (const child of this.#children.get(owner) ?? []) {
      for (const reference of this.#objects.get(child)?.references ?? []) {
        this.#onChange(reference, optedOut)
      }
      this.#tellBelow(child, optedOut, depth + 1)
    }
  }

  /** The owner at the top of a chain; undefined when the chain is opted out or has a gap. */
  #topOf(key: string): string | undefined {
    const chain = this.#chain(key)
    for (const link of chain) {
      const object = this.#objects.get(link)
      if (object?.ignored === true) return undefined
      if (object === undefined && isWatchedKind(parseOwnerKey(link).kind)) return undefined
    }
    return chain.at(-1)
  }

  /** An owner, its owner, and so on. */
  #chain(key: string): readonly string[] {
    const chain = [key]
    for (let link = this.#objects.get(key)?.owner; link; link = this.#objects.get(link)?.owner) {
      if (chain.length === longestChain) break
      chain.push(link)
    }
    return chain
  }
}

function isSameUse(a: Used, b: Used): boolean {
  return (
    a.references === b.references &&
    a.owner === b.owner &&
    a.ignored === b.ignored &&
    a.demand === b.demand
  )
}

function countDemand(count: Count, demand: Demand, sign: 1 | -1): void {
  count.demands ??= new Map()
  const pods = (count.demands.get(demand) ?? 0) + sign
  if (pods === 0) count.demands.delete(demand)
  else count.demands.set(demand, pods)
  if (count.demands.size === 0) delete count.demands
}

/** Whom a pod counts for: its owner, or itself. */
function podKeyOf(name: string, { owner }: Used): string {
  return owner === '' ? `Pod ${name}` : owner
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key)
  if (set === undefined) sets.set(key, new Set([value]))
  else set.add(value)
}

function removeFrom(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key)
  set?.delete(value)
  if (set?.size === 0) sets.delete(key)
}

/** The first owners in order, without sorting all: there may be thousands of bare pods. */
function firstOwners(keys: Iterable<string>): readonly Owner[] {
  const first: Owner[] = []
  for (const key of keys) {
    const owner = parseOwnerKey(key)
    let at = first.length
    while (at > 0 && compareOwners(owner, first[at - 1] ?? owner) < 0) at--
    if (at === namedOwners) continue
    first.splice(at, 0, owner)
    if (first.length > namedOwners) first.pop()
  }
  return first
}

function compareOwners(a: Owner, b: Owner): number {
  return compare(a.namespace, b.namespace) || compare(a.name, b.name) || compare(a.kind, b.kind)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
