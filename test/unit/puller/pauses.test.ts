import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  buildDaemonSet,
  type ObservedShard,
  readDaemonSet,
} from '../../../src/puller/daemon-set.ts'
import { Pauses } from '../../../src/puller/pauses.ts'
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
    ...{ refused: true, images: [], verdicts: [], failures: new Map() },
  }))
const refused = refusedOn('n1', 'n1', 'n1')
const nobody = refusedOn()

describe('a shard whose pods kubelets refuse', () => {
  it('is paused until a minute after one more was refused, though they are still there', () => {
    const pauses = new Pauses()
    assert.deepEqual([...pauses.look([read(false)], nobody, 0).paused], [])
    const { paused, wakeAt } = pauses.look([read(false)], refused, 1000)
    assert.deepEqual([...paused], ['kip-fresh'])
    assert.equal(wakeAt, 61_000)
    const more = refusedOn('n1', 'n1', 'n1', 'n1')
    assert.equal(pauses.look([read(true)], more, 31_000).wakeAt, 91_000)
    assert.deepEqual([...pauses.look([read(true)], more, 90_999).paused], ['kip-fresh'])
    assert.deepEqual([...pauses.look([read(true)], more, 91_000).paused], [])
  })

  it('is left alone for a pod that each of many nodes evicted or shut down with', () => {
    const few = refusedOn('n1', 'n1', 'n2', 'n3', 'n4')
    assert.deepEqual([...new Pauses().look([read(false)], few, 0).paused], [])
  })

  it('is waited for as long when kip was started since', () => {
    const pauses = new Pauses()
    assert.equal(pauses.look([read(true)], nobody, 5000).wakeAt, 65_000)
    assert.deepEqual([...pauses.look([read(true)], nobody, 65_000).paused], [])
  })

  it('is forgotten with its DaemonSet', () => {
    const pauses = new Pauses()
    pauses.look([read(false)], refused, 0)
    assert.deepEqual(pauses.look([], nobody, 1), {
      paused: new Set(),
      wakeAt: Number.POSITIVE_INFINITY,
    })
  })

  it('rolls nothing meanwhile, with pods of the same template', () => {
    const [going, paused] = [built(false), built(true)]
    assert.deepEqual(paused.spec?.updateStrategy, { type: 'OnDelete' })
    assert.deepEqual(paused.spec?.template, going.spec?.template)
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
