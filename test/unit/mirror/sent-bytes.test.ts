import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SentBytes } from '../../../src/mirror/sent-bytes.ts'

const image = 'backup.test/app:1'
const mediaType = 'application/vnd.oci.image.manifest.v1+json'

test('what is sent again counts once, and what was there counts not at all', () => {
  const sent = new SentBytes()
  assert.equal(sent.total, 0)
  const blob = { type: 'blob-progress', image, digest: 'sha256:a', bytes: 100 } as const
  for (const each of [40, 80, 20, 60]) sent.note({ ...blob, sent: each })
  assert.equal(sent.total, 80)
  sent.note({ ...blob, digest: 'sha256:b', sent: 7 })
  const manifest = { type: 'manifest-done', image, digest: 'sha256:c', mediaType } as const
  sent.note({ ...manifest, bytes: 5, how: 'present' })
  assert.equal(sent.total, 87)
  sent.note({ ...manifest, bytes: 5, how: 'copied' })
  sent.note({ type: 'blob-done', image, digest: 'sha256:d', bytes: 1000, how: 'mounted' })
  assert.equal(sent.total, 92)
})
