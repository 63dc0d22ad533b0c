import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  copyImage,
  createRegistryClient,
  type RegistryClient,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleArtifact, sampleImage, sampleIndex } from '../../support/sample-images.ts'

describe('a recheck, of a tag that is right', () => {
  let source: FakeRegistry
  let target: FakeRegistry
  let client: RegistryClient

  beforeEach(async () => {
    source = await FakeRegistry.start({ referrersApi: true })
    target = await FakeRegistry.start({ referrersApi: true })
    client = createRegistryClient({ hosts: () => ({ http: true }) })
  })
  afterEach(async () => {
    await client.close()
    await source.close()
    await target.close()
  })

  const one = sampleImage({ layers: [noise('one', 3000)] })
  const two = sampleImage({ layers: [noise('two', 2000)], platform: 'linux/arm64' })
  const index = sampleIndex([
    { image: one, platform: 'linux/amd64' },
    { image: two, platform: 'linux/arm64' },
  ])
  const layerOf = (image: Image): string => image.blobs[1]?.digest ?? ''
  const pushBoth = async (image: Image, tag?: string): Promise<void> => {
    await source.client.push(image, 'a/b', tag)
    await target.client.push(image, 'c/d', tag)
  }
  const copy = (options = {}) =>
    copyImage(
      client,
      { registry: source.host, repository: 'a/b', tag: 'v1' },
      { registry: target.host, repository: 'c/d', tag: 'v1' },
      { recheck: true, ...options },
    )
  const lose = (image: Image): void => {
    assert.ok(target.repository('c/d').blobs.delete(layerOf(image)))
  }
  const requireWhole = async (image: Image): Promise<void> => {
    const { blobs } = target.repository('c/d')
    for (const blob of image.blobs) assert.ok(blobs.get(blob.digest)?.equals(await blob.read()))
  }

  test('sends a layer that the target lost of one platform', async () => {
    await pushBoth(index, 'v1')
    lose(two)
    const { blobs, bytes } = await copy()
    assert.deepEqual([blobs, bytes], [1, 2000])
    await requireWhole(two)
  })

  test('sends a layer that the target lost of the platform asked for', async () => {
    await pushBoth(index, 'v1')
    lose(two)
    assert.equal((await copy({ platforms: ['linux/arm64'] })).blobs, 1)
    await requireWhole(two)
  })

  test('sends what the target lost of a referrer', async () => {
    const sbom = sampleArtifact(one, 'application/spdx+json', 'sbom')
    await pushBoth(one, 'v1')
    await pushBoth(sbom)
    lose(sbom)
    assert.equal((await copy({ referrers: true })).blobs, 1)
    await requireWhole(sbom)
  })

  test('sends what the target lost of a signature', async () => {
    const signature = sampleImage({ layers: [noise('signature', 50)] })
    await pushBoth(one, 'v1')
    await pushBoth(signature, `${one.digest.replace(':', '-')}.sig`)
    lose(signature)
    assert.equal((await copy({ signatureTags: true })).blobs, 1)
    await requireWhole(signature)
  })

  test('writes nothing where every part is there', async () => {
    const signature = sampleImage({ layers: [noise('signature', 50)] })
    await pushBoth(index, 'v1')
    await pushBoth(signature, `${index.digest.replace(':', '-')}.sig`)
    target.takeLog()
    const { bytes, blobs, skipped } = await copy({ referrers: true })
    assert.deepEqual([bytes, blobs, skipped], [0, 0, 6])
    assert.deepEqual(
      target.takeLog().filter((line) => line.startsWith('PUT')),
      [],
    )
  })
})
