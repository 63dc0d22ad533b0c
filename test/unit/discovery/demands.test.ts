import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { Demands } from '../../../src/discovery/demands.ts'
import type { Demand } from '../../../src/images/demand.ts'

const image = 'quay.io/a/b:1'
const onNodes = (label: string): Demand => ({
  terms: [[{ key: label, operator: 'Exists' }]],
  tolerations: [],
})
const ssd = onNodes('ssd')
const gpu = onNodes('gpu')

describe('where the users of an image may run', () => {
  let byNamespace: Map<string, Demand>
  let known: boolean
  let changes: number
  let demands: Demands
  beforeEach(() => {
    byNamespace = new Map([['shop', ssd]])
    known = true
    changes = 0
    demands = new Demands({
      inventory: {
        demandsOf: (_reference, counts) =>
          [...byNamespace].flatMap(([namespace, demand]) => (counts(namespace) ? [demand] : [])),
      },
      isKnown: () => known,
      onChange: () => {
        changes += 1
      },
    })
  })
  const note = (...namespaces: string[]): void =>
    demands.note(image, { pods: 0, workloads: namespaces.length, namespaces, owners: [] })

  it('is told when it is known first, and when it is another', () => {
    assert.equal(demands.of(image), undefined)
    note('shop')
    note('shop')
    assert.equal(changes, 1)
    byNamespace.set('shop', gpu)
    note('shop')
    assert.deepEqual([demands.of(image), changes], [[gpu], 2])
  })

  it('is asked of those that count only', () => {
    byNamespace.set('kube-system', gpu)
    note('shop')
    assert.deepEqual(demands.of(image), [ssd])
  })

  it('is known to be nowhere while kip keeps the image, and forgotten with it', () => {
    note('shop')
    note()
    assert.deepEqual([demands.of(image), changes], [[], 2])
    known = false
    note()
    assert.equal(demands.of(image), undefined)
  })
})
