import type { PullerSettings } from '../config/settings.ts'
import type { ImageState } from '../state/cached-image.ts'
import type { ObservedShard } from './daemon-set.ts'
import { everywhere, isLinux } from './ground.ts'
import { admitsPlacing } from './node-fit.ts'
import type { NodeView } from './node-view.ts'
import { type Placing, placingOf } from './placing.ts'
import { isResident } from './shard.ts'
import { type DemandsOf, type Goal, whereRules } from './where-rules.ts'

/**
 * Placings at a time, each with shards of its own: as many as a cluster has pools of nodes, and few enough for people to
 * read.
 */
const mostPlacings = 16

export interface WhereaboutsOptions {
  readonly settings: PullerSettings
  /** Absent: nobody can tell. */
  readonly demandsOf: DemandsOf | undefined
  /** How long an image stays where fewer nodes would do, in milliseconds. */
  readonly narrowMs: number
}

/** Where an image is to be, or why nowhere: no node will do, its users are not known yet, or there are too many placings. */
export type Choice = Placing | 'nowhere' | 'unknown' | 'crowded'

/**
 * Chooses the placing of each image, from round to round: more nodes at once, fewer late, and none that comes to the same
 * nodes as one that is there. So users that come and go move nothing to and fro.
 */
export class Whereabouts {
  readonly #options: WhereaboutsOptions
  readonly #all: Placing
  readonly #goalOf: (reference: string, image: ImageState | undefined) => Goal
  /** Since when fewer nodes would do, by image; of this round and of the one before. */
  #wideSince = new Map<string, number>()
  #wideBefore: ReadonlyMap<string, number> = new Map()
  #nodes: readonly NodeView[] | undefined
  #now = 0
  #wakeAt = Number.POSITIVE_INFINITY
  /** Placings of shards by the references that these hold, of what holds for good first. */
  #standing: ReadonlyMap<string, readonly Placing[]> = new Map()
  #placings = new Map<string, Placing>()
  readonly #nodesOf = new Map<string, string>()

  constructor(options: WhereaboutsOptions) {
    this.#options = options
    this.#all = everywhere(options.settings)
    this.#goalOf = whereRules(options.settings, options.demandsOf)
  }

  /** Those of the shards that are there, and those chosen in this round; all nodes are none. */
  get placings(): ReadonlyMap<string, Placing> {
    return this.#placings
  }

  /** When time alone changes a choice, of a clock that never jumps. */
  get wakeAt(): number {
    return this.#wakeAt
  }

  /**
   * Begins a round.
   *
   * @param nodes undefined: kip may not read nodes
   * @param now milliseconds of a clock that never jumps
   */
  begin(
    nodes: readonly NodeView[] | undefined,
    shards: readonly ObservedShard[],
    now: number,
  ): void {
    this.#nodes = nodes?.filter(isLinux)
    this.#now = now
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#wideBefore = this.#wideSince
    this.#wideSince = new Map()
    this.#nodesOf.clear()
    this.#placings = new Map()
    const standing = new Map<string, Placing[]>()
    const residentsFirst = shards
      .filter(({ kind, deleting }) => kind !== 'private' && !deleting)
      .toSorted((a, b) => Number(isResident(b.kind)) - Number(isResident(a.kind)))
    for (const { placing = this.#all, members } of residentsFirst) {
      if (placing !== this.#all) this.#placings.set(placing.id, placing)
      for (const { reference } of members) {
        const known = standing.get(reference)
        if (known === undefined) standing.set(reference, [placing])
        else known.push(placing)
      }
    }
    this.#standing = standing
  }

  /** @param names those under which nodes are to hold the image */
  choose(reference: string, image: ImageState | undefined, names: readonly string[]): Choice {
    const goal = this.#goalOf(reference, image)
    const standing = names.flatMap((name) => this.#standing.get(name) ?? [])
    const [first] = standing
    if (goal === 'unknown') return first ?? 'unknown'
    if (goal === 'unused') return first ?? this.#all
    if (this.#nodes === undefined) return first ?? this.#all
    const there = standing.find((placing) => this.#covers(placing, goal, 'exactly')) ?? first
    if (there === undefined) return this.#enter(goal)
    if (this.#covers(there, goal, 'exactly')) return there
    if (!this.#covers(there, goal)) {
      // What it has is not taken away on the way to where it comes besides.
      const wider = this.#covers(goal, there) ? goal : placingOf([there, goal])
      const choice = this.#enter(wider)
      return choice === 'crowded' ? there : choice
    }
    const since = this.#wideBefore.get(reference) ?? this.#now
    const at = since + this.#options.narrowMs
    this.#wideSince.set(reference, since)
    if (this.#now >= at) return this.#enter(goal)
    this.#wakeAt = Math.min(this.#wakeAt, at)
    return there
  }

  /** A placing that comes to the same nodes and is there already, or that one. */
  #enter(goal: Placing): Choice {
    if (goal.id === '') return goal
    if (!this.#nodesFor(goal).includes('1')) return 'nowhere'
    const known = [this.#all, ...this.#placings.values()].find((one) =>
      this.#covers(one, goal, 'exactly'),
    )
    if (known !== undefined) return known
    if (this.#placings.size >= mostPlacings) return 'crowded'
    this.#placings.set(goal.id, goal)
    return goal
  }

  /** Whether a placing means all nodes that another one means; `exactly`: and no others. */
  #covers(placing: Placing, other: Placing, how?: 'exactly'): boolean {
    if (placing.id === other.id) return true
    const own = this.#nodesFor(placing)
    const its = this.#nodesFor(other)
    if (how === 'exactly') return own === its
    return [...its].every((bit, index) => bit === '0' || own[index] === '1')
  }

  /** A digit for each node. */
  #nodesFor(placing: Placing): string {
    const known = this.#nodesOf.get(placing.id)
    if (known !== undefined) return known
    const { settings } = this.#options
    const digits = (this.#nodes ?? [])
      .map((node) => (admitsPlacing(node, settings, placing) ? '1' : '0'))
      .join('')
    this.#nodesOf.set(placing.id, digits)
    return digits
  }
}
