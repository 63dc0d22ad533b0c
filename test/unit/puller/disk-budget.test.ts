import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { budgetBytes, overBudget } from '../../../src/puller/disk-budget.ts'
import { projectNode } from '../../../src/puller/node-view.ts'
import type { Wanted } from '../../../src/puller/wanted.ts'

const set = (...items: readonly Wanted[]): ReadonlyMap<string, Wanted> =>
  new Map(items.map((item) => [item.reference, item]))
const image = (reference: string, uses: number, sizeBytes = 100e6): Wanted => ({
  reference,
  bestEffort: false,
  uses,
  sizeBytes,
})
/** Disk of so many images of 100 MB. */
const room = (images: number): number => images * 350e6

describe('overBudget', () => {
  const nobody = new Set<string>()

  it('keeps what is used most, and of the same use what is larger', () => {
    const wanted = set(image('a', 1), image('b', 5), image('c', 3), image('d', 3, 50e6))
    assert.deepEqual([...overBudget({ wanted, held: nobody, bytes: room(2) })], ['d', 'a'])
    assert.equal(overBudget({ wanted, held: nobody, bytes: undefined }).size, 0)
  })

  it('does not exchange what is held for what is used a little more', () => {
    const wanted = set(image('a', 4), image('b', 5))
    const over = (held: ReadonlySet<string>): string =>
      [...overBudget({ wanted, held, bytes: room(1) })].join()
    assert.equal(over(nobody), 'a')
    assert.equal(over(new Set(['a'])), 'b')
  })

  it('keeps what the user named before all that was found', () => {
    const wanted = set(image('a', 100), { ...image('b', 0), name: 'mine' })
    assert.deepEqual([...overBudget({ wanted, held: nobody, bytes: room(1) })], ['a'])
  })

  it('never exceeds the bytes, and is at rest once its own choice is held', () => {
    const items = fc.uniqueArray(
      fc.record({
        reference: fc.string({ minLength: 1, maxLength: 3 }),
        bestEffort: fc.constant(false),
        uses: fc.nat({ max: 20 }),
        sizeBytes: fc.nat({ max: 1e9 }),
      }),
      { selector: ({ reference }) => reference, maxLength: 30 },
    )
    fc.assert(
      fc.property(items, fc.nat({ max: 1e10 }), (list, bytes) => {
        const wanted = set(...list)
        const out = overBudget({ wanted, held: nobody, bytes })
        const kept = list.filter(({ reference }) => !out.has(reference))
        const sum = kept.reduce((total, { sizeBytes }) => total + sizeBytes * 3.5, 0)
        assert.ok(sum <= bytes)
        const held = new Set(kept.map(({ reference }) => reference))
        const again = overBudget({ wanted, held, bytes })
        assert.deepEqual([...again].sort(), [...out].sort())
      }),
      { numRuns: 300 },
    )
  })
})

describe('budgetBytes', () => {
  const node = (storage: string | undefined, key = 'none') =>
    projectNode({
      metadata: { name: 'n' },
      spec: { taints: [{ key, effect: 'NoSchedule' }] },
      status: { ...(storage === undefined ? {} : { capacity: { 'ephemeral-storage': storage } }) },
    })
  const demand = { tolerations: [{ key: 'none', operator: 'Exists' }] }

  it('is a share of the smallest disk that is known and served', () => {
    const nodes = [node('100Gi'), node('20000000Ki'), node(undefined), node('1Gi', 'other')]
    assert.equal(budgetBytes(nodes, demand, 50), 20_000_000 * 1024 * 0.5)
    assert.equal(budgetBytes(nodes, demand, 100), undefined)
    assert.equal(budgetBytes(undefined, demand, 50), undefined)
  })
})
