import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CopyEvent,
  type CopyOptions,
  copyImage,
  createRegistryClient,
  planCopy,
  type RegistryClient,
  RegistryError,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { FakeRegistry, fail } from '../../support/fake-registry.ts'
import { noise, sampleArtifact, sampleImage, sampleIndex } from '../../support/sample-images.ts'

const one = sampleImage({ layers: [noise('shared', 900), noise('one', 3000)] })
const two = sampleImage({
  layers: [noise('shared', 900), noise('two', 2000)],
  platform: 'linux/arm64',
})
const index = sampleIndex([
  { image: one, platform: 'linux/amd64' },
  { image: two, platform: 'linux/arm64' },
])
const sbom = sampleArtifact(one, 'application/spdx+json', 'sbom')
const signature = sampleImage({ layers: [noise('signature', 50)] })
const signatureTag = `${one.digest.replace(':', '-')}.sig`
const otherDigest = `sha256:${'0'.repeat(64)}`

let source: FakeRegistry
let target: FakeRegistry

beforeEach(async () => {
  source = await FakeRegistry.start({ referrersApi: true, sparse: true })
  target = await FakeRegistry.start({ referrersApi: true, sparse: true })
})
afterEach(async () => {
  await source.close()
  await target.close()
})

const from = () => ({ registry: source.host, repository: 'a/b', tag: 'v1' })
const to = () => ({ registry: target.host, repository: 'c/d', tag: 'v1' })

/** With a client of its own, so that nothing that another one saw counts. */
async function withClient<T>(work: (client: RegistryClient) => Promise<T>): Promise<T> {
  const client = createRegistryClient({
    hosts: (host) =>
      host === 'docker.io' ? { http: true, mirrors: [source.host] } : { http: true },
    retry: { baseMs: 1, maxMs: 2 },
  })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

interface Situation {
  readonly image: Image
  /** Of the source, besides the image. */
  readonly around?: boolean
  /** Brings the target to where the copy begins. */
  readonly held?: () => Promise<unknown>
  readonly options?: CopyOptions
  readonly to?: { readonly tag?: string; readonly digest?: string }
}

const hold = (image: Image, tag?: string) => target.client.push(image, 'c/d', tag)
const lose = (image: Image): void => {
  assert.ok(target.repository('c/d').blobs.delete(image.blobs[2]?.digest ?? ''))
}
const arm64 = { platforms: ['linux/arm64'] }
const falselyEmpty = {
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest: otherDigest,
  size: 0,
}
const situations: Readonly<Record<string, Situation>> = {
  'an image that is new': { image: one },
  'an index whose images share a layer': { image: index },
  'one platform of an index': { image: index, options: arm64 },
  'one platform, which is there': {
    image: index,
    held: () => hold(index, 'v1'),
    options: arm64,
  },
  'a platform that the image is not for': { image: one, options: arm64 },
  'an image that is there': { image: index, held: () => hold(index, 'v1') },
  'an image that is there under another tag': { image: index, held: () => hold(index, 'v2') },
  'an image that is there under its old name': {
    image: one,
    held: () => hold(one, 'v1'),
    to: { tag: 'v2' },
  },
  'an index of which one image is there': { image: index, held: () => hold(one, 'v2') },
  'an image whose tag is another': { image: one, held: () => hold(two, 'v1') },
  'an image whose digest the target names': { image: one, to: { digest: one.digest } },
  'another image than the target names': { image: one, to: { digest: otherDigest } },
  'another image than the target names, and holds': {
    image: one,
    held: () => hold(one, 'v1'),
    to: { digest: otherDigest },
  },
  'a lost layer, rechecked': {
    image: one,
    held: async () => {
      await hold(one, 'v1')
      lose(one)
    },
    options: { recheck: true },
  },
  'a lost layer of one platform, rechecked': {
    image: index,
    held: async () => {
      await hold(index, 'v1')
      lose(two)
    },
    options: { recheck: true },
  },
  'an image with a blob that is falsely empty': {
    image: sampleImage({ layers: [], foreign: [falselyEmpty] }),
  },
  'an image with what is around it': {
    image: one,
    around: true,
    options: { referrers: true },
  },
  'an image that is there, without what is around it': {
    image: one,
    around: true,
    held: () => hold(one, 'v1'),
    options: { referrers: true },
  },
  'an image that is there, with what is around it': {
    image: one,
    around: true,
    held: async () => {
      await hold(one, 'v1')
      await hold(sbom)
      await hold(signature, signatureTag)
    },
    options: { referrers: true },
  },
}

describe('a plan', () => {
  const outcome = async (work: Promise<object>): Promise<object> =>
    work.catch((error: unknown) => {
      if (!(error instanceof RegistryError)) throw error
      return { code: error.code, message: error.message }
    })

  for (const [name, { image, around, held, options, to: target_ }] of Object.entries(situations)) {
    test(`of ${name} tells what the copy then does, and writes nothing`, async () => {
      await source.client.push(image, 'a/b', 'v1')
      if (around) {
        await source.client.push(sbom, 'a/b')
        await source.client.push(signature, 'a/b', signatureTag)
      }
      await held?.()
      target.takeLog()
      const goal = { ...to(), ...target_ }
      const planned = await withClient((client) => outcome(planCopy(client, from(), goal, options)))
      const asked = target.takeLog().map((line) => line.split(' ')[0] ?? '')
      assert.deepEqual(
        asked.filter((method) => method !== 'HEAD' && method !== 'GET'),
        [],
      )
      const copied = await withClient((client) =>
        outcome(
          copyImage(client, from(), goal, options).then(({ mounted, ...rest }) => {
            assert.equal(mounted, 0)
            return { ...rest, upToDate: rest.bytes === 0 }
          }),
        ),
      )
      assert.deepEqual(planned, copied)
    })
  }

  test('of content that is there costs the bytes of its manifest only', async () => {
    await source.client.push(index, 'a/b', 'v1')
    await hold(index, 'v2')
    const { bytes, blobs, upToDate } = await withClient((client) => planCopy(client, from(), to()))
    assert.deepEqual([bytes, blobs, upToDate], [index.bytes.length, 0, false])
  })

  test('tells of each image, of retries and of few pulls, and of no bytes', async () => {
    await source.client.push(one, 'a/b', 'v1')
    let refused = false
    source.interceptor = (_request, response) => {
      response.setHeader('ratelimit-limit', '100;w=21600')
      response.setHeader('ratelimit-remaining', '7;w=21600')
      if (refused) return false
      refused = true
      fail(response, 503, 'UNAVAILABLE')
      return true
    }
    const events: CopyEvent[] = []
    const onEvent = (event: CopyEvent): void => void events.push(event)
    await withClient((client) => planCopy(client, from(), to(), { onEvent }))
    const types = events.map(({ type }) => type)
    assert.deepEqual([types[0], types.at(-1)], ['image-started', 'image-done'])
    assert.deepEqual(
      new Set(types.slice(1, -1)),
      new Set<CopyEvent['type']>(['retry', 'rate-limit']),
    )
  })

  test('tells which image could not be read', async () => {
    const types: string[] = []
    const onEvent = ({ type }: CopyEvent): void => void types.push(type)
    const plan = withClient((client) => planCopy(client, from(), to(), { onEvent }))
    await assert.rejects(plan, { code: 'COPY_NOT_FOUND' })
    assert.deepEqual(types, ['image-started', 'image-failed'])
  })
})

describe('a plan from Docker Hub, which counts each GET of a manifest', () => {
  const hub = () => ({ ...from(), registry: 'docker.io' })
  const pulls = (): string[] =>
    source.takeLog().filter((line) => line.startsWith('GET') && line.includes('/manifests/'))

  test('costs no pull where the target is up to date', async () => {
    await source.client.push(index, 'a/b', 'v1')
    await hold(index, 'v1')
    source.takeLog()
    const plan = await withClient((client) => planCopy(client, hub(), to()))
    assert.equal(plan.upToDate, true)
    assert.deepEqual(pulls(), [])
  })

  test('costs a pull for the image, and none for its parts that are there', async () => {
    await source.client.push(index, 'a/b', 'v1')
    await hold(one, 'v2')
    source.takeLog()
    await withClient((client) => planCopy(client, hub(), to()))
    assert.deepEqual(pulls(), [
      'GET /v2/a/b/manifests/v1 200',
      `GET /v2/a/b/manifests/${two.digest} 200`,
    ])
  })
})
