import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Demand, demandOf } from '../../../src/images/demand.ts'
import { admitsPlacing } from '../../../src/puller/node-fit.ts'
import { formatPlacing, parsePlacing, placingOf } from '../../../src/puller/placing.ts'
import { Driver, pullerSettings, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const pool = (name: string): Demand => demandOf({ nodeSelector: { pool: name } })
const anywhere = demandOf({})
const gpu = demandOf({
  nodeSelector: { pool: 'gpu' },
  tolerations: [{ key: 'gpu', operator: 'Exists' }],
})

/** Two nodes of pools a and b each, and one for those alone that bear its taint. */
function start(podsPerNode = 4): Driver {
  const cluster = new SimulatedCluster([])
  for (const name of ['a1', 'a2', 'b1', 'b2']) {
    cluster.addNode(name, 'amd64', { labels: { pool: name.slice(0, 1) } })
  }
  cluster.addNode('gpu', 'amd64', { labels: { pool: 'gpu' }, taint: 'gpu' })
  const driver = new Driver(cluster)
  driver.settings = { ...pullerSettings, where: 'used', podsPerNode }
  return driver
}

const holders = (driver: Driver, reference: string): string =>
  [...driver.cluster.nodes.keys()].filter((node) => driver.cluster.isHeld(node, reference)).join()

/** Nodes where users of an image may run. */
const meant = (driver: Driver, demands: readonly Demand[]): readonly string[] =>
  [...driver.cluster.nodes.values()]
    .map(({ view }) => view)
    .filter((view) => admitsPlacing(view, pullerSettings, placingOf(demands)))
    .map(({ name }) => name)

const [one, two, three] = ['r.test/one:1', 'r.test/two:1', 'r.test/three:1'] as const

describe('images that are held where they are used', () => {
  it('are on the nodes of their users alone, tainted ones too', () => {
    const driver = start()
    driver.wanted = want(one, two, three)
    driver.demands.set(one, [pool('a')]).set(two, [gpu])
    driver.settle()
    assert.equal(holders(driver, one), 'a1,a2')
    assert.equal(holders(driver, two), 'gpu')
    assert.equal(holders(driver, three), 'a1,a2,b1,b2')
    const names = [placingOf([pool('a')]), placingOf([gpu])].map(({ id }) => `kip-${id}`)
    assert.deepEqual([...driver.cluster.daemonSets.keys()].sort(), ['kip', ...names.sort()])
    const { seen } = driver.round()
    assert.equal(seen.desired(one), 2)
    assert.equal(seen.desired(two), 1)
    const writes = driver.cluster.writes.length
    driver.restart()
    driver.run(300)
    assert.equal(driver.cluster.writes.length, writes, 'a restart changes nothing')
  })

  it('are everywhere when their users ask for nodes at too great length', () => {
    const names = Array.from({ length: 2000 }, (_, node) => `no-such-node-${node}`)
    const not = { key: 'kubernetes.io/hostname', operator: 'NotIn', values: names }
    const long = demandOf({
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [not] }],
          },
        },
      },
      tolerations: names.map((key) => ({ key })),
    })
    const driver = start()
    driver.wanted = want(one, two)
    driver.demands.set(one, [long]).set(two, [pool('a')])
    driver.settle()
    assert.equal(holders(driver, one), 'a1,a2,b1,b2,gpu')
    assert.equal(holders(driver, two), 'a1,a2')
    const many = names.map((name) => {
      const selector = { nodeSelector: { pool: `${name}-${'x'.repeat(250)}` } }
      return demandOf({ ...selector, tolerations: [{ key: name }] })
    })
    for (const demands of [many.slice(0, 8), many]) {
      const text = formatPlacing(placingOf(demands))
      assert.ok(text.length < 5000, `${text.length} characters in every pod`)
    }
  })

  it('are found again by what is noted, however long the settings make it', () => {
    const required = { key: 'pool', operator: 'In', values: ['a'.repeat(1500)] }
    const almost = demandOf({ nodeSelector: { pool: 'b'.repeat(1500) } })
    const placing = placingOf([almost], [required])
    assert.equal(placing.terms[0]?.length, 2)
    assert.deepEqual(parsePlacing(placing.id, formatPlacing(placing)), placing)
  })

  it('count on no more nodes while another mutator changes them', () => {
    const driver = start()
    driver.wanted = want(one, two, three)
    driver.demands.set(one, [pool('a')]).set(two, [pool('a')])
    driver.altered = new Set([one])
    driver.settle()
    assert.equal(holders(driver, one), '')
    assert.equal(holders(driver, two), 'a1,a2')
    assert.equal(driver.round().seen.desired(one), 2)
  })

  it('come to more nodes at once and leave some late, and no node is without meanwhile', () => {
    const driver = start()
    driver.wanted = want(one, three)
    driver.demands.set(one, [pool('a')])
    driver.settle()
    driver.demands.set(one, [pool('b')])
    driver.run(60)
    assert.equal(holders(driver, one), 'a1,a2,b1,b2')
    driver.run(500)
    assert.equal(holders(driver, one), 'a1,a2,b1,b2')
    driver.settle()
    assert.equal(holders(driver, one), 'b1,b2')
    const kept = driver.cluster.losses.filter((loss) => !/^a\d r.test.one/.test(loss))
    assert.deepEqual(kept, [])
  })

  it('are not moved by users that come and go', () => {
    const driver = start()
    driver.wanted = want(one, three)
    driver.demands.set(one, [pool('a'), gpu])
    driver.settle()
    const writes = driver.cluster.writes.length
    for (let turn = 0; turn < 20; turn++) {
      driver.demands.set(one, turn % 2 === 0 ? [pool('a')] : [pool('a'), gpu])
      driver.run(120)
    }
    assert.equal(driver.cluster.writes.length, writes)
  })

  it('go from everywhere to where they are used when that is set, and back', () => {
    const driver = start()
    driver.settings = { ...driver.settings, where: 'everywhere' }
    driver.wanted = want(one, three)
    driver.demands.set(one, [pool('a')])
    driver.settle()
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
    driver.settings = { ...driver.settings, where: 'used' }
    driver.restart()
    driver.run(700)
    driver.settle()
    assert.equal(holders(driver, one), 'a1,a2')
    driver.settings = { ...driver.settings, where: 'everywhere' }
    driver.restart()
    driver.settle()
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
    assert.deepEqual(
      driver.cluster.losses.filter((loss) => !/^b\d r.test.one/.test(loss)),
      [],
    )
  })

  it('wait where nodes have no room for another shard, and are named', () => {
    const driver = start(2)
    driver.wanted = want(one, three)
    driver.demands.set(one, [pool('a')])
    driver.run(400)
    const plan = driver.round()
    const everywhere = holders(driver, three) === 'a1,a2,b1,b2'
    assert.ok(everywhere)
    assert.ok(plan.waiting.has(one) || holders(driver, one).startsWith('a1,a2'))
    for (const node of driver.cluster.nodes.keys()) {
      assert.ok(driver.cluster.shardsOn(node) <= 2)
    }
  })

  it('get the pod of a shard that others are spread over, where there is no other', () => {
    const driver = start(3)
    driver.spread = 2
    const others = Array.from({ length: 20 }, (_, index) => `r.test/other${index}:1`)
    driver.wanted = want(...others)
    driver.settle()
    assert.deepEqual([...driver.cluster.daemonSets.keys()].sort(), ['kip', 'kip-2'])
    driver.wanted = want(one, ...others)
    driver.demands.set(one, [pool('a')])
    driver.settle()
    assert.equal(holders(driver, one), 'a1,a2')
    for (const other of others) assert.equal(holders(driver, other), 'a1,a2,b1,b2')
    assert.deepEqual(driver.cluster.losses, [])
    for (const node of driver.cluster.nodes.keys()) {
      assert.ok(driver.cluster.shardsOn(node) <= 3)
    }
  })

  it('fill new nodes of their pool without kip, also when there was none for a while', () => {
    const driver = start()
    driver.wanted = want(one, three)
    driver.demands.set(one, [pool('a')])
    driver.settle()
    for (const name of ['a1', 'a2']) driver.cluster.removeNode(name)
    driver.run(1500)
    driver.cluster.addNode('a3', 'amd64', { labels: { pool: 'a' } })
    for (let tick = 0; tick < 20; tick++) driver.cluster.tick()
    assert.ok(driver.cluster.isHeld('a3', one))
  })

  it('never leave a node of their users, whatever these do, and keep to the pods of a node', () => {
    const pool4 = [one, two, three, 'r.test/four:1']
    const demand = fc.subarray([pool('a'), pool('b'), gpu, anywhere], {
      minLength: 1,
      maxLength: 2,
    })
    const step = fc.oneof(
      fc.record({ do: fc.constant('use' as const), image: fc.nat({ max: 3 }), demand }),
      fc.record({ do: fc.constant('wait' as const), seconds: fc.nat({ max: 200 }) }),
      fc.record({
        do: fc.constantFrom('restart' as const, 'forget' as const),
        image: fc.nat({ max: 3 }),
      }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), fc.constantFrom(3, 4, 12), (steps, pods) => {
        const driver = start(pods)
        const wanted = new Map(want(...pool4))
        driver.wanted = wanted
        let known = 0
        const wantedSince = new Map<string, number>()
        const check = (): void => {
          const { losses } = driver.cluster
          for (const loss of losses.slice(known)) {
            const [node = '', reference = ''] = loss.split(' ')
            const demands = driver.demands.get(reference) ?? [anywhere]
            // What was wanted anew when it was on its way out already may be gone for a moment.
            const since = wantedSince.get(reference) ?? 0
            const lost =
              driver.last?.waiting.has(reference) === false &&
              wanted.has(reference) &&
              driver.seconds > since + 5
            assert.ok(!lost || !meant(driver, demands).includes(node), `lost: ${loss}`)
          }
          known = losses.length
          for (const node of driver.cluster.nodes.keys()) {
            assert.ok(driver.cluster.shardsOn(node) <= pods, `pods on ${node}`)
          }
        }
        for (const one of steps) {
          if (one.do === 'restart') driver.restart()
          else if (one.do === 'wait') driver.run(one.seconds, check)
          else {
            const reference = pool4[one.image] ?? ''
            if (one.do === 'use') driver.demands.set(reference, one.demand)
            if (one.do === 'forget' && !wanted.delete(reference)) {
              wantedSince.set(reference, driver.seconds)
              wanted.set(reference, { reference, bestEffort: false })
            }
          }
        }
        driver.run(1000, check)
        driver.settle(20_000)
        const { waiting } = driver.round()
        for (const reference of wanted.keys()) {
          if (waiting.has(reference)) continue
          const nodes = meant(driver, driver.demands.get(reference) ?? [anywhere])
          const held = holders(driver, reference)
          // With no room for the shard of fewer nodes it stays on more.
          if (pods === 12) assert.equal(held, nodes.join(), reference)
          else for (const node of nodes) assert.ok(held.split(',').includes(node), reference)
        }
      }),
      { numRuns: 12 },
    )
  })
})
