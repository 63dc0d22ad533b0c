import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CopyOptions,
  type CopyResult,
  copyImage,
  createRegistryClient,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { digestOf, noise, sampleImage } from '../../support/sample-images.ts'

const ociIndex = 'application/vnd.oci.image.index.v1+json'
const image = sampleImage({ layers: [noise('around', 100)] })
const plainTag = image.digest.replace(':', '-')
let source: FakeRegistry
let target: FakeRegistry

beforeEach(async () => {
  source = await FakeRegistry.start()
  target = await FakeRegistry.start()
  await source.client.push(image, 'a/b', 'v1')
})
afterEach(async () => {
  await source.close()
  await target.close()
})

async function copy(options: CopyOptions): Promise<CopyResult> {
  const client = createRegistryClient({ hosts: () => ({ http: true }) })
  try {
    const to = { registry: target.host, repository: 'c/d', tag: 'v1' }
    return await copyImage(
      client,
      { registry: source.host, repository: 'a/b', tag: 'v1' },
      to,
      options,
    )
  } finally {
    await client.close()
  }
}

describe('cosign’s tags', () => {
  for (const suffix of ['sig', 'att', 'sbom'])
    test(`of an image: .${suffix} is taken along`, async () => {
      const signature = sampleImage({ layers: [noise(suffix, 10)] })
      const tag = `${plainTag}.${suffix}`
      await source.client.push(signature, 'a/b', tag)
      await copy({ signatureTags: true })
      assert.deepEqual([...target.repository('c/d').tags].sort(), [
        [tag, signature.digest],
        ['v1', image.digest],
      ])
    })

  test('of an image and of what signs it are all taken along', async () => {
    const made = ['sig', 'att', 'sbom'].map((suffix) => ({
      suffix,
      signature: sampleImage({ layers: [noise(suffix, 10)] }),
    }))
    const wanted: (readonly [string, string])[] = [['v1', image.digest]]
    for (const { suffix, signature } of made) {
      wanted.push([`${plainTag}.${suffix}`, signature.digest])
      const own = sampleImage({ layers: [noise(`of ${suffix}`, 10)] })
      wanted.push([`${signature.digest.replace(':', '-')}.sig`, own.digest])
      await source.client.push(signature, 'a/b', `${plainTag}.${suffix}`)
      await source.client.push(own, 'a/b', `${signature.digest.replace(':', '-')}.sig`)
    }
    await copy({ referrers: true })
    assert.deepEqual([...target.repository('c/d').tags].sort(), wanted.sort())
  })
})

describe('a list of referrers', () => {
  /** More of them than a copy takes by itself. */
  const all = { referrers: true, signatureTags: false, maxReferrers: 10_000 }
  const indexOf = (count: number): Buffer =>
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: ociIndex,
        manifests: Array.from({ length: count }, (_, i) => ({
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest: digestOf(Buffer.from(`${i}`)),
          size: 100,
        })),
      }),
    )
  const answer = (response: ServerResponse, count: number, next?: number): void => {
    const link =
      next === undefined
        ? {}
        : { link: `</v2/a/b/referrers/${image.digest}?page=${next}>; rel="next"` }
    response.writeHead(200, { 'content-type': ociIndex, ...link }).end(indexOf(count))
  }
  /** Serves pages of so many entries each. @returns how many were asked for */
  const servePages = (entries: number, pages: number): (() => number) => {
    let asked = 0
    source.interceptor = ({ url = '' }, response) => {
      if (!url.includes('/referrers/')) return false
      asked += 1
      const page = Number(/page=(\d+)/.exec(url)?.[1] ?? 1)
      answer(response, entries, page < pages ? page + 1 : undefined)
      return true
    }
    return () => asked
  }

  test('of a hundred pages is read to its end', async () => {
    const asked = servePages(0, 100)
    await copy(all)
    assert.equal(asked(), 100)
    assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
  })

  test('of which each page leads to another new one is refused', async () => {
    const asked = servePages(0, Number.POSITIVE_INFINITY)
    await assert.rejects(copy(all), {
      code: 'COPY_MANIFEST_INVALID',
      message: /its pages do not end$/,
    })
    assert.equal(asked(), 100)
    assert.equal(target.repository('c/d').tags.size, 0)
  })

  const tooLong = { code: 'COPY_MANIFEST_INVALID', message: /it has more than 5000 entries$/ }

  test('with more entries than anybody has is refused, in one page or several', async () => {
    for (const [entries, pages] of [
      [5001, 1],
      [2501, 2],
    ] as const) {
      servePages(entries, pages)
      await assert.rejects(copy(all), tooLong)
    }
    // As many are taken for a list; what they name is then not there.
    servePages(2500, 2)
    await assert.rejects(copy(all), { code: 'COPY_NOT_FOUND' })
  })

  test('kept under a tag has the same bound', async () => {
    const { manifests, tags } = source.repository('a/b')
    for (const [count, error] of [
      [5001, tooLong],
      [5000, { code: 'COPY_NOT_FOUND' }],
    ] as const) {
      const bytes = indexOf(count)
      manifests.set(digestOf(bytes), { bytes, mediaType: ociIndex })
      tags.set(plainTag, digestOf(bytes))
      await assert.rejects(copy(all), error)
    }
  })
})
