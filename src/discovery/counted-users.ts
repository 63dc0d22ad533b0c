import type { EventRecorder } from '../kube/events.ts'
import type { Log } from '../kube/log.ts'
import type { ImageStore } from '../state/store.ts'
import type { Inventory, Users } from './inventory.ts'
import { type Content, NamespaceLimit, type NamespaceLimits } from './namespace-limit.ts'

export interface CountedUsersOptions {
  readonly inventory: Pick<Inventory, 'usersOf'>
  readonly store: Pick<ImageStore, 'get'>
  readonly excluded: (namespace: string) => boolean
  readonly limits: NamespaceLimits
  readonly log: Log
  /** Absent: what exceeds a limit is told in the log alone. */
  readonly events?: EventRecorder | undefined
}

export interface Counted {
  readonly users: Users
  /** Whether any user is beyond the limit of its namespace, or the last one was and its return is not waited for. */
  readonly turnedAway: boolean
  /** Other images that may have found or lost their places by this; each is told once. */
  readonly moved: readonly string[]
}

const nobody: ReadonlySet<string> = new Set()

/** Counts users within the limits of their namespaces, and names each namespace that goes over its limit. */
export class CountedUsers {
  readonly #options: CountedUsersOptions
  readonly #limit: NamespaceLimit
  /** Of images that were turned away, and whose objects, which knew it, are gone. */
  readonly #remembered = new Map<string, Content>()
  /** Namespaces that were named. */
  readonly #exceeding = new Set<string>()

  constructor(options: CountedUsersOptions) {
    this.#options = options
    this.#limit = new NamespaceLimit(options.limits, (reference) => this.#contentOf(reference))
  }

  of(reference: string): Counted {
    const { inventory, excluded } = this.#options
    const asked = new Set<string>()
    let turnedAway = false
    const users = inventory.usersOf(reference, (namespace) => {
      if (excluded(namespace)) return false
      asked.add(namespace)
      const taken = this.#limit.take(namespace, reference)
      turnedAway ||= !taken
      return taken
    })
    const last = asked.size > 0 ? nobody : this.#lastUsers(reference)
    const keeping = new Set([...last].filter((each) => this.#limit.keep(each, reference)))
    turnedAway ||= last.size > 0 && keeping.size === 0
    this.#limit.keepOnly(reference, asked.union(keeping))
    const content = turnedAway ? this.#contentOf(reference) : undefined
    if (content === undefined) this.#remembered.delete(reference)
    else this.#remembered.set(reference, content)
    const moved = this.#limit.drain().filter((other) => other !== reference)
    // Those that were named may have lost their last user, and then nobody asks for them.
    for (const namespace of asked.union(this.#exceeding)) this.#tell(namespace)
    return { users, turnedAway, moved }
  }

  /** Whether an image is larger than the average that a namespace has room for. */
  isLarge(reference: string): boolean {
    const { store, limits } = this.#options
    return (store.get(reference)?.source?.sizeBytes ?? 0) > limits.bytes / limits.images
  }

  /**
   * Namespaces whose limits count an image that nobody uses any more: those that held it or, when another leader saw its last
   * users, those of the owners that it wrote down.
   */
  #lastUsers(reference: string): ReadonlySet<string> {
    const { usage } = this.#options.store.get(reference) ?? {}
    if (usage?.wanted.includes('InUse') !== true) return nobody
    const holders = this.#limit.holders(reference)
    return holders.size > 0 ? holders : new Set(usage.owners.map(({ namespace }) => namespace))
  }

  #contentOf(reference: string): Content | undefined {
    const { digest, sizeBytes } = this.#options.store.get(reference)?.source ?? {}
    if (digest === undefined || sizeBytes === undefined) return this.#remembered.get(reference)
    return { digest, bytes: sizeBytes }
  }

  /** Once, until the namespace is within its limit again. */
  #tell(namespace: string): void {
    const { log, events, limits } = this.#options
    const [image] = this.#limit.exceeding(namespace)
    if (image === undefined) {
      this.#exceeding.delete(namespace)
      return
    }
    if (this.#exceeding.has(namespace)) return
    this.#exceeding.add(namespace)
    const { images, bytes } = limits
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
