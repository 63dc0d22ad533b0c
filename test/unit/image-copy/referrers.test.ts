import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fallbackTag } from '../../../src/image-copy/src/registry/referrers.ts'

test('the fallback tag of referrers is that of the specification, for long digests too', () => {
  assert.equal(fallbackTag(`sha256:${'a'.repeat(64)}`), `sha256-${'a'.repeat(64)}`)
  assert.equal(fallbackTag(`sha512:${'b'.repeat(128)}`), `sha512-${'b'.repeat(64)}`)
})
