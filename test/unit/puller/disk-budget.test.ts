import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { overBudget } from '../../../src/puller/disk-budget.ts'
import { groundOf } from '../../../src/puller/ground.ts'
import { type NodeView, projectNode } from '../../../src/puller/node-view.ts'
import type { Wanted } from '../../../src/puller/wanted.ts'

const set = (...items: readonly Wanted[]): ReadonlyMap<string, Wanted> =>
  new Map(items.map((item) => [item.reference, item]))
const image = (reference: string, uses: number, sizeBytes = 100e6): Wanted => ({
  reference,
  bestEffort: false,
  uses,
  sizeBytes,
})
const node = (
  storage: string | undefined,
  { taint = 'none', arch = '' }: { taint?: string; arch?: string } = {},
): NodeView =>
  projectNode({
    metadata: { name: `${storage} ${taint}`, labels: { 'kubernetes.io/arch': arch } },
    spec: { taints: [{ key: taint, effect: 'NoSchedule' }] },
    status: { ...(storage === undefined ? {} : { capacity: { 'ephemeral-storage': storage } }) },
  })
/** Of nodes whose disks have so many bytes for images. */
const onDisk = (bytes: number) => ({
  ground: groundOf([node(String(2 * bytes))], { tolerations: [{ operator: 'Exists' }] }),
  percent: 50,
})
/** Disk of so many images of 100 MB. */
const room = (images: number): number => images * 350e6

describe('overBudget', () => {
  const nobody = new Set<string>()

  it('keeps what is used most, and of the same use what is larger', () => {
    const wanted = set(image('a', 1), image('b', 5), image('c', 3), image('d', 3, 50e6))
    assert.deepEqual([...overBudget({ wanted, held: nobody, ...onDisk(room(2)) })], ['d', 'a'])
    assert.equal(overBudget({ wanted, held: nobody, ...onDisk(0) }).size, 0)
  })

  it('does not exchange what is held for what is used a little more', () => {
    const wanted = set(image('a', 4), image('b', 5))
    const over = (held: ReadonlySet<string>): string =>
      [...overBudget({ wanted, held, ...onDisk(room(1)) })].join()
    assert.equal(over(nobody), 'a')
    assert.equal(over(new Set(['a'])), 'b')
  })

  it('keeps what the user named before all that was found', () => {
    const wanted = set(image('a', 100), { ...image('b', 0), name: 'mine' })
    assert.deepEqual([...overBudget({ wanted, held: nobody, ...onDisk(room(1)) })], ['a'])
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
      fc.property(items, fc.integer({ min: 1, max: 1e10 }), (list, bytes) => {
        const wanted = set(...list)
        const out = overBudget({ wanted, held: nobody, ...onDisk(bytes) })
        const kept = list.filter(({ reference }) => !out.has(reference))
        const sum = kept.reduce((total, { sizeBytes }) => total + sizeBytes * 3.5, 0)
        assert.ok(sum <= bytes)
        const held = new Set(kept.map(({ reference }) => reference))
        const again = overBudget({ wanted, held, ...onDisk(bytes) })
        assert.deepEqual([...again].sort(), [...out].sort())
      }),
      { numRuns: 300 },
    )
  })
})

describe('the disk of a node', () => {
  const demand = { tolerations: [{ key: 'none', operator: 'Exists' }] }
  const leftOut = (nodes: readonly NodeView[] | undefined, percent: number): string => {
    const wanted = set(image('a', 9), image('b', 1))
    const ground = groundOf(nodes, demand)
    return [...overBudget({ wanted, held: new Set(), ground, percent })].join()
  }

  it('is the smallest that is known, of nodes that are served', () => {
    const nodes = [node('100G'), node('1400M'), node(undefined), node('1k', { taint: 'other' })]
    assert.equal(leftOut(nodes, 51), '')
    assert.equal(leftOut(nodes, 49), 'b')
    assert.equal(leftOut(nodes, 100), '')
    assert.equal(leftOut(undefined, 1), '')
  })

  it('has no part in what other nodes alone are to hold', () => {
    const nodes = [node('700M', { arch: 'arm64' }), node('100G', { arch: 'amd64' })]
    const wanted = set(
      { ...image('a', 9), where: 'amd64' },
      { ...image('b', 5), where: 'arm64' },
      image('c', 1),
    )
    const ground = groundOf(nodes, demand)
    assert.deepEqual([...overBudget({ wanted, held: new Set(), ground, percent: 50 })], ['c'])
  })
})
