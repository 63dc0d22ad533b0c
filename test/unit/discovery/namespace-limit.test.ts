import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Content, NamespaceLimit } from '../../../src/discovery/namespace-limit.ts'

const none = new Set<string>()
const limitTo = (images: number, bytes = 1e9, contents: Map<string, Content> = new Map()) =>
  new NamespaceLimit({ images, bytes }, (reference) => contents.get(reference))

describe('namespace limit', () => {
  it('turns away what comes last, namespace by namespace', () => {
    const limit = limitTo(2)
    assert.deepEqual(
      ['a', 'b', 'c'].map((image) => limit.take('shop', image)),
      [true, true, false],
    )
    assert.equal(limit.take('shop', 'a'), true)
    assert.equal(limit.take('lone', 'c'), true)
    assert.deepEqual([...limit.exceeding('shop')], ['c'])
    assert.equal(limit.exceeding('lone').size, 0)
  })

  it('has room again when an image goes, and says for whom', () => {
    const limit = limitTo(1)
    limit.take('shop', 'a')
    limit.take('shop', 'b')
    limit.keepOnly('a', new Set(['shop']))
    assert.deepEqual(limit.drain(), [])
    limit.keepOnly('a', none)
    assert.deepEqual(limit.drain(), ['b'])
    assert.deepEqual(limit.drain(), [])
    assert.equal(limit.take('shop', 'b'), true)
    assert.equal(limit.exceeding('shop').size, 0)
  })

  it('forgets who waited in vain', () => {
    const limit = limitTo(1)
    limit.take('shop', 'a')
    limit.take('shop', 'b')
    limit.keepOnly('b', none)
    assert.deepEqual(limit.drain(), [])
    assert.equal(limit.exceeding('shop').size, 0)
  })

  it('has two images that nobody uses not make room for each other without end', () => {
    const contents = new Map(
      ['a', 'b', 'c'].map((image) => [image, { digest: image, bytes: 4 }] as const),
    )
    const limit = limitTo(9, 10, contents)
    for (const image of ['a', 'b']) {
      limit.take('shop', image)
      limit.keep('shop', image)
    }
    assert.equal(limit.take('shop', 'c'), true)
    assert.deepEqual(limit.drain(), ['a'])
    assert.equal(limit.keep('shop', 'a'), false)
    assert.deepEqual(limit.drain(), [])
    assert.equal(limit.keep('shop', 'b'), true)
  })

  it('counts what is merely kept, of which the oldest goes for what is used', () => {
    const limit = limitTo(2)
    for (const image of ['a', 'b']) limit.take('shop', image)
    assert.deepEqual(
      ['b', 'a', 'b'].map((image) => limit.keep('shop', image)),
      [true, true, true],
    )
    assert.equal(limit.keep('shop', 'c'), false, 'nothing goes for what nobody uses')
    assert.equal(limit.take('shop', 'c'), true)
    assert.deepEqual(limit.drain(), ['b'])
    assert.equal(limit.keep('shop', 'b'), false)
    assert.equal(limit.take('shop', 'a'), true)
    assert.equal(limit.take('shop', 'b'), false, 'both are in use')
    assert.deepEqual([...limit.exceeding('shop')], ['b'])
    assert.equal(limit.keep('shop', 'a'), false, 'another waits for the place')
    limit.keepOnly('a', none)
    assert.deepEqual(limit.drain(), ['b'])
    assert.equal(limit.take('shop', 'b'), true)
    assert.deepEqual([...limit.holders('b')], ['shop'])
  })

  it('keeps no more bytes than there may be', () => {
    const contents = new Map<string, Content>()
    for (const [name, bytes] of [
      ['a', 50],
      ['b', 40],
      ['c', 50],
      ['large', 101],
    ] as const) {
      contents.set(name, { digest: name, bytes })
    }
    const limit = limitTo(10, 100, contents)
    for (const image of ['a', 'b']) {
      assert.equal(limit.take('shop', image), true)
      assert.equal(limit.keep('shop', image), true)
    }
    assert.equal(limit.take('shop', 'c'), true)
    assert.deepEqual(limit.drain(), ['a'])
    assert.equal(limit.keep('shop', 'c'), true)
    contents.set('c', { digest: 'c', bytes: 70 })
    assert.equal(limit.keep('shop', 'c'), true)
    assert.deepEqual(limit.drain(), ['b'])
    assert.equal(limit.keep('lone', 'large'), false)
    assert.deepEqual([...limit.holders('large')], [])
  })

  it('turns away by bytes, when sizes come to be known, those that came last', () => {
    const contents = new Map<string, Content>()
    const limit = limitTo(10, 100, contents)
    for (const image of ['a', 'b', 'c']) assert.equal(limit.take('shop', image), true)
    contents.set('b', { digest: 'b', bytes: 60 })
    assert.equal(limit.take('shop', 'b'), true)
    contents.set('c', { digest: 'c', bytes: 30 })
    assert.equal(limit.take('shop', 'c'), true)
    assert.deepEqual(limit.drain(), [])
    // The first is larger than was thought: it came first, and others go for it.
    contents.set('a', { digest: 'a', bytes: 50 })
    assert.equal(limit.take('shop', 'a'), true)
    assert.deepEqual(limit.drain(), ['b'])
    assert.equal(limit.take('shop', 'b'), false)
    assert.equal(limit.take('shop', 'c'), true)
    limit.drain()
    limit.keepOnly('a', none)
    assert.deepEqual(limit.drain(), ['b'])
    assert.equal(limit.take('shop', 'b'), true)
  })

  it('counts two names of one digest once', () => {
    const content = { digest: 'same', bytes: 80 }
    const limit = limitTo(
      10,
      100,
      new Map([
        ['a:1', content],
        ['a:latest', content],
        ['b', { digest: 'b', bytes: 40 }],
      ]),
    )
    assert.equal(limit.take('shop', 'a:1'), true)
    assert.equal(limit.take('shop', 'a:latest'), true)
    assert.equal(limit.take('shop', 'b'), false)
  })
})
