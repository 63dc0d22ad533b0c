import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PodUse } from '../../../src/discovery/pod.ts'
import { findPullIdentities } from '../../../src/discovery/pull-identities.ts'

const image = 'r.test/a:1'

function pod(pullSecrets: readonly string[], ignored = false): PodUse {
  const used = { references: [image], invalid: [], owner: '', ignored, asksStore: false }
  const shape = {
    ...{ used, images: [], pullSecrets, serviceAccount: 'default', waiting: [] },
  }
  return { shape: shape as unknown as PodUse['shape'], node: '' }
}

describe('the pull secrets of an image’s pods', () => {
  it('are told by namespace, each set once, of those alone that count', () => {
    const wanted = new Map([[image, new Set(['a', 'b'])]])
    const pods = [
      ['b/one', pod(['login'])],
      ['a/one', pod(['login', 'more'])],
      ['a/two', pod(['login', 'more'])],
      ['a/three', pod([])],
      ['a/out', pod(['opted-out'], true)],
      ['a/out-by-workload', pod(['opted-out'])],
      ['excluded/one', pod(['login'])],
    ] as const
    const found = findPullIdentities(wanted, pods, (name) => name !== 'a/out-by-workload')
    assert.deepEqual(found.get(image)?.taken, [
      { namespace: 'a', secrets: [] },
      { namespace: 'a', secrets: ['login', 'more'] },
      { namespace: 'b', secrets: ['login'] },
    ])
  })

  it('are told of each namespace, however many another one has', () => {
    const names = ['z/one', ...Array.from({ length: 200 }, (_, i) => `a/${i}`), 'b/one']
    const pods = names.map((name) => [name, pod([`login-${name}`])] as const)
    const wanted = new Map([[image, new Set(['a', 'b', 'z'])]])
    const found = findPullIdentities(wanted, pods, () => true).get(image)
    const namespaces = found?.taken.map(({ namespace }) => namespace) ?? []
    assert.equal(namespaces.length, 64)
    assert.deepEqual(namespaces.slice(-3), ['a', 'b', 'z'])
    assert.equal(found?.greediest, 'a')
  })

  it('are bounded', () => {
    const many = Array.from({ length: 200 }, (_, i) => ['a/p', pod([`s${i}`])] as const)
    const wanted = new Map([[image, new Set(['a'])]])
    assert.equal(findPullIdentities(wanted, many, () => true).get(image)?.taken.length, 64)
  })
})
