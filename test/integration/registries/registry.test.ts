import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { attestationOf, type Image, imageOf, indexOf, layerOf } from '../../cluster/images/image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import type { AccessLogEntry } from '../../cluster/registry/access-log.ts'
import { TestRegistryClient } from '../../cluster/registry/client.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'

const missing = await whyNoRegistry()

for (const options of [{}, { tls: true, authenticated: true }])
  describe(`registry ${JSON.stringify(options)}`, { skip: missing ?? false }, () => {
    let registry: TestRegistry

    before(async () => {
      registry = await startRegistry(options)
    })
    after(() => registry?.close())

    /** The line is written after the answer was sent. */
    const logged = async (
      since: number,
      wanted: (entry: AccessLogEntry) => boolean,
    ): Promise<AccessLogEntry> => {
      for (let tries = 0; tries < 200; tries++) {
        const found = (await registry.accessLog(since)).find(wanted)
        if (found) return found
        await delay(10)
      }
      throw new Error(`no such request in ${JSON.stringify(await registry.accessLog(since))}`)
    }

    it('takes an image and gives back its bytes', async () => {
      const image = tinyImage(1)
      assert.equal(await registry.client.push(image, 'round/trip', 'one'), image.digest)
      const found = await registry.client.manifest('round/trip', 'one')
      assert.deepEqual(found, {
        mediaType: image.mediaType,
        digest: image.digest,
        bytes: image.bytes,
      })
      for (const blob of image.blobs)
        assert.deepEqual(await registry.client.blob('round/trip', blob.digest), await blob.read())
      assert.deepEqual(await registry.client.tags('round/trip'), ['one'])
      assert.ok((await registry.client.repositories()).includes('round/trip'))
    })

    for (const [name, image] of Object.entries(shapes()))
      it(`takes ${name}`, async () => {
        await registry.client.push(image, `shapes/${name.replaceAll(' ', '-')}`, '1')
        const found = await registry.client.manifest(`shapes/${name.replaceAll(' ', '-')}`, '1')
        assert.equal(found?.digest, image.digest)
        assert.equal(found?.mediaType, image.mediaType)
      })

    it('sends no blob twice', async () => {
      await registry.client.push(tinyImage(2), 'twice', 'a')
      const mark = await registry.accessLogEnd()
      await registry.client.push(tinyImage(2), 'twice', 'b')
      await logged(mark, ({ method, path }) => method === 'PUT' && path.endsWith('/manifests/b'))
      const methods = (await registry.accessLog(mark)).map(({ method }) => method)
      assert.ok(!methods.includes('POST'), methods.join(' '))
    })

    it('moves a tag, and deletes an image under all its tags', async () => {
      const [first, second] = [tinyImage(3), tinyImage(4)]
      await registry.client.push(first, 'moved', 'latest')
      await registry.client.push(second, 'moved', 'next')
      await registry.client.retag('moved', 'latest', second.digest)
      assert.equal((await registry.client.manifest('moved', 'latest'))?.digest, second.digest)
      assert.equal((await registry.client.manifest('moved', first.digest))?.digest, first.digest)

      await registry.client.deleteImage('moved', 'latest')
      assert.equal(await registry.client.manifest('moved', 'latest'), undefined)
      assert.equal(await registry.client.manifest('moved', second.digest), undefined)
      assert.deepEqual(await registry.client.tags('moved'), [])
      assert.equal((await registry.client.manifest('moved', first.digest))?.digest, first.digest)
    })

    it('says what is not there', async () => {
      assert.deepEqual(await registry.client.tags('nothing'), [])
      assert.equal(await registry.client.manifest('nothing', 'at-all'), undefined)
      await assert.rejects(
        registry.client.deleteImage('nothing', 'at-all'),
        /has no nothing at-all/,
      )
      await assert.rejects(
        registry.client.retag('nothing', 'latest', tinyImage(5).digest),
        /has no nothing sha256:/,
      )
    })

    it('logs who asked for what and how it was answered', async () => {
      await registry.client.push(tinyImage(6), 'logged', '1')
      const mark = await registry.accessLogEnd()
      await registry.client.manifest('logged', '1')
      await registry.client.manifest('logged', '2')
      const hit = await logged(mark, ({ path }) => path === '/v2/logged/manifests/1')
      const miss = await logged(mark, ({ path }) => path === '/v2/logged/manifests/2')
      const { time, ...rest } = hit
      assert.deepEqual(rest, {
        method: 'GET',
        path: '/v2/logged/manifests/1',
        status: 200,
        bytes: tinyImage(6).bytes.length,
        remoteAddress: '127.0.0.1',
        userAgent: 'kip-test',
      })
      assert.ok(Math.abs(Date.now() - time.getTime()) < 60_000, time.toISOString())
      assert.equal(miss.status, 404)
      const sinceNow = await registry.accessLog(new Date(Date.now() + 2000))
      assert.deepEqual(sinceNow, [])
    })

    it('keeps port and images through a stop and a start', async () => {
      await registry.client.push(tinyImage(7), 'kept', '1')
      await registry.stop()
      await assert.rejects(registry.client.answers())
      await registry.start()
      assert.ok(await registry.client.answers())
      assert.equal((await registry.client.manifest('kept', '1'))?.digest, tinyImage(7).digest)
    })
  })

describe('registry with TLS and users', { skip: missing ?? false }, () => {
  let registry: TestRegistry

  before(async () => {
    registry = await startRegistry({ tls: true, authenticated: true })
  })
  after(() => registry?.close())

  it('is trusted only by those who know its authority', async () => {
    await using stranger = new TestRegistryClient({ url: registry.url })
    await assert.rejects(stranger.answers(), /certificate/)
  })

  it('lets in only whom it knows', async () => {
    const { url, authority = '' } = registry
    await using nobody = new TestRegistryClient({ url, authority })
    await assert.rejects(nobody.tags('any'), /status 401/)
    assert.deepEqual(await registry.client.tags('any'), [])
  })
})

function shapes(): Readonly<Record<string, Image>> {
  const file = (text: string) => [{ kind: 'file', path: '/text', content: text } as const]
  const amd64 = { os: 'linux', architecture: 'amd64' }
  const arm64 = { os: 'linux', architecture: 'arm64' }
  const image = imageOf({ layers: [layerOf(file('amd64'))], platform: amd64 })
  const other = imageOf({ layers: [layerOf(file('arm64'))], platform: arm64 })
  const docker = imageOf({ layers: [layerOf(file('docker'))], format: 'docker' })
  return {
    'an index with attestations': indexOf([
      { image, platform: amd64 },
      { image: other, platform: arm64 },
      attestationOf(image),
      attestationOf(other),
    ]),
    'a docker image': docker,
    'a docker list': indexOf([{ image: docker, platform: amd64 }], 'docker'),
    'zstd layers': imageOf({ layers: [layerOf(file('zstd'), 'zstd')] }),
    'an uncompressed layer': imageOf({ layers: [layerOf(file('plain'), 'none')] }),
    'a signature of another image': imageOf({
      layers: [],
      artifactType: 'application/vnd.dev.cosign.artifact.sig.v1+json',
      subject: image,
    }),
  }
}
