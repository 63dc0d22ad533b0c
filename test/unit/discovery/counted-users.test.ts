import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { CountedUsers } from '../../../src/discovery/counted-users.ts'
import type { ImageState } from '../../../src/state/cached-image.ts'
import { silentLog } from '../../support/silent-log.ts'

const limits = { images: 2, bytes: 1000 }

describe('users within the limits of their namespaces', () => {
  let users: Map<string, readonly string[]>
  let sizes: Map<string, number>
  let log: ReturnType<typeof silentLog>
  let counted: CountedUsers
  beforeEach(() => {
    users = new Map()
    sizes = new Map()
    log = silentLog()
    counted = new CountedUsers({
      inventory: {
        usersOf: (reference, counts) => {
          const namespaces = (users.get(reference) ?? []).filter(counts)
          return { pods: 0, workloads: namespaces.length, namespaces, owners: [] }
        },
      },
      store: {
        get: (reference) => {
          const sizeBytes = sizes.get(reference)
          if (sizeBytes === undefined) return undefined
          return { source: { digest: `sha256:${reference}`, sizeBytes } } as unknown as ImageState
        },
      },
      excluded: (namespace) => namespace === 'kube-system',
      limits,
      log,
    })
  })
  const warned = (): number => log.lines.filter(({ level }) => level === 'warn').length

  it('are none in a namespace that is excluded', () => {
    users.set('a', ['kube-system', 'shop'])
    assert.deepEqual(counted.of('a').users.namespaces, ['shop'])
  })

  it('are turned away beyond the limit, which is told once, and again after there was room', () => {
    for (const image of ['a', 'b', 'c', 'd']) users.set(image, ['shop'])
    const turnedAway = ['a', 'b', 'c', 'd', 'c'].map((image) => counted.of(image).turnedAway)
    assert.deepEqual(turnedAway, [false, false, true, true, true])
    assert.equal(warned(), 1)

    users.delete('a')
    users.delete('d')
    assert.deepEqual(counted.of('a').moved, ['c', 'd'])
    counted.of('d')
    assert.equal(counted.of('c').turnedAway, false)
    users.set('d', ['shop'])
    assert.equal(counted.of('d').turnedAway, true)
    assert.equal(warned(), 2)
  })

  it('are told anew of a namespace that was emptied, or deleted, and made again', () => {
    sizes.set('a', limits.bytes + 1)
    for (const namespaces of [['shop'], [], ['shop']]) {
      users.set('a', namespaces)
      counted.of('a')
    }
    assert.equal(warned(), 2)
  })

  it('may be too many for their namespace by one image that is larger than its share', () => {
    sizes.set('small', 500)
    sizes.set('large', 501)
    assert.deepEqual(
      ['small', 'large', 'unknown'].map((image) => counted.isLarge(image)),
      [false, true, false],
    )
  })
})
