import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { placeOf, rememberPlaces } from '../../../src/decide/place.ts'
import { createMapping } from '../../../src/images/mapping.ts'

const mapping = createMapping({ registry: 'backup.test/mirror', mapping: 'path' })

describe('the place of a copy', () => {
  test('follows from the reference as it was written', () => {
    const place = placeOf('nginx:1', mapping)
    assert.equal(place?.text, 'docker.io/library/nginx:1')
    assert.equal(place?.copyText, 'backup.test/mirror/docker.io/library/nginx:1')
    assert.equal(placeOf('no reference', mapping), undefined)
    assert.deepEqual(placeOf(place?.copyText ?? '', mapping)?.copyText, undefined)
  })

  test('is remembered, in a bounded memory', () => {
    let asked = 0
    const places = rememberPlaces({
      ...mapping,
      backupOf: (source) => {
        asked++
        return mapping.backupOf(source)
      },
    })
    assert.deepEqual(places('nginx:1'), placeOf('nginx:1', mapping))
    assert.equal(places('nginx:1'), places('nginx:1'))
    assert.equal(asked, 1)
    // More than it keeps: it begins anew, and goes on giving right answers.
    for (let index = 0; index < 3_000; index++) {
      assert.equal(places(`nginx:${index}`)?.text, `docker.io/library/nginx:${index}`)
    }
    assert.equal(places(`${'a'.repeat(600)}:1`), undefined)
  })
})
