import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  buildDaemonSet,
  type ObservedShard,
  readDaemonSet,
} from '../../../src/puller/daemon-set.ts'
import { Pauses, type PausesInput } from '../../../src/puller/pauses.ts'
import { createPodProjection, type PodView } from '../../../src/puller/pod-view.ts'
import { pullerSettings } from './driver.ts'

const options = {
  namespace: 'kip',
  settings: pullerSettings,
  strategy: 'volume',
  owner: undefined,
} as const
const members = [{ reference: 'r.test/a:1', container: 'a' }]
const built = (paused: boolean) =>
  buildDaemonSet({ kind: 'fresh', index: 1, members, paused }, options)
const read = (paused: boolean): ObservedShard =>
  readDaemonSet(built(paused), 'kip') ?? assert.fail('no shard')
const refusedOn = (...nodes: readonly string[]): readonly PodView[] =>
  nodes.map((node, index) => ({
    ...{ name: `p${index}`, shard: 'kip-fresh', node, template: '', ready: false, lost: false },
    ...{ refused: true, images: [], containers: [], verdicts: [], failures: new Map() },
  }))
const refused = refusedOn('n1', 'n1', 'n1')
const nobody = refusedOn()
const nothing = { pods: [], refused: nobody, isRefusing: false }
const paused = (
  pauses: Pauses,
  shards: readonly ObservedShard[],
  now: number,
  input: Partial<PausesInput> = {},
) => {
  const found = pauses.look({ ...nothing, ...input, shards, now })
  return { ...found, paused: [...found.paused] }
}

describe('a shard whose pods kubelets refuse', () => {
  it('is paused until a minute after one more was refused, though they are still there', () => {
    const pauses = new Pauses()
    assert.deepEqual(paused(pauses, [read(false)], 0).paused, [])
    const first = paused(pauses, [read(false)], 1000, { refused })
    assert.deepEqual(first, { paused: ['kip-fresh'], wakeAt: 61_000 })
    const more = { refused: refusedOn('n1', 'n1', 'n1', 'n1') }
    assert.equal(paused(pauses, [read(true)], 31_000, more).wakeAt, 91_000)
    assert.deepEqual(paused(pauses, [read(true)], 90_999, more).paused, ['kip-fresh'])
    assert.deepEqual(paused(pauses, [read(true)], 91_000, more).paused, [])
  })

  it('is not paused by a new leader for what was refused before it came', () => {
    const pauses = new Pauses()
    assert.deepEqual(paused(pauses, [read(false)], 0, { refused }).paused, [])
    assert.deepEqual(paused(pauses, [read(false)], 1000, { refused }).paused, [])
    const more = { refused: refusedOn('n1', 'n1', 'n1', 'n1') }
    assert.deepEqual(paused(pauses, [read(false)], 2000, more).paused, ['kip-fresh'])
  })

  it('is left alone for a pod that each of many nodes evicted or shut down with', () => {
    const few = refusedOn('n1', 'n1', 'n2', 'n3', 'n4')
    const pauses = new Pauses()
    pauses.look({ ...nothing, shards: [], now: 0 })
    assert.deepEqual(paused(pauses, [read(false)], 0, { refused: few }).paused, [])
  })

  it('is paused for as long as a node is known to refuse pods, unless it has something to roll', () => {
    const pauses = new Pauses()
    const [pod] = refusedOn('n2')
    const of = (template: string): Partial<PausesInput> => ({
      isRefusing: true,
      pods: pod === undefined ? [] : [{ ...pod, refused: false, template }],
    })
    const rolled = of(read(false).template)
    assert.deepEqual(paused(pauses, [read(false)], 0, rolled).paused, ['kip-fresh'])
    assert.deepEqual(paused(pauses, [read(true)], 600_000, rolled).paused, ['kip-fresh'])
    assert.deepEqual(paused(pauses, [read(true)], 600_001, of('older')).paused, [])
    assert.deepEqual(paused(pauses, [read(true)], 600_002, rolled).paused, ['kip-fresh'])
    assert.deepEqual(paused(pauses, [read(true)], 600_003).paused, [])
  })

  it('goes on though the write that was to let it go on was lost', () => {
    const pauses = new Pauses()
    assert.deepEqual(paused(pauses, [read(false)], 0, { isRefusing: true }).paused, ['kip-fresh'])
    assert.deepEqual(paused(pauses, [read(true)], 1000).paused, [])
    assert.deepEqual(paused(pauses, [read(true)], 1001).paused, [])
  })

  it('goes on at once when it was made paused and the pressure was over before it was seen', () => {
    const pauses = new Pauses()
    pauses.look({ ...nothing, shards: [], isRefusing: true, now: 0 })
    assert.deepEqual(paused(pauses, [read(true)], 1000).paused, [])
  })

  it('is waited for as long when kip was started since', () => {
    const pauses = new Pauses()
    assert.equal(paused(pauses, [read(true)], 5000).wakeAt, 65_000)
    assert.deepEqual(paused(pauses, [read(true)], 65_000).paused, [])
  })

  it('is forgotten with its DaemonSet', () => {
    const pauses = new Pauses()
    pauses.look({ ...nothing, shards: [], now: 0 })
    assert.deepEqual(paused(pauses, [read(false)], 0, { refused }).paused, ['kip-fresh'])
    assert.deepEqual(paused(pauses, [], 1), { paused: [], wakeAt: Number.POSITIVE_INFINITY })
    assert.deepEqual(paused(pauses, [read(false)], 2).paused, [])
  })

  it('rolls nothing meanwhile, with pods of the same template', () => {
    const [going, resting] = [built(false), built(true)]
    assert.deepEqual(resting.spec?.updateStrategy, { type: 'OnDelete' })
    assert.deepEqual(resting.spec?.template, going.spec?.template)
    assert.equal(read(true).paused, true)
    assert.equal(read(false).paused, undefined)
  })

  it('has what it pulled held by none of them', () => {
    const template = built(false).spec?.template
    const view = createPodProjection()({
      metadata: { name: 'p', ...template?.metadata },
      spec: { ...template?.spec, nodeName: 'n1' },
      status: { phase: 'Failed', reason: 'Evicted' },
    })
    assert.equal(view?.refused, true)
    assert.deepEqual(view?.images, [])
  })
})
