import { type HeldCredential, repositoryOf } from './credentials.ts'
import { heldFactor } from './worth.ts'

/** One image that needs credentials, and those of its users that may be tried now. */
export interface PrivateImage {
  readonly reference: string
  /** How many pods use it: what is used most goes first. */
  readonly uses: number
  readonly credentials: readonly HeldCredential[]
}

export interface PrivateMember {
  readonly reference: string
  readonly credential: HeldCredential
}

/** What a shard holds: by reference, the id of the credential that its pods pull it with, '' where that is not known. */
export type HeldPairs = ReadonlyMap<string, string>

export interface PrivateBounds {
  /** Most shards. */
  readonly layers: number
  /** Most images of a shard. */
  readonly capacity: number
  /** Images that a shard may be filled up to, where that is fewer; what it holds may stay. Default: as many. */
  readonly fill?: number
  /** By the shards' numbers; default: there are none. */
  readonly held?: ReadonlyMap<number, HeldPairs>
}

export interface PrivatePlan {
  /** By the shards' numbers: with which credential each pulls its images. */
  readonly layers: ReadonlyMap<number, readonly PrivateMember[]>
  /** References of which some credential finds no place. */
  readonly waiting: ReadonlySet<string>
}

/** An image with one of its credentials. */
interface Pair extends PrivateMember {
  readonly repository: string
  /** Which of the image's credentials it is. */
  readonly turn: number
  readonly worth: number
}

/**
 * Spreads images that need credentials over shards. A pod pulls an image with one credential, and a kubelet lets in who
 * shows one with which it was pulled: so a shard holds an image once, and an image with two credentials stands in two
 * shards. Of one repository a shard has one credential, since a docker configuration names repositories, not tags.
 *
 * What shards hold stays where it is. Then every image gets its first credential a place, then those that have a second
 * one get that, and so on; where there is none, what is used twice as much as all that is in its way takes theirs. Pure.
 */
export function planPrivate(images: Iterable<PrivateImage>, bounds: PrivateBounds): PrivatePlan {
  const { held = new Map<number, HeldPairs>(), layers: most } = bounds
  const indexes = [...held.keys()].sort((a, b) => a - b)
  const layers = indexes.slice(0, most).map((index) => new Layer(index, bounds))
  const pairs = pairsOf(images, (reference, { id }) =>
    layers.some((layer) => layer.held.get(reference) === id),
  )
  const stays = [
    (layer: Layer, pair: Pair): boolean => layer.holds(pair),
    // Its credential changed.
    (layer: Layer, { reference }: Pair): boolean => layer.held.has(reference),
  ]
  let waiting = pairs
  for (const stay of stays) {
    waiting = waiting.filter((pair) => {
      const layer = layers.find((one) => stay(one, pair) && one.canKeep(pair))
      layer?.add(pair)
      return layer === undefined
    })
  }
  const left: Pair[] = []
  const newcomers = [...waiting]
  for (let pair = newcomers.shift(); pair !== undefined; pair = newcomers.shift()) {
    const newcomer = pair
    let layer = layers.find((one) => one.canTake(newcomer))
    if (layer === undefined && layers.length < most) {
      layer = new Layer(firstFree([...indexes, ...layers.map(({ index }) => index)]), bounds)
      layers.push(layer)
    }
    if (layer === undefined) {
      layer = layers.find((one) => one.isWorthIt(newcomer))
      newcomers.push(...(layer?.makeRoom(newcomer) ?? []))
    }
    if (layer === undefined) left.push(newcomer)
    else layer.add(newcomer)
  }
  return {
    layers: new Map(layers.map(({ index, members }) => [index, members])),
    waiting: new Set(left.map(({ reference }) => reference)),
  }
}

/** In the order in which they get their places. */
function pairsOf(
  images: Iterable<PrivateImage>,
  isHeld: (reference: string, credential: HeldCredential) => boolean,
): readonly Pair[] {
  return [...images]
    .flatMap(({ reference, uses, credentials }) => {
      const repository = repositoryOf(reference)
      // One that is held is as good a first one as any.
      const held = credentials.filter((credential) => isHeld(reference, credential))
      const others = credentials.filter((credential) => !held.includes(credential))
      return [...held, ...others].map(
        (credential, turn): Pair => ({ reference, credential, repository, turn, worth: uses + 1 }),
      )
    })
    .sort((a, b) => a.turn - b.turn || b.worth - a.worth || (a.reference < b.reference ? -1 : 1))
}

/** One shard, while it is filled. */
class Layer {
  readonly index: number
  readonly held: HeldPairs
  readonly #pairs = new Map<string, Pair>()
  readonly #capacity: number
  readonly #fill: number

  constructor(index: number, { capacity, fill = capacity, held }: PrivateBounds) {
    this.index = index
    this.held = held?.get(index) ?? new Map()
    this.#capacity = capacity
    this.#fill = Math.min(fill, capacity)
  }

  get members(): readonly PrivateMember[] {
    return [...this.#pairs.values()]
      .map(({ reference, credential }) => ({ reference, credential }))
      .sort((a, b) => (a.reference < b.reference ? -1 : 1))
  }

  holds({ reference, credential }: Pair): boolean {
    return this.held.get(reference) === credential.id
  }

  canKeep(pair: Pair): boolean {
    return this.#pairs.size < this.#capacity && !this.#isBarred(pair)
  }

  canTake(pair: Pair): boolean {
    return this.#pairs.size < this.#fill && !this.#isBarred(pair)
  }

  /** Whether a pair is used so much more than all that is in its way: at the edge they must not change places for a pod. */
  isWorthIt(pair: Pair): boolean {
    if (this.#pairs.has(pair.reference)) return false
    const costs = this.#rivals(pair).map((rival) =>
      rival.turn === pair.turn
        ? heldFactor * rival.worth
        : rival.turn < pair.turn
          ? Number.POSITIVE_INFINITY
          : 0,
    )
    return costs.reduce((sum, cost) => sum + cost, 0) < pair.worth
  }

  /** Lets go of what is in a pair's way, and gives it. */
  makeRoom(pair: Pair): readonly Pair[] {
    const rivals = this.#rivals(pair)
    for (const { reference } of rivals) this.#pairs.delete(reference)
    return rivals
  }

  add(pair: Pair): void {
    this.#pairs.set(pair.reference, pair)
  }

  #isBarred(pair: Pair): boolean {
    return this.#pairs.has(pair.reference) || this.#others(pair).length > 0
  }

  /** Images of the same repository with another credential; where there are none, what is worth least. */
  #rivals(pair: Pair): readonly Pair[] {
    const others = this.#others(pair)
    if (others.length > 0 || this.#pairs.size < this.#fill) return others
    const [least] = [...this.#pairs.values()].sort((a, b) => b.turn - a.turn || a.worth - b.worth)
    return least === undefined ? [] : [least]
  }

  #others({ repository, credential }: Pair): readonly Pair[] {
    return [...this.#pairs.values()].filter(
      (one) => one.repository === repository && one.credential.id !== credential.id,
    )
  }
}

function firstFree(taken: readonly number[]): number {
  let index = 1
  while (taken.includes(index)) index += 1
  return index
}
