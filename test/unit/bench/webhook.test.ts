import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createReviewer } from '../../../src/admission/reviewer.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { Pod } from '../../../src/kube/types.ts'
import { chooseCases } from '../../bench/harness/case.ts'
import { cases } from '../../bench/webhook/cases.ts'
import { imagesOfSize, podReview } from '../../bench/webhook/pod-review.ts'
import { mirroredIn, settings } from '../../support/admission-world.ts'

describe('the bench of the webhook', () => {
  test('posts a pod of 7 KB whose three images are rewritten', () => {
    const review = podReview()
    assert.ok(review.length > 6_800 && review.length < 7_400, `${review.length} bytes`)
    const registry = 'backup.example.com:5001/mirror'
    const { digests } = imagesOfSize(registry, 10)
    const mapping = createMapping({ registry, mapping: 'path' })
    const decide = createReviewer({
      store: {
        get: (reference) => mirroredIn(mapping, reference, digests[reference] ?? assert.fail()),
      },
      exclusions: { excluded: () => false },
      mapping,
      settings,
    })
    const pod: Pod = JSON.parse(review).request.object
    const { images } = decide({ pod }, 'shop')
    assert.deepEqual(
      images.map(({ code }) => code),
      ['Rewritten', 'Rewritten', 'Rewritten'],
    )
  })

  test('knows as many images as it says', () => {
    const { digests } = imagesOfSize('backup.example.com', 10_000)
    assert.equal(Object.keys(digests).length, 10_000)
  })

  test('refuses a name that no case has', () => {
    assert.equal(chooseCases(cases, '').length, cases.length)
    assert.deepEqual(
      chooseCases(cases, 'long').map(({ name }) => name),
      ['long'],
    )
    assert.throws(() => chooseCases(cases, 'nothing'), /there are review, long, many-images/)
    const bulk = ['bulk', 'bulk-far', 'large'].map((name) => ({ name }))
    assert.deepEqual(chooseCases(bulk, 'bulk'), [{ name: 'bulk' }])
    assert.deepEqual(chooseCases(bulk, 'bul'), [{ name: 'bulk' }, { name: 'bulk-far' }])
  })
})
