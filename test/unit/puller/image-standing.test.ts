import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { standingOf } from '../../../src/puller/image-standing.ts'
import { survey } from '../../../src/puller/survey.ts'

const image = 'r.test/a:1'
const none = new Set<string>()

function standing(names: readonly string[]) {
  return standingOf({
    plan: { seen: survey([], []), places: new Map(), waiting: none, beyond: none },
    images: new Map([[image, names]]),
    known: [{ reference: image }],
    out: none,
    refused: none,
    beside: new Map(),
  }).get(image)
}

describe('standingOf', () => {
  it('says nothing while it is not known how many nodes there are', () => {
    assert.equal(standing([image]), undefined)
  })

  it('says of an image that no node can run that none is to have it', () => {
    assert.equal(standing([])?.desired, 0)
  })
})
