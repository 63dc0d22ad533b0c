import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Users } from '../../../src/discovery/inventory.ts'
import { isCountsOnly, planUsage, type UsageInput } from '../../../src/discovery/usage.ts'
import type { ImageState, Usage } from '../../../src/state/cached-image.ts'

const now = Date.parse('2026-03-01T12:00:00.000Z')
const at = (seconds: number): string => new Date(now + seconds * 1000).toISOString()
const nobody: Users = { pods: 0, workloads: 0, namespaces: [], owners: [] }
const owner = { kind: 'Deployment', namespace: 'shop', name: 'web' }
const somebody: Users = { pods: 2, workloads: 1, namespaces: ['shop'], owners: [owner] }
const inUse: Usage = {
  wanted: ['InUse'],
  pods: 2,
  workloads: 1,
  namespaces: 1,
  owners: [owner],
  firstSeen: at(-500),
}
const unused: Usage = { ...inUse, pods: 0, workloads: 0, namespaces: 0, owners: [] }
/** It is known whose return it is kept for. */
const kept: Usage = { ...unused, owners: [owner] }

function image(usage?: Usage, requested = false): ImageState {
  return {
    reference: 'quay.io/a/b:1',
    name: 'b',
    requested,
    resourceVersion: '1',
    mirrors: [],
    conditions: [],
    ...(usage === undefined ? {} : { usage }),
  }
}

function plan(change: Partial<UsageInput>): ReturnType<typeof planUsage> {
  return planUsage({
    users: nobody,
    image: undefined,
    isStatic: false,
    optedOut: false,
    keepSeconds: 100,
    now,
    ...change,
  })
}

describe('plan of usage', () => {
  const put = (usage: Usage, recheckAt?: number): unknown => ({
    action: 'put',
    usage,
    ...(recheckAt === undefined ? {} : { recheckAt }),
  })
  const nothing = { ...unused, firstSeen: at(0) }
  const cases: [string, Partial<UsageInput>, unknown][] = [
    ['nobody ever', {}, { action: 'none' }],
    ['new users', { users: somebody }, put({ ...inUse, firstSeen: at(0) })],
    ['users that stay', { users: somebody, image: image(inUse) }, put(inUse)],
    [
      'the last user goes',
      { image: image(inUse) },
      put({ ...kept, lastSeen: at(0) }, now + 100_000),
    ],
    [
      'gone for a while',
      { image: image({ ...kept, lastSeen: at(-40) }) },
      put({ ...kept, lastSeen: at(-40) }, now + 60_000),
    ],
    ['gone for long', { image: image({ ...kept, lastSeen: at(-100) }) }, { action: 'remove' }],
    ['used again', { users: somebody, image: image({ ...kept, lastSeen: at(-40) }) }, put(inUse)],
    ['opted out', { optedOut: true, image: image(inUse) }, { action: 'remove' }],
    [
      'opted out after it was unused',
      { optedOut: true, image: image({ ...unused, lastSeen: at(-40) }) },
      put({ ...unused, lastSeen: at(-40) }, now + 60_000),
    ],
    ['not to be kept', { keepSeconds: 0, image: image(inUse) }, { action: 'remove' }],
    ['static', { isStatic: true }, put({ ...nothing, wanted: ['Static'] })],
    [
      'static and in use',
      { isStatic: true, users: somebody },
      put({ ...inUse, wanted: ['InUse', 'Static'], firstSeen: at(0) }),
    ],
    ['static no more', { image: image({ ...unused, wanted: ['Static'] }) }, { action: 'remove' }],
    ['requested', { image: image(undefined, true) }, put({ ...nothing, wanted: ['Requested'] })],
    [
      'requested, in use until now',
      { image: image({ ...inUse, wanted: ['InUse', 'Requested'] }, true) },
      put({ ...kept, wanted: ['InUse', 'Requested'], lastSeen: at(0) }, now + 100_000),
    ],
    [
      'requested, unused for long',
      { image: image({ ...kept, wanted: ['InUse', 'Requested'], lastSeen: at(-200) }, true) },
      put({ ...unused, wanted: ['Requested'] }),
    ],
    ['an object of kip without users or usage', { image: image() }, { action: 'remove' }],
  ]
  for (const [what, change, expected] of cases) {
    it(what, () => assert.deepEqual(plan(change), expected))
  }

  it('tells news that can wait from news that cannot', () => {
    assert.equal(isCountsOnly(inUse, { ...inUse, pods: 3 }), true)
    assert.equal(isCountsOnly(undefined, inUse), false)
    assert.equal(isCountsOnly(inUse, { ...inUse, wanted: ['InUse', 'Static'] }), false)
    assert.equal(isCountsOnly(inUse, { ...unused, lastSeen: at(0) }), false)
  })
})
