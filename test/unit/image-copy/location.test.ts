import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { resolveLocation } from '../../../src/image-copy/src/registry/location.ts'
import { Resource } from '../../../src/image-copy/src/registry/resource.ts'

const registry = { name: 'r.example:5000', base: new URL('http://r.example:5000/') }
const asked = '/v2/a/b/blobs/uploads/'

/** Whom the request to where an answer sent us asks, and for what. */
function next(from: Resource, location: string) {
  const { place, same } = resolveLocation(from, location)
  const { target, host } = new Resource(registry, 'a/b', place)
  return { same, target, host }
}

describe('locations', () => {
  const own = { same: true, host: 'r.example:5000' }
  const cases: readonly [string, { same: boolean; host: string; target: string }][] = [
    [
      '/v2/a/b/blobs/uploads/1?_state=x%2F',
      { ...own, target: '/v2/a/b/blobs/uploads/1?_state=x%2F' },
    ],
    ['http://r.example:5000/u?_state=x', { ...own, target: '/u?_state=x' }],
    ['HTTP://R.example:5000/u', { ...own, target: '/u' }],
    ['1', { ...own, target: '/v2/a/b/blobs/uploads/1' }],
    ['?x', { ...own, target: '/v2/a/b/blobs/uploads/?x' }],
    ['/u#fragment', { ...own, target: '/u' }],
    ['/u v', { ...own, target: '/u%20v' }],
    ['/u\r\nX: y', { ...own, target: '/uX:%20y' }],
    ['http://r.example:50001/u', { same: false, host: 'r.example:50001', target: '/u' }],
    [
      'http://r.example:5000.evil.example/u',
      { same: false, host: 'r.example:5000.evil', target: '' },
    ],
    ['//evil.example/u', { same: false, host: 'evil.example', target: '/u' }],
    ['/\\evil.example/u', { same: false, host: 'evil.example', target: '/u' }],
    ['http://r.example:5000//evil.example/u', { ...own, target: '//evil.example/u' }],
    ['https://r.example:5000/u', { same: false, host: 'r.example:5000', target: '/u' }],
  ]
  for (const [location, expected] of cases) {
    test(`of the registry to ${JSON.stringify(location)}`, () => {
      const from = new Resource(registry, 'a/b', asked)
      if (expected.target === '')
        assert.throws(() => resolveLocation(from, location), { code: 'COPY_REDIRECT_REFUSED' })
      else assert.deepEqual(next(from, location), expected)
    })
  }

  test('of another server are that server’s', () => {
    const from = new Resource(registry, 'a/b', new URL('http://cdn.example/x/y'))
    assert.deepEqual(next(from, '/z'), { same: true, host: 'cdn.example', target: '/z' })
    const back = { same: false, host: 'r.example:5000', target: '/z' }
    assert.deepEqual(next(from, 'http://r.example:5000/z'), back)
  })
})
