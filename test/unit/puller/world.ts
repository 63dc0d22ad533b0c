import fc from 'fast-check'
import { typeLabel } from '../../../src/puller/cramped.ts'
import { capacityOf } from '../../../src/puller/etcd-budget.ts'
import type { Plan } from '../../../src/puller/plan.ts'
import { isResident } from '../../../src/puller/shard.ts'
import type { StrategyName } from '../../../src/puller/strategies/strategies.ts'
import { Driver, pullerSettings, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const pool = Array.from({ length: 12 }, (_, index) => `r.test/i${index}:1`)
/** Wanted all the while where images are spread over two shards, so that there are enough for these. */
const base = Array.from({ length: 14 }, (_, index) => `r.test/base${index}:1`)

/** What happens to the puller of a simulated cluster. */
export type Step =
  | {
      readonly do: 'want' | 'try' | 'forget' | 'break' | 'mend' | 'move' | 'succeed'
      readonly image: number
    }
  | { readonly do: 'add' | 'remove' | 'lose' | 'find'; readonly node: number }
  | { readonly do: 'restart' | 'cut' | 'upgrade' }
  | { readonly do: 'destroy'; readonly shard: number }
  | { readonly do: 'wait'; readonly seconds: number }

const image = fc.nat({ max: pool.length - 1 })
const node = fc.nat({ max: 4 })
const wait = fc.record({ do: fc.constant('wait' as const), seconds: fc.nat({ max: 120 }) })
const wanting = fc.record({
  do: fc.constantFrom('want' as const, 'try' as const, 'forget' as const),
  image,
})
const restarting = fc.record({ do: fc.constantFrom('restart' as const, 'cut' as const) })
const failing = fc.record({ do: fc.constantFrom('break' as const, 'mend' as const), image })

/** Users and kip itself come and go, and that is all. */
export const calm: fc.Arbitrary<Step> = fc.oneof(wait, wait, wanting, wanting, restarting)
/** Also nodes, and people who delete DaemonSets. */
export const wild: fc.Arbitrary<Step> = fc.oneof(
  calm,
  failing,
  fc.record({
    do: fc.constantFrom('add' as const, 'remove' as const, 'lose' as const, 'find' as const),
    node,
  }),
  fc.record({ do: fc.constant('destroy' as const), shard: fc.nat({ max: 3 }) }),
)
/** Also new versions, tags that move, images that fail for a time, and a kip of other settings. */
export const busy: fc.Arbitrary<Step> = fc.oneof(
  calm,
  wanting,
  failing,
  fc.record({ do: fc.constantFrom('move' as const, 'succeed' as const), image }),
  fc.record({ do: fc.constant('upgrade' as const) }),
)

const sizes = {
  roomy: {},
  // All nodes take few pods.
  small: { labels: { [typeLabel]: 't.small' }, slots: '11' },
} as const

/** What a {@link World} begins with. */
export interface Beginning {
  readonly broken?: readonly string[]
  readonly strategy: StrategyName
  readonly spread: number
  readonly nodesAtOnce: number
  readonly size?: keyof typeof sizes
  readonly podsPerNode?: number
  /** Images that a shard that holds for good may have, and one of what is on its way; default: as they are. */
  readonly capacities?: readonly [number, number]
  /** Every second image runs on one architecture alone, and every third node is of the other. */
  readonly mixed?: boolean
}

export const ways: fc.Arbitrary<Pick<Beginning, 'strategy' | 'spread' | 'nodesAtOnce'>> = fc.record(
  {
    strategy: fc.constantFrom<StrategyName>('init', 'volume'),
    spread: fc.constantFrom(1, 2),
    nodesAtOnce: fc.constantFrom(1, 100),
  },
)
export const sizeOf = fc.constantFrom('roomy' as const, 'small' as const)
export const someBroken: fc.Arbitrary<string[]> = fc.subarray(pool)

/** Nodes that may have few pods of few images. */
export const narrow: fc.Arbitrary<Beginning> = fc.record({
  strategy: fc.constantFrom<StrategyName>('init', 'volume', 'sleep'),
  spread: fc.constantFrom(1, 2),
  nodesAtOnce: fc.constantFrom(1, 100),
  podsPerNode: fc.constantFrom(2, 3, 4),
  capacities: fc.constantFrom<readonly [number, number]>([3, 3], [4, 2], [6, 3], [9, 4]),
  mixed: fc.boolean(),
})

/** A simulated cluster with a puller, and all that can happen to it. */
export class World {
  readonly driver = new Driver(new SimulatedCluster([]))
  readonly broken = new Set<string>()
  readonly #size: keyof typeof sizes
  readonly #mixed: boolean
  /** Versions of what is wanted, by image. */
  readonly #versions = new Map<number, number>()
  #moves = 0
  #upgrades = 0
  #cut = false

  constructor(beginning: Beginning) {
    const { broken = [], strategy, spread, nodesAtOnce, size = 'roomy' } = beginning
    const { podsPerNode = pullerSettings.podsPerNode, capacities, mixed = false } = beginning
    const { driver } = this
    this.#size = size
    this.#mixed = mixed
    for (const name of ['n0', 'n1', 'n2']) this.addNode(name)
    driver.strategy = strategy
    driver.spread = spread
    driver.settings = { ...pullerSettings, nodesAtOnce, podsPerNode }
    if (capacities !== undefined) {
      const [holding, fresh] = capacities
      driver.capacityOf = (kind) =>
        isResident(kind) ? holding : kind === 'apart' ? 4 * fresh : fresh
    } else driver.capacityOf = capacityOf
    if (spread > 1 && capacities === undefined) driver.wanted = want(...base)
    for (const reference of broken) this.broken.add(reference)
    driver.cluster.behave = (reference) => (this.broken.has(reference) ? 'missing' : 'good')
    driver.cluster.pullTicks = (reference) => (/5:\d+$/.test(reference) ? 30 : 1)
    driver.allow = () => {
      // The n-th write of a round is lost and the process with it.
      const lost = this.#cut
      this.#cut = false
      return !lost
    }
  }

  addNode(name: string): void {
    const isOther = this.#mixed && Number(name.slice(1)) % 3 === 2
    this.driver.cluster.addNode(name, isOther ? 'arm64' : 'amd64', sizes[this.#size])
  }

  take(step: Step, each: (plan: Plan) => void): void {
    const { driver } = this
    const { cluster } = driver
    switch (step.do) {
      case 'want':
      case 'try':
        this.#want(step.image, step.do === 'try')
        break
      case 'forget':
        this.#forget(step.image)
        break
      case 'succeed':
        this.#succeed(step.image)
        break
      case 'move':
        this.#move(step.image)
        break
      case 'break':
        this.broken.add(this.#reference(step.image))
        break
      case 'mend':
        this.broken.delete(this.#reference(step.image))
        break
      case 'add':
        if (!cluster.nodes.has(`n${step.node}`)) this.addNode(`n${step.node}`)
        break
      case 'remove':
        cluster.removeNode(`n${step.node}`)
        break
      case 'lose':
      case 'find': {
        const found = cluster.nodes.get(`n${step.node}`)
        if (found !== undefined) found.lost = step.do === 'lose'
        break
      }
      case 'restart':
        driver.restart()
        break
      case 'cut':
        this.#cut = true
        break
      case 'upgrade':
        this.#upgrade()
        break
      case 'destroy': {
        const name = [...cluster.daemonSets.keys()][step.shard]
        if (name !== undefined) cluster.delete(name)
        break
      }
      case 'wait':
        driver.run(step.seconds, each)
    }
  }

  #reference(image: number): string {
    return (pool[image] ?? '').replace(/1$/, String(this.#versions.get(image) ?? 1))
  }

  #want(image: number, bestEffort: boolean): void {
    const { driver } = this
    const reference = this.#reference(image)
    const digest = driver.cluster.registry.get(reference)
    const item = { reference, bestEffort, ...(digest === undefined ? {} : { digest }) }
    driver.wanted = new Map([...driver.wanted, [reference, item]])
    if (this.#mixed && image % 2 === 1) {
      driver.platforms.set(reference, [image % 4 === 1 ? 'linux/amd64' : 'linux/arm64'])
    }
  }

  #forget(image: number): void {
    const wanted = new Map(this.driver.wanted)
    wanted.delete(this.#reference(image))
    this.driver.wanted = wanted
  }

  /** What is wanted is wanted in the next version instead. */
  #succeed(image: number): void {
    const known = this.driver.wanted.get(this.#reference(image))
    if (known === undefined) return
    this.#forget(image)
    this.#versions.set(image, (this.#versions.get(image) ?? 1) + 1)
    this.#want(image, known.bestEffort)
  }

  /** A tag is something else at its registry from now on. */
  #move(image: number): void {
    const reference = this.#reference(image)
    this.#moves += 1
    this.driver.cluster.registry.set(reference, `sha256:${this.#moves}`)
    const known = this.driver.wanted.get(reference)
    if (known !== undefined) this.#want(image, known.bestEffort)
  }

  /** Every template changes. */
  #upgrade(): void {
    const { driver } = this
    this.#upgrades += 1
    driver.restart()
    driver.settings = { ...driver.settings, sleepImage: `kip.test/sleep@sha256:${this.#upgrades}` }
  }
}
