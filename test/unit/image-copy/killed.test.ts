import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { seededRandom } from '../../support/random.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const long = process.env.KIP_TEST_LONG === '1'
const runs = long ? 25 : 3
const index = new URL('../../../src/image-copy/src/index.ts', import.meta.url).href

/** Copies in a process of its own, which can be killed. */
function copier(source: FakeRegistry, target: FakeRegistry) {
  const script = `
    import { copyImage, createRegistryClient } from ${JSON.stringify(index)}
    const client = createRegistryClient({ hosts: () => ({ http: true, maxRequests: 2 }) })
    const to = { registry: '${target.host}', repository: 'c/d', tag: 'v1' }
    await copyImage(client, { registry: '${source.host}', repository: 'a/b', tag: 'v1' }, to)
    await client.close()`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return { child, ended: once(child, 'exit') }
}

test('a copy that was killed is completed by the next, and no finished blob is sent twice', async () => {
  const random = seededRandom(long ? Date.now() : 7)
  for (let run = 0; run < runs; run += 1) {
    await using source = await FakeRegistry.start({ delayMs: 3 })
    await using target = await FakeRegistry.start({ delayMs: 3 })
    const layers = Array.from({ length: 10 }, (_, i) => noise(`killed ${run} ${i}`, 30_000))
    const image = sampleImage({ layers })
    await source.client.push(image, 'a/b', 'v1')
    // Between two blobs, within one, or before the manifest.
    const killAfter = Math.floor(random() * 11)
    const later = random() * 12
    const first = copier(source, target)
    while (target.repository('c/d').blobs.size < killAfter && first.child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await new Promise((resolve) => setTimeout(resolve, later))
    first.child.kill('SIGKILL')
    await first.ended
    const finished = new Set(target.repository('c/d').blobs.keys())
    assert.ok(finished.size >= killAfter)
    const tagged = target.repository('c/d').tags.size > 0
    assert.ok(!tagged || finished.size === image.blobs.length, 'a tag for part of an image')
    target.requests.length = 0
    const second = copier(source, target)
    assert.deepEqual(await second.ended, [0, null])
    assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
    const sent = target.requests.flatMap(({ method, path }) =>
      method === 'PUT' ? [new URL(path, 'http://x').searchParams.get('digest') ?? ''] : [],
    )
    assert.deepEqual(
      sent.filter((digest) => finished.has(digest)),
      [],
    )
  }
})
