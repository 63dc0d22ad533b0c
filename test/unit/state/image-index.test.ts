import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ImageIndex } from '../../../src/state/image-index.ts'
import type { StoredImage } from '../../../src/state/object.ts'

function object(
  name: string,
  uid: string,
  version: number,
  reference = 'quay.io/a:1',
): StoredImage {
  const identity = { name, resourceVersion: String(version), createdAt: '2026-01-01T00:00:00Z' }
  const image = { ...identity, reference, requested: false, mirrors: [], conditions: [] }
  return { ...identity, uid, managed: true, written: reference, image }
}

describe('image index', () => {
  it('ends at the newest version in whatever order they come', () => {
    const versions = fc.uniqueArray(fc.integer({ min: 1, max: 2_000 }), { minLength: 1 })
    fc.assert(
      fc.property(versions, (versions) => {
        const index = new ImageIndex(() => {})
        for (const version of versions) index.put(object('n', 'u', version))
        assert.equal(index.get('quay.io/a:1')?.resourceVersion, String(Math.max(...versions)))
      }),
    )
  })

  it('tells of each version once', () => {
    const told: string[] = []
    const index = new ImageIndex((reference) => told.push(reference))
    index.put(object('n', 'u', 9))
    index.put(object('n', 'u', 10))
    index.put(object('n', 'u', 10))
    index.put(object('n', 'u', 9))
    assert.equal(told.length, 2)
  })

  it('does not bring back what we deleted when the watch is behind', () => {
    const index = new ImageIndex(() => {})
    index.put(object('n', 'old', 5))
    index.deleted('n', 'old')
    index.put(object('n', 'old', 6))
    assert.equal(index.get('quay.io/a:1'), undefined)
    index.put(object('n', 'new', 8))
    index.delete('n', 'old')
    assert.equal(index.get('quay.io/a:1')?.resourceVersion, '8')
  })

  it('follows an object that stands for another reference, as only a new one can', () => {
    const told: string[] = []
    const index = new ImageIndex((reference) => told.push(reference))
    index.put(object('n', 'one', 5, 'quay.io/a:1'))
    index.put(object('n', 'two', 7, 'quay.io/b:1'))
    assert.equal(index.get('quay.io/a:1'), undefined)
    assert.ok(index.get('quay.io/b:1'))
    assert.deepEqual(told, ['quay.io/a:1', 'quay.io/a:1', 'quay.io/b:1'])
  })

  it('takes what a list tells over what was known before, whatever its version', () => {
    const told: string[] = []
    const index = new ImageIndex((reference) => told.push(reference))
    const same = object('same', 'u3', 9, 'quay.io/c:1')
    index.put(object('n', 'u1', 9))
    index.put(object('lost', 'u2', 8, 'quay.io/b:1'))
    index.put(same)
    told.length = 0
    index.listing()
    index.put(object('n', 'u1', 5))
    index.listed([object('n', 'u1', 5), { ...same }])
    assert.equal(index.get('quay.io/a:1')?.resourceVersion, '5')
    assert.equal(index.get('quay.io/b:1'), undefined)
    assert.deepEqual(told, ['quay.io/a:1', 'quay.io/b:1'])
  })

  it('keeps what was written, made or deleted while a list was under way', () => {
    const index = new ImageIndex(() => {})
    index.put(object('n', 'u1', 9))
    index.put(object('gone', 'u2', 8, 'quay.io/b:1'))
    index.listing()
    index.put(object('n', 'u1', 12))
    index.put(object('made', 'u3', 13, 'quay.io/c:1'))
    index.deleted('gone', 'u2')
    index.listed([object('n', 'u1', 10), object('gone', 'u2', 8, 'quay.io/b:1')])
    assert.equal(index.get('quay.io/a:1')?.resourceVersion, '12')
    assert.ok(index.get('quay.io/c:1'))
    assert.equal(index.get('quay.io/b:1'), undefined)
  })

  it('brings back what we deleted when a list tells of it that was asked for later', () => {
    const index = new ImageIndex(() => {})
    index.put(object('n', 'u', 5))
    index.deleted('n', 'u')
    index.listing()
    index.put(object('n', 'u', 4))
    index.listed([object('n', 'u', 4)])
    assert.ok(index.get('quay.io/a:1'))
  })
})
