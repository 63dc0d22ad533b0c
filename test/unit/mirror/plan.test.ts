import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planMirror, retryDelay } from '../../../src/mirror/plan.ts'
import type { ImageState, Mirror } from '../../../src/state/cached-image.ts'

const registry = 'backup.test:5001'
const reference = 'backup.test:5001/docker.io/library/nginx:1'
const digest = `sha256:${'a'.repeat(64)}`
const older = `sha256:${'b'.repeat(64)}`
const now = Date.parse('2026-01-01T00:00:00Z')

function image(entry?: Omit<Mirror, 'registry' | 'reference'>): ImageState {
  return {
    reference: 'docker.io/library/nginx:1',
    name: 'nginx',
    requested: false,
    resourceVersion: '1',
    source: { state: 'Available', digest, checkedAt: '2026-01-01T00:00:00Z' },
    mirrors: entry ? [{ registry, reference, ...entry }] : [],
    conditions: [],
  }
}

function plan(
  state: ImageState,
  decision = { act: true, code: 'Mirror', text: '' },
  isDoubted = false,
) {
  return planMirror({
    image: state,
    decision,
    registry,
    reference,
    liveWorkers: new Set(['leader/2']),
    isDoubted,
    now,
  })
}

test('an image without a copy becomes pending', () => {
  assert.deepEqual(plan(image()), { registry, reference, state: 'Pending' })
})

test('a verified copy of the digest that the source has now is left alone', () => {
  assert.equal(plan(image({ state: 'Verified', digest })), undefined)
})

test('a verified copy that is in doubt is looked at again, and pods go on starting from it meanwhile', () => {
  const doubted = plan(image({ state: 'Verified', digest }), undefined, true)
  assert.deepEqual(doubted, { registry, reference, state: 'Pending', digest })
})

test('a verified copy that is in doubt is looked at while the source is away, too', () => {
  const away = { act: false, code: 'SourceUnreachable', text: '' }
  assert.equal(plan(image({ state: 'Verified', digest }), away, true)?.state, 'Pending')
  assert.equal(plan(image({ state: 'Verified', digest }), away), undefined)
})

test('a claim of a worker that is gone does not look like work while the source is away', () => {
  const decision = { act: false, code: 'SourceUnreachable', text: 'its registry does not answer' }
  const entry = plan(image({ state: 'Copying', worker: 'leader/1', digest }), decision)
  assert.equal(entry?.state, 'Failed')
  assert.equal(entry?.code, 'SourceUnreachable')
  assert.equal(entry?.digest, digest)
  assert.equal(entry?.worker, undefined)
  assert.equal(
    plan(image({ state: 'Failed', digest }))?.state,
    'Pending',
    'until the source is back',
  )
  assert.equal(plan(image({ state: 'Copying', worker: 'leader/2' }), decision), undefined)
})

test('a moved tag is copied again, and the digest that pods start from stays meanwhile', () => {
  assert.deepEqual(plan(image({ state: 'Verified', digest: older })), {
    registry,
    reference,
    state: 'Pending',
    digest: older,
  })
})

test('a claim holds as long as its worker lives', () => {
  assert.equal(plan(image({ state: 'Copying', worker: 'leader/2' })), undefined)
})

test('a claim of a worker that is gone is given back', () => {
  assert.equal(plan(image({ state: 'Copying', worker: 'leader/1' }))?.state, 'Pending')
  assert.equal(plan(image({ state: 'Copying' }))?.state, 'Pending')
})

test('a failed copy waits until its retry is due, and keeps count', () => {
  const at = (ms: number) => new Date(now + ms).toISOString()
  assert.equal(plan(image({ state: 'Failed', attempts: 3, retryAt: at(1) })), undefined)
  assert.deepEqual(plan(image({ state: 'Failed', attempts: 3, retryAt: at(0) })), {
    registry,
    reference,
    state: 'Pending',
    attempts: 3,
  })
})

test('an image that needs credentials is blocked once, and its old copy is not forgotten', () => {
  const decision = { act: false, code: 'NeedsCredentials', text: 'origin asks for credentials' }
  assert.deepEqual(plan(image({ state: 'Verified', digest: older }), decision), {
    registry,
    reference,
    state: 'Blocked',
    digest: older,
    code: 'NeedsCredentials',
    message: 'origin asks for credentials',
  })
  const standing = image({ state: 'Blocked', code: 'NeedsCredentials', digest: older })
  assert.equal(plan(standing, decision), undefined)
})

test('a copy at another place, as of a changed mapping, is no copy of this one', () => {
  const moved = {
    ...image({ state: 'Verified', digest }),
    mirrors: [
      { registry, reference: 'backup.test:5001/old:1', state: 'Verified' as const, digest },
    ],
  }
  assert.deepEqual(plan(moved), { registry, reference, state: 'Pending' })
})

test('a copy that was blocked by an answer of its source is tried again when its time has come', () => {
  const blocked = (ms: number) =>
    image({ state: 'Blocked', code: 'NeedsCredentials', retryAt: new Date(now + ms).toISOString() })
  assert.equal(plan(blocked(1)), undefined)
  assert.equal(plan(blocked(0))?.state, 'Pending')
})

test('what is not to be mirrored for any other reason is left as it is', () => {
  const decision = { act: false, code: 'NotWanted', text: 'nobody uses it' }
  assert.equal(plan(image(), decision), undefined)
  assert.equal(plan(image({ state: 'Verified', digest: older }), decision), undefined)
})

test('waits double up to an hour, spread over their upper half, and never undercut Retry-After', () => {
  assert.equal(retryDelay(1, 0), 7_500)
  assert.equal(retryDelay(1, 0.999999), 15_000)
  assert.equal(retryDelay(2, 0), 15_000)
  assert.equal(retryDelay(30, 0), 1_800_000)
  assert.equal(retryDelay(1, 0, 60_000), 60_000)
})

test('a Retry-After of years keeps a copy waiting for a day', () => {
  assert.equal(retryDelay(1, 0, 999_999_999_000), 86_400_000)
})
