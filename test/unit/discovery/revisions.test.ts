import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Used } from '../../../src/discovery/reader.ts'
import { Revisions } from '../../../src/discovery/revisions.ts'

const revision = (name: string, number: number, atRest = true, owner = 'Deployment shop/web') =>
  ({
    key: `ReplicaSet shop/${name}`,
    owner,
    ignored: false,
    references: [name],
    invalid: [],
    asksStore: false,
    revision: { number, atRest },
  }) satisfies Used & { key: string }

const put = (revisions: Revisions, { key, ...used }: Used & { key: string }): void =>
  revisions.set(key, used)

describe('revisions', () => {
  const start = (kept: number): { revisions: Revisions; counted: () => string } => {
    const objects = new Map<string, Used>()
    const revisions = new Revisions(kept, {
      set: (key, used) => objects.set(key, used),
      delete: (key) => objects.delete(key),
    })
    const counted = (): string =>
      [...objects.values()]
        .flatMap(({ references }) => references)
        .sort()
        .join()
    return { revisions, counted }
  }

  it('count as many before the current one as are kept, in any order', () => {
    const { revisions, counted } = start(2)
    for (const number of [2, 10, 1, 9]) put(revisions, revision(`v${number}`, number))
    put(revisions, revision('v11', 11, false))
    assert.equal(counted(), 'v10,v11,v9')
  })

  it('count the current one of a workload without replicas as the current one', () => {
    const { revisions, counted } = start(1)
    for (const number of [1, 2, 3]) put(revisions, revision(`v${number}`, number))
    assert.equal(counted(), 'v2,v3')
  })

  it('count while they have pods, whatever their age', () => {
    const { revisions, counted } = start(0)
    for (const number of [1, 2, 3]) put(revisions, revision(`v${number}`, number, number === 2))
    assert.equal(counted(), 'v1,v3')
    put(revisions, revision('v1', 1))
    assert.equal(counted(), 'v3')
  })

  it('follow a rollback, which makes an old one the newest', () => {
    const { revisions, counted } = start(1)
    for (const number of [1, 2, 3]) put(revisions, revision(`v${number}`, number, number !== 3))
    assert.equal(counted(), 'v2,v3')
    put(revisions, revision('v1', 4, false))
    put(revisions, revision('v3', 3))
    assert.equal(counted(), 'v1,v3')
  })

  it('make room when one is deleted or changes its owner', () => {
    const { revisions, counted } = start(1)
    for (const number of [1, 2, 3, 4]) put(revisions, revision(`v${number}`, number))
    assert.equal(counted(), 'v3,v4')
    revisions.delete('ReplicaSet shop/v4')
    assert.equal(counted(), 'v2,v3')
    put(revisions, revision('v3', 3, true, 'Deployment shop/another'))
    assert.equal(counted(), 'v1,v2,v3')
    const { revision: _, ...orphan } = revision('v2', 2, true, '')
    put(revisions, orphan)
    put(revisions, revision('v5', 5))
    assert.equal(counted(), 'v1,v2,v3,v5')
  })

  it('leave everything else as it is', () => {
    const { revisions, counted } = start(0)
    const { revision: _, ...pod } = revision('pod', 0)
    put(revisions, pod)
    assert.equal(counted(), 'pod')
    revisions.delete(pod.key)
    assert.equal(counted(), '')
  })
})
