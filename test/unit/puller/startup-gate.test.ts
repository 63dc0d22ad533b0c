import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { buildDaemonSet, readDaemonSet } from '../../../src/puller/daemon-set.ts'
import { groundOf } from '../../../src/puller/ground.ts'
import { type NodeView, projectNode } from '../../../src/puller/node-view.ts'
import { type GateInput, openGate, type Release } from '../../../src/puller/startup-gate.ts'
import { survey } from '../../../src/puller/survey.ts'
import { pullerSettings } from './driver.ts'

const born = Date.parse('2026-01-01T00:00:00Z')
const settings = { ...pullerSettings, startupTaintSeconds: 60 }

function node(name: string, key = 'images.kip/not-ready'): NodeView {
  return projectNode({
    metadata: { name, creationTimestamp: new Date(born).toISOString() },
    spec: { taints: [{ key, effect: 'NoSchedule' }] },
  })
}

const nodes = [node('n1'), node('n2'), node('n3', 'other')]

const object = buildDaemonSet(
  { kind: 'holding', index: 1, members: [{ container: 'a', reference: 'r.test/a:1' }] },
  { namespace: 'kip', settings, strategy: 'volume', owner: undefined },
)
const shard = readDaemonSet({ ...object, metadata: { ...object.metadata, uid: 'u' } }, 'kip')
assert.ok(shard)

function releases(ready: readonly string[], more: Partial<GateInput> = {}): readonly Release[] {
  const pods = ready.map((name) => ({
    name: `kip-${name}`,
    shard: 'kip',
    node: name,
    template: shard?.template ?? '',
    ready: true,
    lost: false,
    images: ['r.test/a:1'],
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

  it('has the pods of shards bear the taint, and only then', () => {
    const tolerations = object.spec?.template?.spec?.tolerations
    assert.deepEqual(tolerations, [{ key: 'images.kip/not-ready', operator: 'Exists' }])
  })
})
