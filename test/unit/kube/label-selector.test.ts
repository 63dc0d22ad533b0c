import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { meetsRequirements, requirementsOf } from '../../../src/kube/label-selector.ts'
import type { LabelSelector } from '../../../src/kube/types.ts'

const all = [undefined, {}, { a: '' }, { a: '1' }, { a: '2' }, { a: '1', b: 'x' }]

describe('label selector', () => {
  const one = (operator: string, ...values: string[]): LabelSelector => ({
    matchExpressions: [{ key: 'a', operator, ...(values.length > 0 && { values }) }],
  })
  const cases: [string, LabelSelector, selected: number[]][] = [
    ['of nothing', {}, [0, 1, 2, 3, 4, 5]],
    ['of labels', { matchLabels: { a: '1' } }, [3, 5]],
    ['of two labels', { matchLabels: { a: '1', b: 'x' } }, [5]],
    ['of an empty value', { matchLabels: { a: '' } }, [2]],
    ['In', one('In', '1', '2'), [3, 4, 5]],
    ['NotIn', one('NotIn', '1'), [0, 1, 2, 4]],
    ['Exists', one('Exists'), [2, 3, 4, 5]],
    ['DoesNotExist', one('DoesNotExist'), [0, 1]],
    ['of what nobody knows', one('Gt', '0'), []],
    ['of both', { matchLabels: { b: 'x' }, ...one('In', '1') }, [5]],
    ['of both that contradict', { matchLabels: { b: 'x' }, ...one('In', '2') }, []],
  ]
  it('has no empty lists', () => {
    const matchExpressions = [{ key: 'a', operator: 'Exists', values: [] }]
    assert.deepEqual(requirementsOf({ matchExpressions }), [{ key: 'a', operator: 'Exists' }])
  })

  for (const [what, selector, selected] of cases) {
    it(what, () => {
      const met = all.flatMap((labels, index) =>
        meetsRequirements(requirementsOf(selector), labels) ? [index] : [],
      )
      assert.deepEqual(met, selected)
    })
  }
})
