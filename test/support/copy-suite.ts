import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  copyImage,
  copyImages,
  createRegistryClient,
  describeImage,
  formatReference,
  type ImageReference,
  planCopy,
  type RegistryClient,
  type RegistryClientOptions,
  RegistryError,
  resolveDigest,
  verifyImage,
} from '../../src/image-copy/src/index.ts'
import {
  attestationOf,
  type Compression,
  type Image,
  imageOf,
  indexOf,
  type Layer,
  layerOf,
  type Platform,
} from '../cluster/images/image.ts'
import type { TestRegistryClient } from '../cluster/registry/client.ts'
import type { IndependentTools } from './independent-tools.ts'
import { digestOf, noise, sampleArtifact, sampleImage, sampleIndex } from './sample-images.ts'

/** A registry as the behaviour below needs it, whether real or made here. */
export interface SuiteRegistry {
  readonly host: string
  /** Fills it and looks into it without the copier. */
  readonly client: TestRegistryClient
}

export interface SuiteWorld {
  readonly source: SuiteRegistry
  readonly target: SuiteRegistry
  readonly options: RegistryClientOptions
  /** Judge what the target holds; of real registries. */
  readonly independent?: IndependentTools
  /** The target takes blobs from its other repositories. */
  readonly mounts: boolean
  /** The target keeps blobs by sha512, and not by sha256 whatever they are called. */
  readonly sha512: boolean
  /** Requests that the target has answered since the last call, as `METHOD path status`. */
  readonly targetLog: () => Promise<string[]>
}

let names = 0

/** What every registry must see of the copier; registers its tests with node:test. */
export function copySuite(world: () => SuiteWorld): void {
  const fresh = (): {
    name: string
    from: (tag: string) => ImageReference
    to: (tag: string) => ImageReference
  } => {
    names += 1
    const name = `suite/case${names}`
    return {
      name,
      from: (tag) => ({ registry: world().source.host, repository: name, tag }),
      to: (tag) => ({ registry: world().target.host, repository: `copy/${name}`, tag }),
    }
  }
  const withClient = async (work: (client: RegistryClient) => Promise<void>): Promise<void> => {
    const client = createRegistryClient(world().options)
    try {
      await work(client)
    } finally {
      await client.close()
    }
  }
  /** Byte for byte, seen through another client. */
  const requireSame = async (
    image: Image,
    repository: string,
    reference: string,
  ): Promise<void> => {
    const { client } = world().target
    const held = await client.manifest(repository, reference)
    assert.ok(held, `${repository} ${reference} is missing`)
    assert.ok(held.bytes.equals(image.bytes), 'the manifest has other bytes')
    assert.equal(held.mediaType, image.mediaType)
    for (const blob of image.blobs) {
      const bytes = await client.blob(repository, blob.digest)
      assert.ok(
        bytes?.equals(await blob.read()),
        `blob ${blob.digest} is missing or has other bytes`,
      )
    }
    for (const child of image.children) await requireSame(child, repository, child.digest)
  }

  const layer = (name: string, bytes: number, compression?: Compression): Layer =>
    layerOf([{ kind: 'file', path: `/${name}`, content: noise(name, bytes) }], compression)
  const amd64: Platform = { os: 'linux', architecture: 'amd64' }
  const arm64: Platform = { os: 'linux', architecture: 'arm64' }
  /** What crane makes of them: it unpacks gzip layers of images, and nothing else. */
  const samples: Readonly<Record<string, readonly ['whole' | 'fast' | 'no', () => Image]>> = {
    'an OCI image': ['whole', () => imageOf({ layers: [layer('oci', 300_000), layer('two', 10)] })],
    'a Docker schema 2 image': [
      'whole',
      () => imageOf({ layers: [layer('docker', 70_000)], format: 'docker' }),
    ],
    'an image with zstd layers': ['fast', () => imageOf({ layers: [layer('zstd', 5000, 'zstd')] })],
    'an image with one layer twice and an empty one': [
      'whole',
      () => imageOf({ layers: [layer('twice', 4000), layer('twice', 4000), layerOf([])] }),
    ],
    'an image with a blob of no bytes': [
      'no',
      () => sampleImage({ layers: [noise('full', 4000), Buffer.alloc(0)] }),
    ],
    'an image of 40 layers': [
      'whole',
      () => imageOf({ layers: Array.from({ length: 40 }, (_, i) => layer(`many${i}`, 2000 + i)) }),
    ],
    'an image with a layer of 8 MiB': [
      'whole',
      () => imageOf({ layers: [layer('large', 8 * 1024 * 1024 + 7)] }),
    ],
    'an index of platforms with attestations': [
      'fast',
      () => {
        const [one, two] = [
          imageOf({ layers: [layer('amd64', 9000)], platform: amd64 }),
          imageOf({ layers: [layer('arm64', 8000)], platform: arm64 }),
        ]
        return indexOf([
          { image: one, platform: amd64 },
          { image: two, platform: arm64 },
          attestationOf(one),
          attestationOf(two),
        ])
      },
    ],
    'a Docker manifest list': [
      'whole',
      () => {
        const layers = [layer('list', 3000)]
        const image = imageOf({ layers, platform: amd64, format: 'docker' })
        return indexOf([{ image, platform: amd64 }], 'docker')
      },
    ],
    'an index within an index': [
      'whole',
      () => {
        const image = imageOf({ layers: [layer('nested', 100)], platform: amd64 })
        return indexOf([{ image: indexOf([{ image, platform: amd64 }]) }])
      },
    ],
    'an artifact without a subject': [
      'no',
      () =>
        sampleImage({
          layers: [Buffer.from('chart')],
          layerType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
        }),
    ],
  }
  for (const [what, [depth, make]] of Object.entries(samples)) {
    test(`copies ${what} byte for byte, and verifies it`, () =>
      withClient(async (client) => {
        const { name, from, to } = fresh()
        const image = make()
        await world().source.client.push(image, name, 'v1')
        const result = await copyImage(client, from('v1'), to('v1'))
        assert.equal(result.digest, image.digest)
        assert.equal(result.mediaType, image.mediaType)
        await requireSame(image, `copy/${name}`, 'v1')
        await verifyImage(client, to('v1'), image.digest)
        assert.equal((await resolveDigest(client, to('v1'))).digest, image.digest)
        if (depth !== 'no') await world().independent?.validate(`copy/${name}`, 'v1', depth)
        await world().independent?.requireRead(`copy/${name}`, 'v1', [image])
      }))
  }

  test('leaves a foreign layer where its URL points', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      const bytes = noise('foreign', 500)
      const foreign = {
        mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
        digest: digestOf(bytes),
        size: bytes.length,
        urls: ['https://layers.invalid/foreign'],
      }
      const image = sampleImage({
        layers: [noise('windows', 10)],
        foreign: [foreign],
        format: 'docker',
      })
      await world().source.client.push(image, name, 'v1')
      const result = await copyImage(client, from('v1'), to('v1'))
      assert.deepEqual([result.digest, result.skipped], [image.digest, 1])
      await requireSame(image, `copy/${name}`, 'v1')
      assert.equal(await world().target.client.hasBlob(`copy/${name}`, foreign.digest), false)
      await world().independent?.requireRead(`copy/${name}`, 'v1', [image])
    }))

  test('copies an image whose blobs go by sha512, or says that the target keeps none such', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      const image = sampleImage({ layers: [noise('sha512', 3000)], algorithm: 'sha512' })
      await world().source.client.push(image, name, 'v1')
      if (!world().sha512) {
        await assert.rejects(copyImage(client, from('v1'), to('v1')), { code: 'COPY_REFUSED' })
        assert.deepEqual(await world().target.client.tags(`copy/${name}`), [])
        return
      }
      await copyImage(client, from('v1'), to('v1'))
      await requireSame(image, `copy/${name}`, 'v1')
      await world().independent?.requireRead(`copy/${name}`, 'v1', [image])
    }))

  test('copies nothing the second time, in one request to the target', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      await world().source.client.push(sampleImage({ layers: [noise('again', 1000)] }), name, 'v1')
      await copyImage(client, from('v1'), to('v1'))
      await world().targetLog()
      const result = await copyImage(client, from('v1'), to('v1'))
      assert.deepEqual([result.bytes, result.blobs], [0, 0])
      assert.deepEqual(await world().targetLog(), [`HEAD /v2/copy/${name}/manifests/v1 200`])
    }))

  test('copies a tag that moved, having seen it unmoved', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      await world().source.client.push(sampleImage({ layers: [noise('first', 1000)] }), name, 'v1')
      // From the fourth on its source is asked by HEAD, and from the fifth on for a change only.
      for (let turn = 0; turn < 6; turn += 1) await copyImage(client, from('v1'), to('v1'))
      const moved = sampleImage({ layers: [noise('moved', 1000)] })
      await world().source.client.push(moved, name, 'v1')
      assert.equal((await copyImage(client, from('v1'), to('v1'))).digest, moved.digest)
      await requireSame(moved, `copy/${name}`, 'v1')
      await world().independent?.requireRead(`copy/${name}`, 'v1', [moved])
    }))

  test('gives content that is there a new tag without asking for its blobs', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      const image = sampleImage({ layers: [noise('tag', 1000)] })
      await world().source.client.push(image, name, 'v1')
      await copyImage(client, from('v1'), to('v1'))
      await world().targetLog()
      await copyImage(client, from('v1'), to('v2'))
      assert.deepEqual(await world().targetLog(), [
        `HEAD /v2/copy/${name}/manifests/v1 200`,
        `PUT /v2/copy/${name}/manifests/v2 201`,
      ])
      await requireSame(image, `copy/${name}`, 'v2')
      await world().independent?.requireRead(`copy/${name}`, 'v2', [image])
    }))

  test('sends a blob that several images share once, and mounts it where that is known', () =>
    withClient(async (client) => {
      const base = noise('shared base', 200_000)
      const items = []
      const images: Image[] = []
      for (let i = 0; i < 6; i += 1) {
        const { name, from, to } = fresh()
        const image = sampleImage({ layers: [base, noise(`own${i}`, 500)] })
        images.push(image)
        await world().source.client.push(image, name, 'v1')
        items.push({ source: from('v1'), target: to('v1') })
      }
      const outcomes = await copyImages(client, items)
      const results = outcomes.map(({ result, error }) => result ?? assert.fail(String(error)))
      const total = (count: (result: (typeof results)[number]) => number): number =>
        results.reduce((sum, result) => sum + count(result), 0)
      for (const [i, { digest }] of results.entries()) {
        const { repository, tag = '' } = items[i]?.target ?? assert.fail()
        await verifyImage(client, { registry: world().target.host, repository, tag }, digest)
        await world().independent?.requireRead(repository, tag, [images[i] ?? assert.fail()])
      }
      if (!world().mounts) return
      // The base and the configuration are the same in all six.
      assert.equal(
        total(({ mounted }) => mounted),
        2 * 5,
      )
      assert.equal(
        total(({ blobs }) => blobs),
        2 + 6,
      )
    }))

  test('goes on with the other images when one fails, and says which', () =>
    withClient(async (client) => {
      const good = fresh()
      await world().source.client.push(
        sampleImage({ layers: [noise('good', 10)] }),
        good.name,
        'v1',
      )
      const bad = fresh()
      const outcomes = await copyImages(client, [
        { source: bad.from('none'), target: bad.to('none') },
        { source: good.from('v1'), target: good.to('v1') },
      ])
      assert.ok(outcomes[0]?.error instanceof RegistryError)
      assert.equal(outcomes[0].error.code, 'COPY_NOT_FOUND')
      assert.ok(outcomes[1]?.result)
    }))

  test('describes an image, and plans a copy without writing', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      // Of no other test: some registries keep the blobs of all repositories in one place.
      const layer = noise(`described ${name}`, 5000)
      const extra = { annotations: { of: name } }
      const image = sampleIndex([
        { image: sampleImage({ layers: [layer], extra }), platform: 'linux/amd64' },
        {
          image: sampleImage({ layers: [layer], extra, platform: 'linux/arm/v7' }),
          platform: 'linux/arm/v7',
        },
      ])
      await world().source.client.push(image, name, 'v1')
      const blobs = new Map(
        image.children.flatMap((child) => child.blobs.map((blob) => [blob.digest, blob.size])),
      )
      const size = [...blobs.values()].reduce((a, b) => a + b, 0)
      assert.deepEqual(await describeImage(client, from('v1')), {
        digest: image.digest,
        mediaType: image.mediaType,
        platforms: ['linux/amd64', 'linux/arm/v7'],
        sizeBytes: size,
      })
      const plan = await planCopy(client, from('v1'), to('v1'))
      const manifests = [image, ...image.children].reduce((sum, { bytes }) => sum + bytes.length, 0)
      assert.deepEqual([plan.bytes, plan.blobs, plan.upToDate], [size + manifests, 3, false])
      assert.deepEqual(await world().target.client.tags(`copy/${name}`), [])
    }))

  test('takes an image by digest, and refuses a target digest that is another', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      const image = sampleImage({ layers: [noise('by digest', 20)] })
      await world().source.client.push(image, name, 'v1')
      const pinned = { registry: from('').registry, repository: name, digest: image.digest }
      await copyImage(client, pinned, to('pinned'))
      await requireSame(image, `copy/${name}`, 'pinned')
      await world().independent?.requireRead(`copy/${name}`, 'pinned', [image])
      const other = { ...to('other'), digest: `sha256:${'0'.repeat(64)}` }
      await assert.rejects(copyImage(client, pinned, other), { code: 'COPY_DIGEST_MISMATCH' })
      assert.deepEqual(await world().target.client.tags(`copy/${name}`), ['pinned'])
    }))

  test('verifyImage names what is missing', () =>
    withClient(async (client) => {
      const { from, to } = fresh()
      await assert.rejects(verifyImage(client, to('v1'), `sha256:${'0'.repeat(64)}`), {
        code: 'COPY_NOT_FOUND',
      })
      await assert.rejects(resolveDigest(client, from('v1')), (error: unknown) => {
        assert.ok(error instanceof RegistryError)
        assert.match(error.message, new RegExp(formatReference(from('v1'))))
        return true
      })
    }))

  test('takes referrers along, of referrers too, and the fallback tag keeps what the target had', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      const image = sampleImage({ layers: [noise('subject', 100)] })
      const sbom = sampleArtifact(image, 'application/spdx+json', 'sbom')
      const signature = sampleArtifact(sbom, 'application/x-signature', 'signed')
      const local = sampleArtifact(image, 'application/x-local', 'of the target')
      for (const [of, tag] of [
        [image, 'v1'],
        [sbom, undefined],
        [signature, undefined],
      ] as const) {
        await world().source.client.push(of, name, tag)
      }
      for (const [of, subject] of [
        [sbom, image],
        [signature, sbom],
      ] as const) {
        await pushFallback(world().source.client, name, subject, of)
      }
      await world().target.client.push(image, `copy/${name}`)
      await world().target.client.push(local, `copy/${name}`)
      await pushFallback(world().target.client, `copy/${name}`, image, local)

      const planned = await planCopy(client, from('v1'), to('v1'), { referrers: true })
      const { bytes, blobs } = await copyImage(client, from('v1'), to('v1'), { referrers: true })
      assert.equal(planned.upToDate, false)
      // Where nothing can be mounted, a blob is sent again that another repository turns out to share.
      if (world().mounts) assert.deepEqual([planned.blobs, planned.bytes], [blobs, bytes])
      assert.ok(planned.bytes <= bytes)
      await requireSame(sbom, `copy/${name}`, sbom.digest)
      await requireSame(signature, `copy/${name}`, signature.digest)
      const listed = await fallbackOf(world().target.client, `copy/${name}`, image)
      assert.deepEqual(
        new Set(listed.map(({ digest }) => digest)),
        new Set([local.digest, sbom.digest]),
      )
      assert.equal(
        listed.find(({ digest }) => digest === sbom.digest)?.artifactType,
        'application/spdx+json',
      )

      const again = await planCopy(client, from('v1'), to('v1'), { referrers: true })
      assert.deepEqual([again.blobs, again.bytes, again.upToDate], [0, 0, true])
      await copyImage(client, from('v1'), to('v1'), { referrers: true })
      assert.equal((await fallbackOf(world().target.client, `copy/${name}`, image)).length, 2)
      await world().independent?.requireRead(`copy/${name}`, 'v1', [image, sbom, signature, local])
    }))

  test("takes cosign's tags along", () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      const image = sampleImage({ layers: [noise('signed', 100)] })
      const signature = sampleImage({
        layers: [Buffer.from('{"critical":{}}')],
        layerType: 'application/vnd.dev.cosign.simplesigning.v1+json',
      })
      const tag = `${image.digest.replace(':', '-')}.sig`
      await world().source.client.push(image, name, 'v1')
      await world().source.client.push(signature, name, tag)
      await copyImage(client, from('v1'), to('v1'))
      assert.deepEqual(await world().target.client.tags(`copy/${name}`), ['v1'])
      await copyImage(client, from('v1'), to('v1'), { signatureTags: true })
      await requireSame(signature, `copy/${name}`, tag)
      await world().independent?.requireRead(`copy/${name}`, 'v1', [image, signature])
    }))

  test('stops when told to, and moves no tag', () =>
    withClient(async (client) => {
      const { name, from, to } = fresh()
      await world().source.client.push(
        sampleImage({ layers: [noise('stopped', 3_000_000)] }),
        name,
        'v1',
      )
      const stop = new AbortController()
      const reason = new Error('enough')
      const job = copyImage(client, from('v1'), to('v1'), {
        signal: stop.signal,
        onEvent: ({ type }) => {
          if (type === 'blob-progress') stop.abort(reason)
        },
      })
      await assert.rejects(job, reason)
      assert.deepEqual(await world().target.client.tags(`copy/${name}`), [])
    }))
}

async function pushFallback(
  client: TestRegistryClient,
  repository: string,
  subject: Image,
  referrer: Image,
): Promise<void> {
  const { mediaType, digest, bytes } = referrer
  const index = sampleIndex([])
  const body = Buffer.from(
    JSON.stringify({
      ...JSON.parse(index.bytes.toString()),
      manifests: [{ mediaType, digest, size: bytes.length }],
    }),
  )
  const { createHash } = await import('node:crypto')
  const of = `sha256:${createHash('sha256').update(body).digest('hex')}`
  await client.push(
    { ...index, bytes: body, digest: of, children: [referrer] },
    repository,
    subject.digest.replace(':', '-'),
  )
}

async function fallbackOf(
  client: TestRegistryClient,
  repository: string,
  subject: Image,
): Promise<{ digest: string; artifactType?: string }[]> {
  const held = await client.manifest(repository, subject.digest.replace(':', '-'))
  return held === undefined ? [] : JSON.parse(held.bytes.toString()).manifests
}
