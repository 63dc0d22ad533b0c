import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  copyImage,
  createRegistryClient,
  describeImage,
  type ImageReference,
  parseReference,
  type RegistryClient,
  RegistryError,
  resolveDigest,
  verifyImage,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { digestOf, noise, sampleImage } from '../../support/sample-images.ts'

test('an error names registry and repository as the reference does, whatever the URL makes of them', async () => {
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    // A URL leaves the port of its scheme away; nobody is dialled.
    allowAddress: () => false,
  })
  const error = await resolveDigest(client, parseReference('127.0.0.1:80/team/app:1')).catch(
    (error: unknown) => error,
  )
  await client.close()
  assert.ok(error instanceof RegistryError)
  const { code, host, registry, repository } = error
  assert.deepEqual(
    { code, host, registry, repository },
    {
      ...{ code: 'COPY_ADDRESS_REFUSED', host: '127.0.0.1' },
      ...{ registry: '127.0.0.1:80', repository: 'team/app' },
    },
  )
})

for (const [what, code, tries] of [
  ['a host that there is no name for is looked up once', 'ENOTFOUND', 1],
  ['a host is looked up again where no name server answers', 'EAI_AGAIN', 3],
] as const)
  test(what, async () => {
    let lookups = 0
    const client = createRegistryClient({
      retry: { attempts: 3, baseMs: 1, maxMs: 1 },
      lookup: (name, _, done) => {
        lookups += 1
        const message = `getaddrinfo ${code} ${name}`
        setImmediate(() => done(Object.assign(new Error(message), { code }), ''))
      },
    })
    const error = await resolveDigest(client, parseReference('mistyped.test/app:1')).catch(
      (error: unknown) => error,
    )
    await client.close()
    assert.ok(error instanceof RegistryError)
    assert.deepEqual([error.code, error.retryable, lookups], ['COPY_UNREACHABLE', tries > 1, tries])
    assert.match(
      error.message,
      tries > 1 ? /EAI_AGAIN/ : /ENOTFOUND mistyped\.test; check the name$/,
    )
  })

test('a host that was there is looked up again when its name is gone for a moment', async () => {
  const registry = await FakeRegistry.start()
  const image = sampleImage({ layers: [noise('gone', 500)] })
  await registry.client.push(image, 'a/b', 'v1')
  let gone = 0
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { baseMs: 1, maxMs: 1 },
    lookup: (_name, _, done) => {
      if (gone-- <= 0) return setImmediate(() => done(null, '127.0.0.1', 4))
      return setImmediate(() => done(Object.assign(new Error('gone'), { code: 'ENOTFOUND' }), ''))
    },
  })
  const at = { registry: `registry.test:${registry.port}`, repository: 'a/b', tag: 'v1' }
  try {
    assert.equal((await resolveDigest(client, at)).digest, image.digest)
    registry.cutConnections()
    gone = 2
    assert.equal((await resolveDigest(client, at)).digest, image.digest)
    assert.ok(gone <= 0)
  } finally {
    await client.close()
    await registry.close()
  }
})

describe('an error is of the repository', () => {
  const image = sampleImage({ layers: [noise('party', 500)] })
  const layer = image.blobs[1]?.digest ?? ''
  const away = `sha256:${'0'.repeat(64)}`
  const failures: Readonly<
    Record<string, (client: RegistryClient, at: ImageReference) => PromiseLike<unknown>>
  > = {
    'that lacks the image': (client, at) => resolveDigest(client, { ...at, tag: 'none' }),
    'of which the tag to verify is gone': (client, at) =>
      verifyImage(client, { ...at, tag: 'none' }, image.digest),
    'whose tag is another image': (client, at) => verifyImage(client, at, away),
    'that lost a blob': (client, at) => verifyImage(client, at, image.digest),
    'whose manifest is none': (client, at) => describeImage(client, { ...at, tag: 'odd' }),
    'that was to get another image': (client, at) =>
      copyImage(client, { ...at, repository: 'a/source' }, { ...at, digest: away }),
  }
  for (const [what, fail] of Object.entries(failures))
    test(what, async () => {
      await using server = await FakeRegistry.start()
      for (const repository of ['a/b', 'a/source'])
        await server.client.push(image, repository, 'v1')
      const bytes = Buffer.from('[]')
      server.repository('a/b').manifests.set(digestOf(bytes), { bytes, mediaType: image.mediaType })
      server.repository('a/b').tags.set('odd', digestOf(bytes))
      server.repository('a/b').blobs.delete(layer)
      const client = createRegistryClient({ hosts: () => ({ http: true }) })
      const at = { registry: server.host, repository: 'a/b', tag: 'v1' }
      await assert.rejects(async () => await fail(client, at), {
        name: 'RegistryError',
        ...{ host: server.host, registry: server.host, repository: 'a/b' },
      })
      await client.close()
    })
})
