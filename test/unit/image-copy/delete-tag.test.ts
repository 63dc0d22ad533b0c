import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  copyImage,
  createRegistryClient,
  deleteTag,
  type RegistryError,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry, type FakeRegistryOptions, fail } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const image = sampleImage({ layers: [noise('deleted', 100)] })
const user = { username: 'kip', password: 'secret' }

/** A registry with one image that has two tags. */
async function world(options: FakeRegistryOptions = {}) {
  const stack = new AsyncDisposableStack()
  const registry = stack.use(await FakeRegistry.start(options))
  await registry.client.push(image, 'app', 'old')
  await registry.client.push(image, 'app', 'new')
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { attempts: 3, baseMs: 1, maxMs: 1 },
    ...(options.auth && { credentials: async () => [user] }),
  })
  stack.defer(() => client.close())
  registry.takeLog()
  const of = (tag: string) => ({ registry: registry.host, repository: 'app', tag })
  return { registry, client, of, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

async function refused(work: Promise<void>, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: RegistryError) => {
    assert.deepEqual([error.code, error.repository], ['COPY_REFUSED', 'app'])
    assert.match(error.message, message)
    return true
  })
}

describe('deleting a tag', () => {
  test('leaves its image, and other tags of it', async () => {
    await using it = await world()
    await deleteTag(it.client, it.of('old'))
    assert.deepEqual(it.registry.takeLog(), ['DELETE /v2/app/manifests/old 202'])
    assert.deepEqual(await it.registry.client.tags('app'), ['new'])
    assert.ok(await it.registry.client.manifest('app', image.digest))
  })

  test('is done where it is gone already', async () => {
    await using it = await world()
    await deleteTag(it.client, it.of('none'))
    await deleteTag(it.client, { ...it.of('none'), repository: 'missing' })
  })

  test('is done by a try whose answer was lost', async () => {
    await using it = await world()
    let lost = 0
    it.registry.interceptor = ({ method }, response) => {
      if (method !== 'DELETE' || lost > 0) return false
      lost += 1
      it.registry.repository('app').tags.delete('old')
      response.destroy()
      return true
    }
    const reasons: string[] = []
    const onEvent = (event: { readonly type: string }) => reasons.push(event.type)
    await deleteTag(it.client, it.of('old'), { onEvent })
    assert.deepEqual(reasons, ['retry'])
    assert.deepEqual(await it.registry.client.tags('app'), ['new'])
  })

  test('names a registry that deletes images only, and one that deletes nothing', async () => {
    for (const [deletions, said] of [
      ['distribution 2.8', '400 DIGEST_INVALID'],
      ['none', '405 UNSUPPORTED'],
    ] as const) {
      await using it = await world({ deletions })
      const message = new RegExp(
        `DELETE .*/app/manifests/old: ${said}.*the registry deletes no tags`,
      )
      await refused(deleteTag(it.client, it.of('old')), message)
      assert.deepEqual(await it.registry.client.tags('app'), ['new', 'old'])
    }
  })

  test('does not take 404 for its end while the tag is there', async () => {
    await using it = await world()
    it.registry.interceptor = ({ method }, response) => {
      if (method === 'DELETE') fail(response, 404, 'NOT_FOUND')
      return method === 'DELETE'
    }
    await refused(deleteTag(it.client, it.of('old')), /404 NOT_FOUND.*deletes no tags/)
  })

  test('is never of a digest, by which other tags would go', async () => {
    await using it = await world()
    const { digest } = image
    const { tag, ...repository } = it.of('old')
    for (const reference of [{ ...repository, digest }, { ...repository, tag, digest }, repository])
      await assert.rejects(deleteTag(it.client, reference), TypeError)
    await assert.rejects(deleteTag(it.client, { ...repository, tag: digest }), TypeError)
    assert.deepEqual(it.registry.takeLog(), [])
  })

  test('asks for the right to delete, which a copy does not', async () => {
    await using source = await world()
    await using it = await world({ auth: { kind: 'bearer', users: { kip: 'secret' } } })
    const asked = it.registry.tokens?.asked ?? assert.fail()
    await copyImage(it.client, source.of('old'), it.of('more'))
    assert.deepEqual(asked.splice(0), ['kip repository:app:pull,push'])
    await deleteTag(it.client, it.of('old'))
    assert.deepEqual(asked, ['kip repository:app:pull,push,delete'])
    assert.deepEqual(await it.registry.client.tags('app'), ['more', 'new'])
  })

  test('fails of who may push only', async () => {
    await using it = await world({ auth: { kind: 'bearer', users: { kip: 'secret' } } })
    if (it.registry.tokens) it.registry.tokens.deletions = false
    await assert.rejects(deleteTag(it.client, it.of('old')), { code: 'COPY_UNAUTHORIZED' })
    assert.deepEqual(await it.registry.client.tags('app'), ['new', 'old'])
  })

  test('is known to copies that come after it', async () => {
    await using source = await world()
    await using it = await world()
    for (let turn = 0; turn < 6; turn += 1) {
      await copyImage(it.client, source.of('old'), it.of('old'))
      await deleteTag(it.client, it.of('old'))
      assert.deepEqual(await it.registry.client.tags('app'), ['new'])
    }
  })

  test('stops when told to', async () => {
    await using it = await world()
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await assert.rejects(deleteTag(it.client, it.of('old'), { signal }), reason)
    assert.deepEqual(it.registry.takeLog(), [])
  })
})
