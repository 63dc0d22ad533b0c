import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ObservedShard } from '../../../src/puller/daemon-set.ts'
import type { Change } from '../../../src/puller/draft.ts'
import { capacityOf, etcdBudget, overEtcd, rolledBytes } from '../../../src/puller/etcd-budget.ts'
import { isUrgent, paced } from '../../../src/puller/paced-changes.ts'
import type { ShardKind } from '../../../src/puller/shard.ts'
import { strategies, strategyOf } from '../../../src/puller/strategies/strategies.ts'
import { Driver, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const kinds: readonly ShardKind[] = ['holding', 'originals', 'fresh', 'refresh']
const names = Object.keys(strategies) as (keyof typeof strategies)[]
const images = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `r.test/i${String(index).padStart(4, '0')}:1`)

describe('what the puller stores in etcd', () => {
  it('leaves shards as large as their strategy says on a few dozen nodes', () => {
    for (const kind of kinds) {
      for (const name of names) {
        for (const nodes of [0, 1, 30]) {
          assert.equal(capacityOf(kind, name, nodes), strategyOf(kind, name).capacity)
        }
      }
    }
  })

  it('bounds a roll-out on any number of nodes, and with it the images of a shard', () => {
    for (const kind of [...kinds, 'apart', 'private'] as const) {
      for (const name of names) {
        for (const nodes of [100, 1000, 5000]) {
          const capacity = capacityOf(kind, name, nodes)
          assert.ok(capacity >= 1)
          assert.ok(rolledBytes(kind, name, capacity, nodes) <= etcdBudget.writtenBytes)
        }
      }
    }
  })

  it('bounds images times nodes, and leaves out those worth least', () => {
    const wanted = want(...images(2001))
    assert.equal(overEtcd(wanted, new Set(), 'volume', () => 1000).size, 1)
    assert.equal(overEtcd(wanted, new Set(), 'volume', () => 0).size, 0, 'no nodes are known yet')
    const beside = etcdBudget.restBytes / 2
    assert.equal(overEtcd(wanted, new Set(), 'volume', () => 1000, beside).size, 1001)
    const first = images(1)[0] ?? ''
    wanted.set(first, { reference: first, bestEffort: false, uses: 9 })
    const out = overEtcd(wanted, new Set(), 'init', () => 100_000)
    assert.ok(out.size > 1900 && !out.has(first))
    const few = want(
      ...images(2001).map((reference) => ({ reference, bestEffort: false, where: 'amd64' })),
    )
    const nodesAt = (where: string): number => (where === '' ? 5000 : 10)
    assert.equal(overEtcd(few, new Set(), 'volume', nodesAt).size, 0, 'they are for few nodes')
  })

  describe('has a change wait', () => {
    const change = (name: string, kind: ShardKind, count = 1): Change => ({
      action: 'apply',
      name,
      shard: {
        kind,
        index: 1,
        members: images(count).map((reference) => ({ reference, container: reference })),
      },
      added: [],
      removed: [],
    })
    const at = (now: number, changes: readonly Change[], written = [] as { at: number }[]) => {
      let wakeAt = Number.POSITIVE_INFINITY
      const result = paced(changes, {
        written: written.map(({ at }) => ({ at, bytes: 500e6 })),
        strategy: 'volume',
        nodesAt: () => 1000,
        now,
        rolls: ({ name }) => name !== 'noted',
        isUrgent: ({ name }) => name === 'urgent',
        wake: (time) => {
          wakeAt = Math.min(wakeAt, time)
        },
      })
      return { ...result, names: result.changes.map(({ name }) => name), wakeAt }
    }
    const large = capacityOf('holding', 'volume', 1000)

    it('until what was written before is compacted away', () => {
      const { names, wakeAt } = at(1000, [change('kip', 'holding', large)], [{ at: 400 }])
      assert.deepEqual(names, [])
      assert.equal(wakeAt, 400 + etcdBudget.windowMs)
      const later = at(wakeAt, [change('kip', 'holding', large)], [{ at: 400 }])
      assert.deepEqual(later.names, ['kip'])
      assert.deepEqual(later.written, [])
      const bytes = rolledBytes('holding', 'volume', large, 1000)
      assert.deepEqual([...later.bytes.values()], [bytes])
    })

    it('but not what is urgent, and what makes no pods anew; what is new or fails for the rest', () => {
      const { names } = at(
        1000,
        [
          change('urgent', 'holding', large),
          change('kip', 'holding', large),
          change('noted', 'holding', large),
        ],
        [{ at: 400 }],
      )
      assert.deepEqual(names, ['urgent', 'noted'])
      for (const kind of ['fresh', 'apart'] as const) {
        assert.deepEqual(at(1000, [change('kip', kind, 5)], [{ at: 400 }]).names, ['kip'])
        assert.deepEqual(at(1000, [change('kip', kind, 50)], [{ at: 400 }]).names, [])
      }
    })

    it('of private images too, which are held for good', () => {
      const names = (kind: ShardKind) => at(1000, [change('kip', kind, 20)], [{ at: 400 }]).names
      assert.deepEqual(names('private'), [])
      assert.deepEqual(names('fresh'), ['kip'])
    })

    it('unless nodes lack images meanwhile', () => {
      const shard = (kind: ShardKind, uid: string): ObservedShard => ({
        ...{ name: kind, object: kind, uid, kind, index: 1, members: [] },
        ...{ revision: 0, resourceVersion: '1', fingerprint: '', template: '', created: '' },
        ...{ generation: 1, observedGeneration: 1, desired: 1, ready: 1, updated: 1 },
        ...{ deleting: false, pullSecrets: [], formerSecrets: [] },
      })
      const [held = '', coming = ''] = images(2)
      const shards = [shard('holding', 'u1'), shard('originals', ''), shard('fresh', 'u2')]
      const homes = new Map([
        [held, shards.slice(0, 1)],
        [coming, shards.slice(2)],
      ])
      const urgent = (name: string, kind: ShardKind, ...added: string[]): boolean =>
        isUrgent({ ...change(name, kind), added }, { shards, homes })
      assert.equal(urgent('originals', 'originals'), true, 'it was deleted by hand')
      assert.equal(urgent('apart', 'apart', coming, held), true, 'it fails where it is to stay')
      assert.equal(urgent('apart', 'apart', coming), false)
      assert.equal(urgent('holding', 'holding', coming), false)
    })

    it('for nothing, when it exceeds the budget by itself', () => {
      assert.deepEqual(at(1000, [change('kip', 'holding', 2000)]).names, ['kip'])
    })
  })

  it('is nothing where the API server refuses it, and keeps nothing waiting afterwards', () => {
    const nodes = Array.from({ length: 60 }, (_, index) => `n${index}`)
    const driver = new Driver(new SimulatedCluster(nodes))
    driver.wanted = want(...images(20))
    driver.allow = () => false
    driver.run(100)
    driver.allow = () => true
    driver.run(2)
    assert.equal(driver.cluster.members('kip-fresh').length, 20)
  })

  it('asks sixty nodes for what is new at once, and holds it for good when etcd has forgotten', () => {
    const nodes = Array.from({ length: 60 }, (_, index) => `n${index}`)
    const driver = new Driver(new SimulatedCluster(nodes))
    const { cluster } = driver
    driver.wanted = want(...images(60))
    driver.run(150)
    assert.deepEqual([...cluster.daemonSets.keys()], ['kip'])
    driver.wanted = want(...images(80))
    driver.run(60)
    assert.equal(cluster.members('kip-fresh').length, 20)
    for (const node of nodes) assert.ok(cluster.isHeld(node, images(80).at(-1) ?? ''))
    assert.equal(cluster.members('kip').length, 60)
    driver.restart()
    driver.run(10)
    assert.equal(cluster.members('kip').length, 80, 'a leader that starts counts from nothing')
  })
})
