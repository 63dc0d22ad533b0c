import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { crampedOf, isForCramped, typeLabel } from '../../../src/puller/cramped.ts'
import { projectNode } from '../../../src/puller/node-view.ts'
import { Driver, pullerSettings, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const images = (count: number, name = 'image'): readonly string[] =>
  Array.from({ length: count }, (_, index) => `r.test/${name}-${index}:1`)

const small = { labels: { [typeLabel]: 't.small' }, slots: '11' }
const large = { labels: { [typeLabel]: 'm.large' }, slots: '29' }

describe('nodes that take few pods', () => {
  it('are told by their type, which stays left out until a node of it takes more', () => {
    const node = (type: string | undefined, pods: string) =>
      projectNode({
        metadata: { labels: type === undefined ? {} : { [typeLabel]: type } },
        status: { capacity: { pods } },
      })
    const few = node('t.small', '11')
    const many = node('m.large', '29')
    assert.deepEqual(crampedOf([], []), { types: [], alone: false })
    assert.deepEqual(crampedOf([few, many], []), { types: ['t.small'], alone: false })
    assert.deepEqual(crampedOf([few, few], []), { types: ['t.small'], alone: true })
    assert.deepEqual(crampedOf([many], ['t.small']), { types: ['t.small'], alone: false })
    assert.deepEqual(crampedOf([many], ['m.large']), { types: [], alone: false })
    assert.deepEqual(crampedOf([few, node('t.small', '110')], []).types, ['t.small'])
    // Neither a node without a type nor one that has not reported is one.
    assert.deepEqual(crampedOf([node(undefined, '11'), node('new', '')], []).types, [])
  })

  it('have pods of the first shard for all nodes, and of what is new where there are no others', () => {
    const reached = (alone: boolean): readonly string[] =>
      (['holding', 'originals', 'fresh', 'apart', 'refresh', 'private'] as const).flatMap((kind) =>
        ['', 'amd64']
          .flatMap((where) => [1, 2].map((index) => ({ kind, index, where })))
          .filter((shard) => isForCramped(shard, { types: ['t.small'], alone }))
          .map(({ index, where }) => `${kind} ${index} ${where}`.trimEnd()),
      )
    assert.deepEqual(reached(false), ['holding 1'])
    const passing = ['fresh', 'apart', 'refresh'].flatMap((kind) => [`${kind} 1`, `${kind} 2`])
    assert.deepEqual(reached(true), ['holding 1', ...passing])
  })

  const start = (nodes: Readonly<Record<string, typeof small>>): Driver => {
    const cluster = new SimulatedCluster([])
    for (const [name, options] of Object.entries(nodes)) cluster.addNode(name, 'amd64', options)
    return new Driver(cluster)
  }
  /** Runs until nothing changes; gives how many puller pods the node had at most, each of one shard. */
  const crowd = (driver: Driver, node: string): number => {
    let most = 0
    driver.run(400, () => {
      most = Math.max(most, driver.cluster.shardsOn(node))
    })
    driver.settle()
    return Math.max(most, driver.cluster.shardsOn(node))
  }
  const desired = (driver: Driver, reference = ''): number | undefined =>
    driver.last?.seen.desired(reference)

  it('have one puller pod beside others, with what these have proven', () => {
    const driver = start({ n1: large, n2: large, s1: small })
    const [first = '', second = ''] = images(2)
    const copy = { reference: 'r.test/original:1', bestEffort: true }
    driver.wanted = want(first, copy)
    assert.equal(crowd(driver, 's1'), 1)
    assert.ok(driver.cluster.isHeld('s1', first))
    driver.wanted = want(first, copy, second)
    assert.equal(crowd(driver, 's1'), 1)
    assert.ok(driver.cluster.isHeld('s1', second))
    assert.deepEqual([...driver.cluster.daemonSets.keys()].sort(), ['kip', 'kip-originals'])
    assert.deepEqual([desired(driver, second), desired(driver, copy.reference)], [3, 2])
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('hold what the first shard does of what takes several', () => {
    const driver = start({ n1: large, n2: large, s1: small })
    const all = images(130)
    driver.settings = { ...pullerSettings, podsPerNode: 4 }
    driver.wanted = want(...all)
    assert.equal(crowd(driver, 's1'), 1)
    const held = (node: string): readonly string[] =>
      all.filter((reference) => driver.cluster.isHeld(node, reference))
    assert.equal(held('n1').length, 130)
    assert.deepEqual(held('s1').toSorted(), driver.cluster.members('kip'))
    for (const reference of driver.cluster.members('kip-2')) {
      assert.equal(desired(driver, reference), 2)
    }
  })

  it('have two pods where there are no others', () => {
    const driver = start({ s1: small, s2: small })
    const all = images(3)
    driver.wanted = want(...all.slice(0, 2))
    assert.ok(crowd(driver, 's1') <= 2)
    driver.wanted = want(...all)
    assert.ok(crowd(driver, 's1') <= 2)
    driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    driver.wanted = want(...all, 'r.test/bad:1')
    assert.ok(crowd(driver, 's1') <= 2)
    driver.wanted = want(...all, 'r.test/bad:1', 'r.test/last:1')
    assert.ok(crowd(driver, 's1') <= 2)
    for (const reference of [...all, 'r.test/last:1'])
      assert.ok(driver.cluster.isHeld('s2', reference), reference)
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('hold what finds no room in the first shard beside what is new, where there are no others', () => {
    const driver = start({ s1: small, s2: small })
    const all = images(130)
    driver.wanted = want(...all)
    assert.ok(crowd(driver, 's1') <= 2)
    for (const reference of all) assert.ok(driver.cluster.isHeld('s2', reference), reference)
    assert.deepEqual([...driver.cluster.daemonSets.keys()].sort(), ['kip', 'kip-fresh'])
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('pull a tag that moved, where there are no others', () => {
    const driver = start({ s1: small, s2: small })
    const at = (digest: string): void => {
      driver.cluster.registry.set('r.test/a:1', digest)
      driver.wanted = want({ reference: 'r.test/a:1', bestEffort: false, digest })
      driver.settle()
    }
    at('one')
    at('two')
    assert.deepEqual(driver.cluster.digestsOn('s1', 'r.test/a:1'), ['two'])
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
  })

  it('roll nothing when they come and go again, whoever leads then', () => {
    const driver = start({ n1: large, n2: large, s1: small })
    driver.wanted = want('r.test/a:1', { reference: 'r.test/b:1', bestEffort: true })
    driver.settle()
    driver.cluster.removeNode('s1')
    driver.cluster.writes.length = 0
    driver.restart()
    driver.settle()
    driver.cluster.addNode('s2', 'amd64', small)
    driver.settle()
    assert.deepEqual(driver.cluster.writes, [])
    assert.ok(driver.cluster.isHeld('s2', 'r.test/a:1'))
    assert.equal(driver.cluster.shardsOn('s2'), 1)
  })

  it('let go of an image that fails elsewhere, and of no other', () => {
    const driver = start({ n1: large, n2: large, s1: small })
    driver.wanted = want('r.test/good:1', 'r.test/bad:1')
    driver.settle()
    driver.cluster.behave = (reference, node) =>
      reference === 'r.test/bad:1' && node === 'n3' ? 'missing' : 'good'
    driver.cluster.addNode('n3', 'amd64', large)
    driver.run(400)
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/good:1'])
    assert.ok(driver.cluster.isHeld('n1', 'r.test/bad:1'))
    assert.deepEqual(driver.cluster.losses, ['s1 r.test/bad:1'])
  })
})
