import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type FlagBearer, isIgnored, isIgnoredWorkload } from '../../../src/state/flags.ts'

const label: FlagBearer = { labels: { 'images.kip/ignore': 'true' } }
const annotation: FlagBearer = { annotations: { 'images.kip/ignore': 'true' } }

describe('opt-out flag', () => {
  it('counts on a namespace or pod as label and as annotation', () => {
    assert.equal(isIgnored(label), true)
    assert.equal(isIgnored(annotation), true)
    assert.equal(isIgnored({ labels: { 'images.kip/ignore': 'false' } }), false)
    assert.equal(isIgnored({}), false)
    assert.equal(isIgnored(undefined), false)
  })

  it('counts on a workload as label, and in its template as either', () => {
    assert.equal(isIgnoredWorkload(label, undefined), true)
    assert.equal(isIgnoredWorkload(annotation, undefined), false)
    assert.equal(isIgnoredWorkload(undefined, label), true)
    assert.equal(isIgnoredWorkload({}, annotation), true)
    assert.equal(isIgnoredWorkload({}, {}), false)
  })
})
