import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { buildDaemonSet } from '../../../src/puller/daemon-set.ts'
import { named } from '../../../src/puller/draft.ts'
import { defaultPace } from '../../../src/puller/pace.ts'
import type { ShardKind } from '../../../src/puller/shard.ts'
import type { Wanted } from '../../../src/puller/wanted.ts'
import { Driver, pullerSettings, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const images = (count: number, prefix = 'r.test/image'): Wanted[] =>
  Array.from({ length: count }, (_, index) => ({
    reference: `${prefix}-${String(index).padStart(3, '0')}:1`,
    bestEffort: false,
  }))
const original: Wanted = { reference: 'r.test/original:1', bestEffort: true }

/** A cluster that has such shards already, and a puller that has just started and wants all that they hold. */
function found(
  ...shards: readonly (readonly [kind: ShardKind, index: number, items: readonly Wanted[]])[]
): Driver {
  const driver = new Driver(new SimulatedCluster(['n1', 'n2']))
  driver.wanted = want(...shards.flatMap(([, , items]) => items))
  const options = {
    namespace: 'kip',
    settings: pullerSettings,
    strategy: driver.strategy,
    owner: undefined,
  }
  for (const [kind, index, items] of shards) {
    driver.cluster.apply(buildDaemonSet({ kind, index, members: named([], items) }, options))
  }
  return driver
}

describe('nodes that have all the pods they may', () => {
  const first = images(50, 'r.test/first')
  const second = images(50, 'r.test/second')

  const bad: Wanted = { reference: 'r.test/bad:1', bestEffort: false }

  it('get what two full fresh shards have proven to where it is to stay', () => {
    const driver = found(['originals', 1, [original]], ['fresh', 1, first], ['fresh', 2, second])
    const { cluster } = driver
    driver.settle()
    assert.deepEqual([...cluster.daemonSets.keys()].sort(), ['kip', 'kip-originals'])
    assert.equal(cluster.members('kip').length, 100)
    assert.deepEqual(cluster.losses, [])
    assert.equal(driver.last?.waiting.size, 0)
  })

  it('also where these hold original names too, beside an image that fails', () => {
    const tried = second.map((item, index) => ({ ...item, bestEffort: index % 2 === 0 }))
    const driver = found(['apart', 1, [bad]], ['fresh', 1, first], ['fresh', 2, tried])
    const { cluster } = driver
    cluster.behave = (reference) => (reference === bad.reference ? 'missing' : 'good')
    let most = 0
    driver.run(500, () => {
      most = Math.max(most, cluster.shardsOn('n1'))
    })
    assert.equal(most, 4, 'one more than they may, for a while')
    assert.deepEqual([...cluster.daemonSets.keys()].sort(), ['kip', 'kip-apart', 'kip-fresh'])
    assert.equal(cluster.members('kip').length, 75)
    assert.deepEqual(cluster.losses, [])
  })

  it('also where the one fresh shard stands beside original names and an image that fails', () => {
    const driver = found(['originals', 1, [original]], ['apart', 1, [bad]], ['fresh', 1, first])
    const { cluster } = driver
    cluster.behave = (reference) => (reference === bad.reference ? 'missing' : 'good')
    driver.settle()
    assert.deepEqual([...cluster.daemonSets.keys()].sort(), ['kip', 'kip-apart', 'kip-originals'])
    assert.deepEqual(cluster.losses, [])
  })

  it('give new versions the room of the old ones where no shard has any left', () => {
    const driver = new Driver(new SimulatedCluster(['n1']))
    driver.settings = { ...pullerSettings, podsPerNode: 2 }
    driver.capacityOf = () => 5
    const versions = (updated: number): string[] =>
      Array.from({ length: 9 }, (_, index) => `r.test/one:${index}.${index < updated ? 2 : 1}`)
    driver.wanted = want(...versions(0))
    driver.run(100)
    assert.equal(driver.last?.waiting.size, 0)
    driver.wanted = want(...versions(7))
    driver.run(400)
    assert.deepEqual([...(driver.last?.waiting ?? [])], [])
    for (const reference of versions(7)) assert.ok(driver.cluster.isHeld('n1', reference))
  })

  it('are looked at no oftener where a full shard has an old version and many images are new', () => {
    const looks = (count: number): number => {
      const driver = new Driver(new SimulatedCluster(['n1']))
      driver.settings = { ...pullerSettings, podsPerNode: 200 }
      let asked = 0
      driver.capacityOf = () => {
        asked += 1
        return 5
      }
      const first = images(5, 'r.test/first')
      driver.wanted = want(...first)
      driver.settle()
      driver.wanted = want(...first.slice(1), 'r.test/first-000:2', ...images(count))
      asked = 0
      driver.run(3)
      return asked
    }
    assert.equal(looks(400), looks(40))
  })

  it('take in what is new though all else on its way has nowhere to go', () => {
    const driver = new Driver(new SimulatedCluster(['n1']))
    driver.settings = { ...pullerSettings, podsPerNode: 2 }
    driver.capacityOf = () => 3
    const originals = images(3).map((item) => ({ ...item, bestEffort: true }))
    driver.wanted = want('r.test/a:1', ...originals)
    driver.run(200)
    driver.wanted = want('r.test/a:1', ...originals, 'r.test/new:1')
    driver.run(200)
    assert.ok(driver.cluster.isHeld('n1', 'r.test/new:1'))
    assert.deepEqual([...(driver.last?.waiting ?? [])], [originals[2]?.reference])
  })

  it('take in what is for some of them as soon as what has gone on makes room beside the rest', () => {
    const driver = new Driver(new SimulatedCluster(['n1']))
    const { cluster } = driver
    cluster.addNode('a1', 'arm64')
    driver.settings = { ...pullerSettings, podsPerNode: 2 }
    driver.capacityOf = () => 3
    const [amd, arm] = ['r.test/amd:1', 'r.test/arm:1']
    driver.platforms.set(amd, ['linux/amd64'])
    driver.platforms.set(arm, ['linux/arm64'])
    driver.wanted = want('r.test/a:1', 'r.test/b:1', amd, arm)
    driver.run(200)
    assert.ok(cluster.isHeld('n1', amd))
    assert.ok(cluster.isHeld('a1', arm))
    assert.equal(driver.last?.waiting.size, 0)
  })

  it('have one pod too many at most though something comes while what is on its way goes on', () => {
    const held = images(3, 'r.test/held')
    const proven = images(2, 'r.test/proven')
    const old = images(3, 'r.test/old')
    const late: Wanted = { reference: 'r.test/late:1', bestEffort: true }
    const options = {
      ...{ namespace: 'kip', settings: pullerSettings },
      ...{ strategy: 'init' as const, owner: undefined },
    }
    for (let at = 10; at < 22; at++) {
      const driver = new Driver(new SimulatedCluster(['n1']))
      const { cluster } = driver
      cluster.addNode('a1', 'arm64')
      driver.capacityOf = () => 3
      driver.pace = { ...defaultPace, removeAlongMs: defaultPace.removeMs }
      for (const [kind, index, items] of [
        ['holding', 1, held],
        ['fresh', 1, [...proven, ...old.slice(0, 1)]],
        ['fresh', 2, [original, ...old.slice(1)]],
      ] as const) {
        const shard = { kind, index, where: 'amd64', members: named([], items) }
        cluster.apply(buildDaemonSet(shard, options))
      }
      const wanted = [...held, ...proven, original]
      for (const { reference } of [...wanted, late]) {
        driver.platforms.set(reference, ['linux/amd64'])
      }
      const each = (): void => assert.ok(cluster.shardsOn('n1') <= 4, `late at ${at}`)
      driver.wanted = want(...wanted)
      driver.run(at, each)
      driver.wanted = want(...wanted, late)
      driver.run(200, each)
      assert.ok(cluster.isHeld('n1', late.reference))
      assert.ok(cluster.shardsOn('n1') <= 3)
    }
  })

  it('keep none waiting to be asked for others that cannot run an image in the same shard', () => {
    const driver = new Driver(new SimulatedCluster(['n1', 'n2']))
    const { cluster } = driver
    for (const name of ['a1', 'a2', 'a3']) cluster.addNode(name, 'arm64')
    driver.settings = { ...pullerSettings, podsPerNode: 2, nodesAtOnce: 1 }
    const arm = 'r.test/arm:1'
    driver.platforms.set(arm, ['linux/arm64'])
    cluster.behave = (reference, node) =>
      reference === arm && node.startsWith('n') ? 'missing' : 'good'
    driver.wanted = want('r.test/a:1', original)
    driver.settle()
    driver.wanted = want('r.test/a:1', original, arm)
    driver.run(60)
    for (const node of ['a1', 'a2', 'a3']) assert.ok(cluster.isHeld(node, arm), node)
  })

  for (const behaviour of ['good', 'missing'] as const) {
    it(`keep nobody waiting for an image of one architecture that is ${behaviour} and has the last pod`, () => {
      const driver = new Driver(new SimulatedCluster(['n1', 'n2']))
      const { cluster } = driver
      cluster.addNode('a1', 'arm64')
      const [amd, late] = ['r.test/amd:1', 'r.test/late:1']
      driver.platforms.set(amd, ['linux/amd64'])
      cluster.behave = (reference, node) =>
        reference !== amd ? 'good' : node === 'a1' ? 'missing' : behaviour
      driver.wanted = want('r.test/a:1', original)
      driver.settle()
      driver.wanted = want('r.test/a:1', original, amd)
      driver.settle()
      driver.wanted = want('r.test/a:1', original, amd, late)
      driver.settle()
      for (const node of cluster.nodes.keys()) assert.ok(cluster.isHeld(node, late), node)
      assert.equal(cluster.isHeld('n1', amd), behaviour === 'good')
      assert.ok(cluster.shardsOn('n1') <= 3)
      assert.equal(driver.last?.waiting.size, 0)
      assert.deepEqual(cluster.losses, [])
    })
  }
})
