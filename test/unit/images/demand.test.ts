import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { demandOf } from '../../../src/images/demand.ts'

const required = (...nodeSelectorTerms: readonly object[]) => ({
  nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } },
})
const isSsd = { key: 'disk', operator: 'In', values: ['ssd'] }
const inZone = { key: 'zone', operator: 'In', values: ['a', 'b'] }
const hasGpu = { key: 'gpu', operator: 'Exists' }

describe('what a pod asks of nodes', () => {
  it('is nothing when it asks for none in particular', () => {
    const nothing = { terms: [], tolerations: [] }
    assert.deepEqual(demandOf({}), nothing)
    const preferred = { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{}] } }
    assert.deepEqual(demandOf({ affinity: { ...preferred, podAntiAffinity: {} } }), nothing)
    const byName = { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] }
    assert.deepEqual(demandOf({ affinity: required(byName) }), nothing)
  })

  it('is the selector and one of the terms of the affinity', () => {
    const { terms } = demandOf({
      nodeSelector: { disk: 'ssd' },
      affinity: required({ matchExpressions: [inZone] }, { matchExpressions: [hasGpu] }),
    })
    assert.deepEqual(terms, [
      [isSsd, hasGpu],
      [isSsd, inZone],
    ])
  })

  it('is the same in whatever order and form it is written', () => {
    const written = demandOf({
      affinity: required(
        { matchExpressions: [hasGpu] },
        { matchExpressions: [{ ...inZone, values: ['b', 'a', 'b'] }, isSsd] },
        { matchExpressions: [hasGpu] },
      ),
      tolerations: [
        { key: 'b', operator: 'Exists', effect: '' },
        { key: 'a', operator: 'Equal', value: 'x', tolerationSeconds: 5 },
      ],
    })
    const other = demandOf({
      affinity: required({ matchExpressions: [isSsd, inZone] }, { matchExpressions: [hasGpu] }),
      tolerations: [
        { key: 'a', value: 'x' },
        { key: 'b', operator: 'Exists' },
        { key: 'node.kubernetes.io/not-ready', operator: 'Exists', tolerationSeconds: 300 },
      ],
    })
    assert.equal(JSON.stringify(written), JSON.stringify(other))
  })
})
