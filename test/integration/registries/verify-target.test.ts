import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  type CopyOptions,
  copyImage,
  createRegistryClient,
  type RegistryError,
} from '../../../src/image-copy/src/index.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { independentTools } from '../../support/independent-tools.ts'
import {
  type RegistryKind,
  startRegistry,
  type TestRegistry,
  whyNoRegistry,
} from '../../support/registry.ts'

const MiB = 1024 * 1024
const missing = await whyNoRegistry()
const kinds: readonly RegistryKind[] = [
  'distribution 2.8',
  'distribution 3',
  'go-containerregistry',
]

for (const kind of kinds) {
  const reason = missing ?? (await whyNoRegistry(kind))
  describe(`verified by ${kind} alone`, { skip: reason ?? false }, () => {
    let source: TestRegistry
    let target: TestRegistry
    let number = 0

    before(async () => {
      source = await startRegistry()
      target = await startRegistry({ kind })
    })
    after(async () => {
      await source?.close()
      await target?.close()
    })

    /** Copies an image whose layer has a wrong bit the first `times` that it is read. @returns where it went */
    const copy = async (times: number, options: CopyOptions = {}): Promise<string> => {
      number += 1
      const image = tinyImage(number, 5 * MiB)
      const repository = `altered/${number}`
      await source.client.push(image, repository, '1')
      const layer = image.blobs.find(({ size }) => size > MiB)
      await using at = await source.troubled([
        { method: 'GET', path: `blobs/${layer?.digest}`, corruptAt: 2 * MiB, times },
      ])
      const client = createRegistryClient({ hosts: () => ({ http: true }) })
      try {
        await copyImage(
          client,
          { registry: at.host, repository, tag: '1' },
          { registry: target.host, repository, tag: '1' },
          { verify: 'target', ...options },
        )
      } finally {
        await client.close()
      }
      assert.deepEqual(at.left, [0], 'the layer was not altered')
      return repository
    }

    test('altered bytes are refused, and no tag moves', async () => {
      await assert.rejects(copy(3), (error: RegistryError) => {
        assert.equal(error.code, 'COPY_DIGEST_MISMATCH')
        assert.equal(error.registry, target.host)
        assert.match(error.message, /400 DIGEST_INVALID/)
        return true
      })
      assert.equal(await target.client.manifest(`altered/${number}`, '1'), undefined)
    })

    test('bytes that were altered twice are whole the third time', async () => {
      const repository = await copy(2)
      await using tools = await independentTools(target)
      await tools.validate(repository, '1', 'whole')
    })
  })
}
