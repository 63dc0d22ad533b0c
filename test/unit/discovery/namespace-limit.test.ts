import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NamespaceLimit } from '../../../src/discovery/namespace-limit.ts'

const none = new Set<string>()

describe('namespace limit', () => {
  it('turns away what comes last, namespace by namespace', () => {
    const limit = new NamespaceLimit(2)
    assert.deepEqual(
      ['a', 'b', 'c'].map((image) => limit.take('shop', image)),
      [true, true, false],
    )
    assert.equal(limit.take('shop', 'a'), true)
    assert.equal(limit.take('lone', 'c'), true)
    assert.equal(limit.exceeding('shop'), 1)
    assert.equal(limit.exceeding('lone'), 0)
  })

  it('has room again when an image goes, and says for whom', () => {
    const limit = new NamespaceLimit(1)
    limit.take('shop', 'a')
    limit.take('shop', 'b')
    assert.deepEqual(limit.keepOnly('a', new Set(['shop'])), [])
    assert.deepEqual(limit.keepOnly('a', none), ['b'])
    assert.equal(limit.take('shop', 'b'), true)
    assert.equal(limit.exceeding('shop'), 0)
  })

  it('forgets who waited in vain', () => {
    const limit = new NamespaceLimit(1)
    limit.take('shop', 'a')
    limit.take('shop', 'b')
    assert.deepEqual(limit.keepOnly('b', none), [])
    assert.equal(limit.exceeding('shop'), 0)
  })
})
