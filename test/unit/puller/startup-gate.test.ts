import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { DaemonSet, ObjectMeta } from '../../../src/kube/types.ts'
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
  return tainted([key], { name, labels: type === '' ? {} : { [typeLabel]: type } }, pods)
}

function tainted(keys: readonly string[], metadata: ObjectMeta = { name: 'n1' }, pods = '') {
  return projectNode({
    metadata: { ...metadata, creationTimestamp: new Date(born).toISOString() },
    spec: { taints: keys.map((key) => ({ key, effect: 'NoSchedule' })) },
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
    containers: ['1'],
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

  const gated = 'images.kip/not-ready'
  for (const key of [
    'node.cloudprovider.kubernetes.io/uninitialized',
    'node.cluster.x-k8s.io/uninitialized',
    'karpenter.sh/unregistered',
    'node.cilium.io/agent-not-ready',
    'node.kubernetes.io/network-unavailable',
    'startup-taint.cluster-autoscaler.kubernetes.io/driver',
    'readiness.k8s.io/storage',
  ]) {
    it(`takes no node for unserved while others still set it up: ${key}`, () => {
      const nodes = [tainted([gated, key])]
      const early = { nodes, ground: groundOf(nodes, settings) }
      assert.deepEqual(releases([], early), [])
      const late = releases([], { ...early, now: born + 60_000 })
      assert.deepEqual(late, [{ node: 'n1', why: 'deadline' }])
    })
  }

  it('releases no node before it has the labels that say what it is to hold', () => {
    const elsewhere = { ...settings, nodeSelector: { 'topology.kubernetes.io/zone': 'a' } }
    const released = (keys: readonly string[]): readonly Release[] => {
      const nodes = [tainted([gated, ...keys])]
      return releases([], { nodes, ground: groundOf(nodes, elsewhere) })
    }
    assert.deepEqual(released(['node.kubernetes.io/not-ready']), [])
    assert.deepEqual(released([]), [{ node: 'n1', why: 'not served' }])
  })

  it('releases a node at once that somebody keeps for other pods', () => {
    const nodes = [tainted([gated, 'nvidia.com/gpu'])]
    const released = releases([], { nodes, ground: groundOf(nodes, settings) })
    assert.deepEqual(released, [{ node: 'n1', why: 'not served' }])
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
