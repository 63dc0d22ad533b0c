import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { typeLabel } from '../../../src/puller/cramped.ts'
import { groundOf, unknownGround } from '../../../src/puller/ground.ts'
import { projectNode } from '../../../src/puller/node-view.ts'
import { overRoom } from '../../../src/puller/room.ts'
import type { Where } from '../../../src/puller/shard.ts'
import type { Wanted } from '../../../src/puller/wanted.ts'

const nobody = new Set<string>()
const mixed = groundOf(
  ['amd64', 'arm64'].map((architecture) =>
    projectNode({
      metadata: { name: architecture, labels: { 'kubernetes.io/arch': architecture } },
    }),
  ),
  {},
)

const tight = groundOf(
  [
    ['amd64', '110'],
    ['arm64', '11'],
  ].map(([architecture = '', pods = '']) =>
    projectNode({
      metadata: {
        name: architecture,
        labels: { 'kubernetes.io/arch': architecture, [typeLabel]: architecture },
      },
      status: { capacity: { pods } },
    }),
  ),
  {},
)

const image = (index: number, more: Partial<Wanted> = {}): Wanted => ({
  reference: `r.test/${String(index).padStart(4, '0')}:1`,
  bestEffort: false,
  ...more,
})
const many = (count: number, more: Partial<Wanted> = {}, from = 0): readonly Wanted[] =>
  Array.from({ length: count }, (_, index) => image(from + index, more))
const set = (...items: readonly Wanted[]): ReadonlyMap<string, Wanted> =>
  new Map(items.map((item) => [item.reference, item]))
const capacity = () => 50
/** How many find no room, with 50 a shard, of whatever kind. */
const over = (items: readonly Wanted[], podsPerNode = 3, ground = unknownGround) =>
  overRoom({
    ...{ wanted: set(...items), held: nobody, podsPerNode, ground },
    capacity,
  })

describe('overRoom', () => {
  it('leaves room for what all pods but one hold, and what that one has beside them', () => {
    assert.equal(over(many(149)).size, 0)
    assert.deepEqual([...over(many(151))], ['r.test/0149:1', 'r.test/0150:1'])
    assert.equal(over(many(149), 2).size, 50)
  })

  it('takes images of another kind or place for those of other shards', () => {
    const originals = many(51, { bestEffort: true }, 500)
    assert.equal(over([...many(51), ...originals]).size, 2, '51 take both shards, 49 are beside')
    assert.equal(over([...many(50), ...originals]).size, 0)
    const arm = many(60, { where: 'arm64' }, 500)
    assert.equal(over([...many(60), ...arm], 3, mixed).size, 11)
    assert.equal(over([...many(60), ...arm], 3, tight).size, 0, 'few pods: none of that place')
    const amd = many(60, { where: 'amd64' })
    assert.equal(over([...amd, ...arm], 3, mixed).size, 0, 'no node has both')
  })

  it('leaves out what is worth least, best-effort names first and named images last', () => {
    const named = image(1, { name: 'mine' })
    const used = image(2, { uses: 5 })
    const items = [named, used, ...many(97, { uses: 1 }, 100), image(900), image(901)]
    assert.deepEqual([...over([...items], 2)], ['r.test/0900:1', 'r.test/0901:1'])
    const original = image(3, { bestEffort: true, uses: 100 })
    assert.ok(over([...items, original], 2).has(original.reference))
  })

  it('is at rest once its own choice is held, whatever there is', () => {
    const items = fc.uniqueArray(
      fc.record({
        reference: fc.nat({ max: 999 }).map((index) => image(index).reference),
        bestEffort: fc.boolean(),
        uses: fc.nat({ max: 9 }),
        where: fc.constantFrom<Where>('', 'amd64', 'arm64'),
      }),
      { selector: ({ reference }) => reference, minLength: 80, maxLength: 400, size: 'max' },
    )
    fc.assert(
      fc.property(items, fc.integer({ min: 2, max: 5 }), (list, podsPerNode) => {
        const wanted = set(...list)
        const look = (held: ReadonlySet<string>) =>
          overRoom({
            wanted,
            held,
            podsPerNode,
            capacity,
            ground: mixed,
          })
        const out = look(nobody)
        const kept = list.filter(({ reference }) => !out.has(reference))
        for (const architecture of mixed.architectures) {
          const there = kept.filter(({ where }) => where === '' || where === architecture)
          assert.ok(there.length <= 50 * podsPerNode)
        }
        const again = look(new Set(kept.map(({ reference }) => reference)))
        assert.deepEqual([...again].sort(), [...out].sort())
      }),
      { numRuns: 200 },
    )
  })
})
