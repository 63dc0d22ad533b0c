import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type StandingInput, standingOf } from '../../../src/puller/image-standing.ts'
import type { PodView } from '../../../src/puller/pod-view.ts'
import { type Survey, survey } from '../../../src/puller/survey.ts'
import type { Verdict } from '../../../src/puller/verdict.ts'
import type { Nodes } from '../../../src/state/cached-image.ts'

const image = 'r.test/a:1'
const copy = 'copy.test/r.test/a:1@sha256:0'
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

  describe('of an image whose copy the nodes are asked for', () => {
    const asked = new Map([[copy, 'fresh' as const]])
    const reason = (seen: Survey, names = [copy], last?: Nodes, places = asked) =>
      standing(
        names,
        { seen, places },
        { known: [{ reference: image, ...(last && { nodes: last }) }] },
      )?.reason
    const unpulled = standing([copy], { seen: look(['failed', 'pending']), places: asked })

    it('says that no node could pull it, be it that others still try', () => {
      assert.deepEqual(
        [unpulled?.reason, unpulled?.failed, unpulled?.pulling],
        ['CopyNotPulled', 1, 1],
      )
      assert.equal(reason(look(['failed', 'failed']), [copy, image]), 'CopyNotPulled')
    })

    it('says nothing of the kind once one node has it, or before any tried', () => {
      assert.equal(reason(look(['failed', 'started']), [copy], unpulled), undefined)
      assert.equal(reason(look(['pending', 'pending'])), undefined)
    })

    it('says so until one has it, also while new pods have nothing to say', () => {
      assert.equal(reason(look(['pending', 'pending']), [copy], unpulled), 'CopyNotPulled')
      assert.equal(reason(look(['pending']), [copy], unpulled, new Map()), undefined)
    })

    it('says so of no source that fails', () => {
      assert.equal(reason(look(['failed'], image), [image], unpulled), undefined)
      assert.equal(reason(look(['failed'], image), [copy, image]), undefined)
    })

    it('says nothing of the kind of one that was pulled and cannot be mounted', () => {
      const mounted = look(['failed'], copy, false, 'CreateContainerError')
      assert.equal(reason(mounted), undefined)
    })

    it('counts no node that cannot run the sleep image', () => {
      assert.equal(reason(look(['pending'], copy, true)), undefined)
    })
  })
})

/** What one node each says of a reference. */
function look(
  verdicts: readonly Verdict[],
  reference = copy,
  isBlocked = false,
  why = 'ErrImagePull',
): Survey {
  const failure = { reason: why, message: 'unauthorized' }
  const shard = {
    ...{ name: 'kip', object: 'kip', revision: 0, kind: 'fresh' as const, index: 1 },
    members: [{ container: 'a', reference }],
    ...{ uid: 'u', resourceVersion: '1', fingerprint: 'f', template: 't', created: '' },
    ...{ generation: 1, observedGeneration: 1, desired: verdicts.length, ready: 0 },
    ...{ updated: verdicts.length, deleting: false, pullSecrets: [], formerSecrets: [] },
  }
  const pods = verdicts.map(
    (verdict, index): PodView => ({
      ...{ name: `kip-${index}`, shard: 'kip', node: `n${index}`, template: 't', lost: false },
      ...{ ready: false, images: [reference], containers: ['a'], verdicts: [verdict] },
      failures: new Map(verdict === 'failed' ? [[0, failure]] : []),
      ...(isBlocked && { blocked: failure }),
    }),
  )
  return survey([shard], pods)
}
