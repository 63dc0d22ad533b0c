import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { DaemonSet } from '../../../src/kube/types.ts'
import { typeLabel } from '../../../src/puller/cramped.ts'
import {
  buildDaemonSet,
  type ObservedShard,
  readDaemonSet,
} from '../../../src/puller/daemon-set.ts'
import { groundOf } from '../../../src/puller/ground.ts'
import { type NodeView, projectNode } from '../../../src/puller/node-view.ts'
import { type GateInput, openGate, type Release } from '../../../src/puller/startup-gate.ts'
import { survey } from '../../../src/puller/survey.ts'
import { pullerSettings } from './driver.ts'

const born = Date.parse('2026-01-01T00:00:00Z')
const settings = { ...pullerSettings, startupTaintSeconds: 60 }

function node(name: string, key = 'images.kip/not-ready', type = '', pods = ''): NodeView {
  const labels = type === '' ? {} : { [typeLabel]: type }
  return projectNode({
    metadata: { name, labels, creationTimestamp: new Date(born).toISOString() },
    spec: { taints: [{ key, effect: 'NoSchedule' }] },
    status: { capacity: { pods } },
  })
}

const nodes = [node('n1'), node('n2'), node('n3', 'other')]

const daemonSet = (index: number): DaemonSet =>
  buildDaemonSet(
    { kind: 'holding', index, members: [{ container: 'a', reference: `r.test/${index}:1` }] },
    { namespace: 'kip', settings, strategy: 'volume', owner: undefined },
  )
const shardOf = (object: DaemonSet): ObservedShard | undefined =>
  readDaemonSet({ ...object, metadata: { ...object.metadata, uid: 'u' } }, 'kip')
const shard = shardOf(daemonSet(1))
assert.ok(shard)

function releases(ready: readonly string[], more: Partial<GateInput> = {}): readonly Release[] {
  const pods = ready.map((name) => ({
    name: `kip-${name}`,
    shard: 'kip',
    node: name,
    template: shard?.template ?? '',
    ready: true,
    lost: false,
    images: ['r.test/1:1'],
    verdicts: ['started' as const],
    failures: new Map(),
  }))
  const shards = shard === undefined ? [] : [shard]
  return openGate({
    nodes,
    shards,
    seen: survey(shards, pods),
    ground: groundOf(nodes, settings),
    deadlineMs: 60_000,
    now: born + 10_000,
    ...more,
  }).releases
}

describe('openGate', () => {
  it('releases a node when its holding shards are ready there, and no other', () => {
    assert.deepEqual(releases([]), [])
    assert.deepEqual(releases(['n1', 'n3']), [{ node: 'n1', why: 'ready' }])
  })

  it('releases all when the deadline has passed', () => {
    const late = releases(['n1'], { now: born + 60_000 })
    assert.deepEqual(late, [
      { node: 'n1', why: 'ready' },
      { node: 'n2', why: 'deadline' },
    ])
  })

  it('releases nodes that no shard is for, and all when nothing is held', () => {
    const elsewhere = { ...settings, nodeSelector: { disk: 'ssd' } }
    const why = (list: readonly Release[]): string => list.map((one) => one.why).join()
    assert.equal(why(releases([], { ground: groundOf(nodes, elsewhere) })), 'not served,not served')
    assert.equal(why(releases([], { shards: [] })), 'ready,ready')
  })

  it('waits on nodes that take few pods for the one shard that they have', () => {
    const both = [shard, shardOf(daemonSet(2))].flatMap((one) => one ?? [])
    const mixed = [node('n1', undefined, 't.small', '11'), node('n2', undefined, 'm.large', '29')]
    const ground = groundOf(mixed, settings)
    const released = releases(['n1', 'n2'], { nodes: mixed, shards: both, ground })
    assert.deepEqual(released, [{ node: 'n1', why: 'ready' }])
  })

  it('has the pods of shards bear the taint, and only then', () => {
    const tolerations = daemonSet(1).spec?.template?.spec?.tolerations
    assert.deepEqual(tolerations, [{ key: 'images.kip/not-ready', operator: 'Exists' }])
  })
})
