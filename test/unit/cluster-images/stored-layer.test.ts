import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { sha256 } from '../../cluster/images/image.ts'
import { storedLayer } from '../../cluster/images/stored-layer.ts'

test('a stored layer is a gzip of a tar, as its digests say, and nothing shrinks it', async () => {
  const bytes = 200_000
  const layer = storedLayer('some layer', bytes)
  const packed = await layer.blob.read()
  assert.equal(packed.length, layer.blob.size)
  assert.equal(sha256(packed), layer.blob.digest)
  const archive = gunzipSync(packed)
  assert.equal(sha256(archive), layer.diffId)
  assert.equal(archive.length % 512, 0)
  assert.equal(archive.toString('latin1', 0, 10), 'some layer')
  assert.equal(Number.parseInt(archive.toString('latin1', 124, 135), 8), bytes)
  assert.equal(archive.toString('latin1', 257, 262), 'ustar')
  assert.ok(packed.length > bytes)
})

test('the same name and size give the same layer, others another', () => {
  const layer = storedLayer('a', 1000)
  assert.deepEqual(storedLayer('a', 1000).blob.digest, layer.blob.digest)
  assert.notEqual(storedLayer('b', 1000).blob.digest, layer.blob.digest)
  assert.notEqual(storedLayer('a', 1001).blob.digest, layer.blob.digest)
})
