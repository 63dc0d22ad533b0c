import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { typeLabel } from '../../../src/puller/cramped.ts'
import type { Plan } from '../../../src/puller/plan.ts'
import { isResident } from '../../../src/puller/shard.ts'
import type { StrategyName } from '../../../src/puller/strategies/strategies.ts'
import { Driver, pullerSettings, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const long = process.env.KIP_TEST_LONG === '1'
const pool = Array.from({ length: 12 }, (_, index) => `r.test/i${index}:1`)
/** Wanted all the while where images are spread over two shards, so that there are enough for these. */
const base = Array.from({ length: 14 }, (_, index) => `r.test/base${index}:1`)

type Step =
  | { readonly do: 'want' | 'try' | 'forget' | 'break' | 'mend'; readonly image: number }
  | { readonly do: 'add' | 'remove' | 'lose' | 'find'; readonly node: number }
  | { readonly do: 'restart' | 'cut' }
  | { readonly do: 'destroy'; readonly shard: number }
  | { readonly do: 'wait'; readonly seconds: number }

const ways = fc.constantFrom<StrategyName>('init', 'volume')
const pulls = fc.record({ spread: fc.constantFrom(1, 2), nodesAtOnce: fc.constantFrom(1, 100) })
const image = fc.nat({ max: pool.length - 1 })
const node = fc.nat({ max: 4 })
const wait = fc.record({ do: fc.constant('wait' as const), seconds: fc.nat({ max: 120 }) })
const wanting = fc.record({
  do: fc.constantFrom('want' as const, 'try' as const, 'forget' as const),
  image,
})
const restarting = fc.record({ do: fc.constantFrom('restart' as const, 'cut' as const) })
const calm: fc.Arbitrary<Step> = fc.oneof(wait, wait, wanting, wanting, restarting)
const wild: fc.Arbitrary<Step> = fc.oneof(
  calm,
  fc.record({ do: fc.constantFrom('break' as const, 'mend' as const), image }),
  fc.record({
    do: fc.constantFrom('add' as const, 'remove' as const, 'lose' as const, 'find' as const),
    node,
  }),
  fc.record({ do: fc.constant('destroy' as const), shard: fc.nat({ max: 3 }) }),
)

const sizes = {
  roomy: {},
  // All nodes take few pods.
  small: { labels: { [typeLabel]: 't.small' }, slots: '11' },
} as const

const sizeOf = fc.constantFrom('roomy' as const, 'small' as const)

class World {
  readonly driver = new Driver(new SimulatedCluster([]))
  readonly broken = new Set<string>()
  readonly #size: keyof typeof sizes
  #cut = false

  constructor(
    broken: readonly string[],
    strategy: StrategyName,
    { spread, nodesAtOnce }: { readonly spread: number; readonly nodesAtOnce: number },
    size: keyof typeof sizes = 'roomy',
  ) {
    this.#size = size
    for (const name of ['n0', 'n1', 'n2']) this.addNode(name)
    this.driver.strategy = strategy
    this.driver.spread = spread
    this.driver.settings = { ...pullerSettings, nodesAtOnce }
    if (spread > 1) this.driver.wanted = want(...base)
    for (const reference of broken) this.broken.add(reference)
    this.driver.cluster.behave = (reference) => (this.broken.has(reference) ? 'missing' : 'good')
    this.driver.cluster.pullTicks = (reference) => (reference.endsWith('5:1') ? 30 : 1)
    this.driver.allow = () => {
      // The n-th write of a round is lost and the process with it.
      const lost = this.#cut
      this.#cut = false
      return !lost
    }
  }

  addNode(name: string): void {
    this.driver.cluster.addNode(name, 'amd64', sizes[this.#size])
  }

  take(step: Step, each: (plan: Plan) => void): void {
    const { driver } = this
    const { cluster } = driver
    const reference = ('image' in step ? pool[step.image] : undefined) ?? ''
    const wanted = new Map(driver.wanted)
    switch (step.do) {
      case 'want':
        wanted.set(reference, { reference, bestEffort: false })
        driver.wanted = wanted
        break
      case 'try':
        wanted.set(reference, { reference, bestEffort: true })
        driver.wanted = wanted
        break
      case 'forget':
        wanted.delete(reference)
        driver.wanted = wanted
        break
      case 'break':
        this.broken.add(reference)
        break
      case 'mend':
        this.broken.delete(reference)
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
      case 'destroy': {
        const name = [...cluster.daemonSets.keys()][step.shard]
        if (name !== undefined) cluster.delete(name)
        break
      }
      case 'wait':
        driver.run(step.seconds, each)
    }
  }
}

describe('whatever happens', () => {
  it('no good image that is wanted is ever without a holder once a node had it', () => {
    fc.assert(
      fc.property(
        fc.subarray(pool),
        ways,
        pulls,
        sizeOf,
        fc.array(calm, { maxLength: 40 }),
        (broken, way, pull, size, steps) => {
          const world = new World(broken, way, pull, size)
          const most = size === 'small' ? 2 : pullerSettings.podsPerNode
          const { driver } = world
          let known = 0
          const each = ({ changes, seen }: Plan): void => {
            const residents = changes.filter(({ shard }) => isResident(shard.kind))
            const written = residents.filter(({ action }) => action === 'apply')
            assert.ok(written.length <= 1, 'one shard that holds for good a round')
            for (const { name } of written) {
              const rolling = seen.shards.filter(
                (shard) => isResident(shard.kind) && !seen.isRolledOut(shard),
              )
              assert.deepEqual(rolling, [], `${name} was changed`)
            }
            for (const { shard } of residents) {
              for (const { reference } of shard.members) {
                assert.ok(!world.broken.has(reference), `${reference} is bad and was to be held`)
              }
            }
            for (const node of driver.cluster.nodes.keys()) {
              const pods = driver.cluster.shardsOn(node)
              assert.ok(pods <= most, `${pods} pods on ${node}`)
            }
            const { losses } = driver.cluster
            for (const loss of losses.slice(known)) {
              const reference = loss.split(' ')[1] ?? ''
              const lost = driver.wanted.has(reference) && !world.broken.has(reference)
              assert.ok(!lost, `lost: ${loss}`)
            }
            known = losses.length
          }
          for (const step of steps) world.take(step, each)
          driver.run(300, each)
        },
      ),
      { numRuns: long ? 600 : 100 },
    )
  })

  it('it ends with every wanted image held on every node, where there is room in holding shards alone', () => {
    fc.assert(
      fc.property(
        ways,
        pulls,
        sizeOf,
        fc.array(wild, { maxLength: 40 }),
        (way, pull, size, steps) => {
          const world = new World([], way, pull, size)
          const { driver } = world
          const { cluster } = driver
          for (const step of steps) world.take(step, () => {})
          world.broken.clear()
          for (const node of cluster.nodes.values()) node.lost = false
          if (cluster.nodes.size === 0) world.addNode('n0')
          driver.settle(20_000)
          for (const reference of driver.wanted.keys()) {
            for (const node of cluster.nodes.keys()) assert.ok(cluster.isHeld(node, reference))
          }
          const named = (bestEffort: boolean): readonly string[] =>
            [...driver.wanted.values()]
              .filter((item) => item.bestEffort === bestEffort)
              .map((item) => item.reference)
              .sort()
          const held = (name: string): readonly string[] =>
            [name, `${name}-2`].flatMap((shard) => cluster.members(shard)).sort()
          // Small nodes have one holding shard, and what finds no room in it beside what is new.
          if (size === 'roomy') {
            assert.deepEqual(
              [...cluster.daemonSets.keys()].filter(
                (name) => !/^kip(-originals)?(-2)?$/.test(name),
              ),
              [],
            )
            assert.deepEqual(held('kip'), named(false))
            assert.deepEqual(held('kip-originals'), named(true))
          }
          const writes = cluster.writes.length
          driver.restart()
          driver.run(300)
          assert.equal(cluster.writes.length, writes, 'a restart changes nothing')
        },
      ),
      { numRuns: long ? 400 : 70 },
    )
  })
})
