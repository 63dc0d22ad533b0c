import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fairShare } from '../../../src/state/fair-share.ts'

const of = (...names: readonly string[]) =>
  names.map((name) => ({ namespace: name.slice(0, 1), name }))
const taken = (names: readonly string[], most: number): string =>
  fairShare(of(...names), most)
    .taken.map(({ name }) => name)
    .join(' ')

describe('a fair share', () => {
  it('is all, as it comes, where that is not too much', () => {
    assert.equal(taken(['a1', 'a2', 'b1'], 3), 'a1 a2 b1')
    assert.equal(fairShare(of('a1', 'a2', 'b1'), 3).greediest, undefined)
    assert.deepEqual(fairShare([], 0), { taken: [] })
  })

  it('is the same for each namespace, but for those that ask for less', () => {
    const names = ['a1', 'a2', 'a3', 'a4', 'b1', 'c1', 'c2', 'c3']
    assert.equal(taken(names, 2), 'a1 b1')
    assert.equal(taken(names, 6), 'a1 b1 c1 a2 c2 a3')
    assert.equal(fairShare(of(...names), 6).greediest, 'a')
  })
})
