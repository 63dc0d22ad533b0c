import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { podsFromCounts } from '../../../src/puller/counts.ts'
import type { ObservedShard } from '../../../src/puller/daemon-set.ts'
import { mergeGenerations, superseded } from '../../../src/puller/generations.ts'

function shard(revision: number, more: Partial<ObservedShard> = {}): ObservedShard {
  return {
    name: 'kip',
    object: ['kip', 'kip-b', 'kip-c', 'kip-d'][revision % 4] ?? '',
    revision,
    kind: 'holding',
    index: 1,
    members: [{ container: 'a', reference: 'r.test/a:1' }],
    uid: `uid-${revision}`,
    resourceVersion: '1',
    fingerprint: 'f',
    template: `t${revision}`,
    generation: 1,
    observedGeneration: 1,
    desired: 3,
    ready: 3,
    updated: 3,
    created: '2026-01-01T00:00:00Z',
    deleting: false,
    pullSecrets: [],
    formerSecrets: [],
    ...more,
  }
}
const objects = (shards: readonly ObservedShard[]) => shards.map(({ object }) => object)

describe('mergeGenerations', () => {
  it('takes the newest of a shard, and the most nodes that any of them is meant for', () => {
    const { shards, older } = mergeGenerations([
      shard(1),
      shard(2, { desired: 0 }),
      shard(0, { name: 'kip-fresh', object: 'kip-fresh', kind: 'fresh' }),
    ])
    assert.deepEqual(objects(shards), ['kip-c', 'kip-fresh'])
    assert.equal(shards[0]?.desired, 3)
    assert.deepEqual(objects(older.get('kip') ?? []), ['kip-b'])
  })

  it('takes that of the highest revision, and of one revision the one made last, in whatever order', () => {
    const early = shard(1)
    const late = shard(1, { object: 'kip-c', created: '2026-01-01T00:00:01Z' })
    for (const [one, other, newest] of [
      [early, late, 'kip-c'],
      [late, shard(2, { object: 'kip-d' }), 'kip-d'],
    ] as const) {
      for (const both of [
        [one, other],
        [other, one],
      ])
        assert.deepEqual(objects(mergeGenerations(both).shards), [newest])
    }
  })

  it('asks for no vanished one of which another is there', () => {
    const vanished = shard(2, { uid: '' })
    assert.deepEqual(objects(mergeGenerations([shard(1), vanished]).shards), ['kip-b'])
    assert.deepEqual(objects(mergeGenerations([vanished]).shards), ['kip-c'])
  })
})

describe('superseded', () => {
  const of = (current: ObservedShard, older: readonly ObservedShard[], patient = true) =>
    objects(superseded(current, older, patient))

  it('lets the predecessor go when the successor is ready on every node', () => {
    assert.deepEqual(of(shard(2), [shard(1)]), ['kip-b'])
  })

  for (const [symptom, current] of [
    ['is not ready on one', shard(2, { ready: 2 })],
    ['was not looked at by the controller yet', shard(2, { observedGeneration: 0 })],
    ['has no count yet', shard(2, { desired: 0, ready: 0, updated: 0 })],
  ] as const) {
    it(`keeps the predecessor while the successor ${symptom}`, () => {
      assert.deepEqual(of(current, [shard(1)]), [])
    })
  }

  it('keeps the last one that was ready everywhere, past those that never were', () => {
    const current = shard(3, { ready: 0 })
    assert.deepEqual(of(current, [shard(2, { ready: 1 }), shard(1)]), ['kip-c'])
  })

  it('waits for lost nodes only as long as patience lasts', () => {
    const current = shard(2, { ready: 2 })
    const older = [shard(1, { ready: 2 })]
    assert.deepEqual(of(current, older), [])
    assert.deepEqual(of(current, older, false), ['kip-b'])
    assert.deepEqual(of(shard(2, { ready: 1 }), older, false), [])
  })
})

describe('podsFromCounts', () => {
  const verdicts = (one: ObservedShard) =>
    podsFromCounts(one).map(({ template, ready }) => `${template || 'old'} ${ready}`)

  it('makes a pod of each node, the ready ones first', () => {
    assert.deepEqual(verdicts(shard(1, { ready: 2 })), ['t1 true', 't1 true', 't1 false'])
  })

  it('is sure of no new pod that may be an old one', () => {
    assert.deepEqual(verdicts(shard(1, { ready: 2, updated: 2 })), [
      't1 true',
      't1 false',
      'old true',
    ])
    assert.deepEqual(verdicts(shard(1, { ready: 3, updated: 1 })), [
      't1 true',
      'old true',
      'old true',
    ])
  })

  it('says nothing of what the controller has not seen', () => {
    assert.deepEqual(podsFromCounts(shard(1, { generation: 2 })), [])
  })
})
