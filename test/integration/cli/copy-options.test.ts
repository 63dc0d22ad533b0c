import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { type CopyRun, kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { digestOf, noise, sampleImage } from '../../support/sample-images.ts'

describe('what kip copy is told of all images', { timeout: 120_000 }, () => {
  let source: FakeRegistry
  let target: FakeRegistry

  beforeEach(async () => {
    source = await FakeRegistry.start()
    target = await FakeRegistry.start()
  })
  afterEach(async () => {
    await source.close()
    await target.close()
  })

  const kip = (args: readonly string[], input = ''): Promise<CopyRun> =>
    kipCopy(['--http', source.host, '--http', target.host, ...args], { input })
  const pair = (): readonly string[] => [`${source.host}/a/b:v1`, `${target.host}/c/d:v1`]
  const held = () => target.repository('c/d').blobs

  test('--recheck brings what went missing below a tag that is right', async () => {
    const image = sampleImage({ layers: [noise('recheck', 1000)] })
    await source.client.push(image, 'a/b', 'v1')
    await kip(pair())
    const layer = image.blobs[1]?.digest ?? ''
    held().delete(layer)
    assert.match((await kip(pair())).stdout, /^present /)
    assert.equal(held().has(layer), false)
    assert.match((await kip(['--recheck', ...pair()])).stdout, /^copied /)
    assert.ok(held().has(layer))
  })

  test('--foreign-layers takes along what is else left where it is', async () => {
    const bytes = noise('foreign', 1000)
    const digest = digestOf(bytes)
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
    const foreign = [{ mediaType, digest, size: bytes.length, urls: ['https://x.test/layer'] }]
    await source.client.push(sampleImage({ layers: [noise('own', 10)], foreign }), 'a/b', 'v1')
    source.repository('a/b').blobs.set(digest, bytes)
    assert.match((await kip(pair())).stdout, /^copied /)
    assert.equal(held().has(digest), false)
    const run = await kip(['--recheck', '--foreign-layers', 'x.test', ...pair()])
    assert.equal(run.code, 0, run.stderr)
    assert.ok(held().get(digest)?.equals(bytes))
  })

  test('--verify target leaves what was altered to a target that refuses it', async () => {
    await source.client.push(sampleImage({ layers: [noise('altered', 100_000)] }), 'a/b', 'v1')
    source.mangle = (bytes, what) =>
      what === 'blob' && bytes.length === 100_000 ? noise('another', bytes.length) : bytes
    const attempts = () =>
      target.takeLog().filter((line) => line.startsWith('PUT /v2/c/d/blobs/uploads/ID 400'))
    const hashed = await kip(pair())
    assert.deepEqual([hashed.code, attempts()], [1, []])
    const run = await kip(['--verify', 'target', ...pair()])
    assert.equal(run.code, 1)
    assert.match(run.stderr, /DIGEST_INVALID.*\[COPY_DIGEST_MISMATCH\]/)
    assert.equal(attempts().length, 3)
    assert.equal(target.repository('c/d').tags.size, 0)
  })

  /** Copies six images. @returns the most that were under way at a time; none goes on before so many have begun */
  async function mostAtATime(options: readonly string[], together: number): Promise<number> {
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    for (const name of names)
      await source.client.push(sampleImage({ layers: [noise(name, 10)] }), name, '1')
    const underWay = new Set<string>()
    const begun = new Set<string>()
    const gathered = Promise.withResolvers<void>()
    let most = 0
    source.interceptor = async ({ method, url = '' }) => {
      const name = /^\/v2\/(.)\/manifests\/1$/.exec(url)?.[1]
      if (method !== 'GET' || name === undefined) return false
      begun.add(name)
      underWay.add(name)
      most = Math.max(most, underWay.size)
      if (begun.size >= together) gathered.resolve()
      await gathered.promise
      return false
    }
    target.interceptor = ({ method, url = '' }) => {
      const name = /^\/v2\/(.)\/manifests\/1$/.exec(url)?.[1]
      if (method === 'PUT' && name !== undefined) underWay.delete(name)
      return false
    }
    const list = names.map((name) => `${source.host}/${name}:1 ${target.host}/${name}:1\n`)
    const run = await kip([...options, '--from-file', '-'], list.join(''))
    assert.equal(run.code, 0, run.stderr)
    assert.equal(target.repositories.size, names.length)
    return most
  }

  test('--concurrency 1 copies one image after the other', async () => {
    assert.equal(await mostAtATime(['--concurrency', '1'], 1), 1)
  })

  test('--concurrency 3 copies three images at a time', async () => {
    assert.equal(await mostAtATime(['--concurrency', '3'], 3), 3)
  })

  test('without --concurrency all of a few are copied at a time', async () => {
    assert.equal(await mostAtATime([], 6), 6)
  })
})
