import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type StandingInput, standingOf } from '../../../src/puller/image-standing.ts'
import { survey } from '../../../src/puller/survey.ts'

const image = 'r.test/a:1'
const none = new Set<string>()
const some = new Set([image])

function standing(
  names: readonly string[],
  plan: Partial<StandingInput['plan']> = {},
  more: Partial<StandingInput> = {},
) {
  return standingOf({
    plan: { seen: survey([], []), places: new Map(), waiting: none, beyond: none, ...plan },
    images: new Map([[image, names]]),
    known: [{ reference: image }],
    out: none,
    altered: none,
    refused: none,
    maybePrivate: none,
    beside: new Map(),
    ...more,
  }).get(image)
}

describe('standingOf', () => {
  it('says nothing while it is not known how many nodes there are', () => {
    assert.equal(standing([image]), undefined)
  })

  it('says of an image that no node can run that none is to have it', () => {
    assert.equal(standing([])?.desired, 0)
  })

  it('says why an image is left out, the narrowest limit first', () => {
    const nodes = { desired: 2, cached: 0, pulling: 2, failed: 0, failures: [] }
    const known = [{ reference: image, nodes }]
    const names = [image, 'copy.test/a:1']
    const reason = (plan: Partial<StandingInput['plan']>, more: Partial<StandingInput> = {}) =>
      standing(names, plan, { known, ...more })?.reason
    assert.equal(reason({}), undefined)
    assert.equal(reason({ waiting: some }), 'NoRoom')
    assert.equal(reason({ waiting: some, beyond: some }), 'NoEtcd')
    assert.equal(reason({ waiting: some, beyond: some }, { out: some }), 'NoDisk')
    assert.equal(reason({}, { out: some, altered: some }), 'Altered')
    const left = standing([], {}, { known, images: new Map(), maybePrivate: some })
    assert.deepEqual([left?.desired, left?.reason], [0, 'MaybePrivate'])
  })
})
