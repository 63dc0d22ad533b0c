import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { attestationOf, type Image, imageOf, indexOf, layerOf } from '../../cluster/images/image.ts'
import { readLayout, writeLayout } from '../../cluster/images/layout.ts'
import { tar } from '../../cluster/images/tar.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'

const entries = [{ kind: 'file', path: '/hello', content: 'world' }] as const
const amd64 = { os: 'linux', architecture: 'amd64' }

function digest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

function content(image: Image) {
  return JSON.parse(image.bytes.toString())
}

describe('an image', () => {
  it('names its parts by digest, size and type', async () => {
    const image = imageOf({
      layers: [layerOf(entries)],
      config: { Cmd: ['/hello'] },
      platform: amd64,
    })
    assert.equal(image.mediaType, 'application/vnd.oci.image.manifest.v1+json')
    assert.equal(image.digest, digest(image.bytes))
    const [config, layer] = await Promise.all(image.blobs.map((blob) => blob.read()))
    assert.ok(config && layer)
    assert.deepEqual(content(image), {
      schemaVersion: 2,
      mediaType: image.mediaType,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: digest(config),
        size: config.length,
      },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
          digest: digest(layer),
          size: layer.length,
        },
      ],
    })
    assert.deepEqual(gunzipSync(layer), tar(entries))
    const { os, architecture, rootfs, config: run } = JSON.parse(config.toString())
    assert.deepEqual({ os, architecture, run }, { ...amd64, run: { Cmd: ['/hello'] } })
    assert.deepEqual(rootfs, { type: 'layers', diff_ids: [digest(tar(entries))] })
  })

  it('is the same whenever it is made', () => {
    const make = () => imageOf({ layers: [layerOf(entries)], platform: amd64 })
    assert.equal(make().digest, make().digest)
    assert.equal(tinyImage(5).digest, tinyImage(5).digest)
    assert.notEqual(tinyImage(5).digest, tinyImage(6).digest)
  })

  it('can have zstd layers', async () => {
    const layer = layerOf(entries, 'zstd')
    assert.equal(layer.mediaType, 'application/vnd.oci.image.layer.v1.tar+zstd')
    assert.deepEqual(zstdDecompressSync(await layer.blob.read()), tar(entries))
  })

  it("has Docker's names in Docker's format, which knows no zstd", () => {
    const image = imageOf({ layers: [layerOf(entries)], format: 'docker' })
    assert.equal(image.mediaType, 'application/vnd.docker.distribution.manifest.v2+json')
    const { config, layers } = content(image)
    assert.equal(config.mediaType, 'application/vnd.docker.container.image.v1+json')
    assert.equal(layers[0].mediaType, 'application/vnd.docker.image.rootfs.diff.tar.gzip')
    assert.throws(
      () => imageOf({ layers: [layerOf(entries, 'zstd')], format: 'docker' }),
      /a Docker image has no layers of .*zstd/,
    )
  })
})

describe('an index', () => {
  const image = imageOf({ layers: [layerOf(entries)], platform: amd64 })

  it('lists images with their platforms, and attestations as BuildKit does', () => {
    const index = indexOf([{ image, platform: amd64 }, attestationOf(image)])
    assert.equal(index.mediaType, 'application/vnd.oci.image.index.v1+json')
    const [first, second] = content(index).manifests
    assert.deepEqual(first, {
      mediaType: image.mediaType,
      digest: image.digest,
      size: image.bytes.length,
      platform: amd64,
    })
    assert.deepEqual(second.platform, { os: 'unknown', architecture: 'unknown' })
    assert.deepEqual(second.annotations, {
      'vnd.docker.reference.digest': image.digest,
      'vnd.docker.reference.type': 'attestation-manifest',
    })
    const attestation = index.children[1]
    assert.ok(attestation)
    assert.equal(content(attestation).layers[0].mediaType, 'application/vnd.in-toto+json')
  })

  it('comes back whole from an image layout on disk', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kip-layout-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const index = indexOf([{ image, platform: amd64 }, attestationOf(image)])
    await writeLayout(folder, index, 'v1')
    const found = await readLayout(folder)
    assert.deepEqual(found.bytes, index.bytes)
    assert.deepEqual(
      found.children.map(({ bytes }) => bytes),
      index.children.map(({ bytes }) => bytes),
    )
    for (const name of readdirSync(join(folder, 'blobs', 'sha256')))
      assert.equal(digest(readFileSync(join(folder, 'blobs', 'sha256', name))), `sha256:${name}`)
    for (const blob of found.children.flatMap(({ blobs }) => blobs))
      assert.equal((await blob.read()).length, blob.size)
    assert.ok(existsSync(join(folder, 'oci-layout')))
  })
})
