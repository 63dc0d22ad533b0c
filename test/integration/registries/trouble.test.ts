import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  type CopyEvent,
  copyImage,
  createRegistryClient,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { largeImage, manyLayersImage } from '../../cluster/images/large.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { TestRegistryClient } from '../../cluster/registry/client.ts'
import type { Trouble } from '../../cluster/registry/troubled-server.ts'
import { independentTools } from '../../support/independent-tools.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'

const long = process.env.KIP_TEST_LONG === '1'
const missing = await whyNoRegistry()

describe('trouble with a real registry', { skip: missing ?? false }, () => {
  let source: TestRegistry
  let target: TestRegistry
  const image = tinyImage(1, 200_000)
  const layer = image.blobs[1]?.digest ?? ''

  before(async () => {
    source = await startRegistry()
    target = await startRegistry()
    await source.client.push(image, 'a/b', '1')
  })
  after(async () => {
    await source?.close()
    await target?.close()
  })

  const trouble = async (
    troubles: readonly Trouble[],
    look: (client: TestRegistryClient, left: readonly number[]) => Promise<void>,
  ): Promise<void> => {
    await using troubled = await source.troubled(troubles)
    await using client = new TestRegistryClient({ url: `http://${troubled.host}` })
    await look(client, troubled.left)
  }

  test('comes over chosen requests, as often as it was ordered', () =>
    trouble(
      [{ method: 'GET', path: '/manifests/', status: 503, times: 1 }],
      async (client, left) => {
        await assert.rejects(client.manifest('a/b', '1'), /status 503/)
        assert.deepEqual(left, [0])
        assert.equal((await client.manifest('a/b', '1'))?.digest, image.digest)
      },
    ))

  test('truncates and alters bodies where it was told to, and nothing else', () =>
    trouble(
      [
        { path: layer, truncateAfter: 70_000, times: 1 },
        { path: layer, corruptAt: 100_001, times: 1 },
      ],
      async (client) => {
        await assert.rejects(client.blob('a/b', layer))
        const altered = await client.blob('a/b', layer)
        const whole = await client.blob('a/b', layer)
        assert.equal(altered?.length, whole?.length)
        const differs = [...(whole ?? [])].flatMap((byte, i) => (byte === altered?.[i] ? [] : [i]))
        assert.deepEqual(differs, [100_001])
      },
    ))

  const copy = async (
    to: string,
    troubles: { readonly source?: readonly Trouble[]; readonly target?: readonly Trouble[] },
    of: Image = image,
  ): Promise<readonly CopyEvent[]> => {
    await using from = await source.troubled(troubles.source ?? [])
    await using at = await target.troubled(troubles.target ?? [])
    const client = createRegistryClient({
      hosts: () => ({ http: true }),
      retry: { baseMs: 1, maxMs: 5 },
    })
    const events: CopyEvent[] = []
    try {
      const { digest } = await copyImage(
        client,
        { registry: from.host, repository: 'a/b', digest: of.digest },
        { registry: at.host, repository: to, tag: '1' },
        { onEvent: (event) => events.push(event) },
      )
      assert.equal(digest, of.digest)
    } finally {
      await client.close()
    }
    // Every trouble came.
    for (const { left } of [from, at]) assert.ok(left.every((times) => times === 0 || times > 1e6))
    assert.equal((await target.client.manifest(to, '1'))?.digest, of.digest)
    for (const blob of of.blobs) assert.ok(await target.client.hasBlob(to, blob.digest))
    return events
  }

  const overcome: Readonly<Record<string, Parameters<typeof copy>[1]>> = {
    'a source that is slow, limits and fails': {
      source: [
        { delayMs: 30, times: 2, method: 'GET' },
        { status: 429, headers: { 'retry-after': '0' }, times: 1, path: '/blobs/' },
        { status: 503, times: 1, path: '/blobs/' },
      ],
    },
    'a source whose blob breaks off and comes altered': {
      source: [
        { truncateAfter: 90_000, path: layer, times: 1 },
        { corruptAt: 20_000, path: layer, times: 1 },
      ],
    },
    'a target that fails at each kind of request': {
      target: [
        { status: 500, method: 'HEAD', times: 1 },
        { status: 502, method: 'POST', times: 1 },
        { status: 503, method: 'PUT', path: '/blobs/', times: 2 },
        { status: 429, method: 'PUT', path: '/manifests/', times: 1 },
      ],
    },
  }
  for (const [what, troubles] of Object.entries(overcome)) {
    test(`a copy overcomes ${what}`, async () => {
      const events = await copy(`overcome/${Object.keys(overcome).indexOf(what)}`, troubles)
      assert.ok(events.some(({ type }) => type === 'retry' || type === 'image-done'))
    })
  }

  test('a copy that is let in nowhere says so, and moves no tag', async () => {
    const denied = { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }
    await assert.rejects(copy('denied', { target: [denied] }), { code: 'COPY_UNAUTHORIZED' })
    assert.deepEqual(await target.client.tags('denied'), [])
  })

  test('an image of 60 layers arrives through a distant registry', async () => {
    const many = manyLayersImage()
    assert.equal(many.blobs.length, 61)
    await source.client.push(many, 'a/b', 'many')
    await copy('many', { source: [{ delayMs: 20 }], target: [{ delayMs: 20 }] }, many)
    await using tools = await independentTools(target)
    await tools.validate('many', '1', 'whole')
  })

  test('an image of 1 GiB arrives, though its download breaks in the middle', {
    skip: !long && 'only with --long',
  }, async () => {
    const large = largeImage()
    await source.client.push(large, 'a/b', 'large')
    const path = large.blobs[1]?.digest ?? ''
    const broken = { method: 'GET', path, truncateAfter: 600_000_000, times: 1 }
    await copy('large', { source: [broken] }, large)
    await using tools = await independentTools(target)
    await tools.validate('large', '1', 'whole')
  })
})
