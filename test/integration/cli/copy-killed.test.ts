import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Image } from '../../cluster/images/image.ts'
import { kipCopy } from '../../support/copy-command.ts'
import { seededRandom } from '../../support/random.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'
import { noise, sampleImage, sampleIndex } from '../../support/sample-images.ts'

const skip = (await whyNoRegistry()) ?? false
const long = process.env.KIP_TEST_LONG === '1'
const runs = long ? 40 : 4
/** A run asks the target for more than this. */
const MOST_ANSWERS = 40

/** Four images, one of two platforms, with layers of many sizes, and one that all have. */
function sampleImages(run: number): readonly Image[] {
  const shared = noise(`shared ${run}`, 3_000_000)
  const image = (name: string, platform = 'linux/amd64'): Image =>
    sampleImage({
      layers: [noise(`${run} ${name}`, 700_000), noise(`${run} ${name} small`, 5_000), shared],
      platform,
    })
  const platforms = ['linux/amd64', 'linux/arm64']
  const index = sampleIndex(
    platforms.map((platform) => ({ image: image(`index ${platform}`, platform), platform })),
  )
  return [image('one'), image('two'), image('three'), index]
}

function blobsOf({ blobs, children }: Image): readonly string[] {
  return [...blobs.map(({ digest }) => digest), ...children.flatMap(blobsOf)]
}

describe('kip copy that is killed', { skip, timeout: 600_000 }, () => {
  let source: TestRegistry
  let target: TestRegistry

  before(async () => {
    source = await startRegistry()
    target = await startRegistry()
  })
  after(async () => {
    await source?.close()
    await target?.close()
  })

  /** The end of the target's log, once it has ended what it was sent. */
  async function settledEnd(): Promise<number> {
    let end = -1
    for (;;) {
      const now = await target.accessLogEnd()
      if (now === end) return end
      end = now
      await delay(50)
    }
  }

  /** Kills a copy when the target has given so many more answers, and a moment later. */
  async function killAfter(answers: number, laterMs: number, child: ChildProcess): Promise<void> {
    const begin = await target.accessLogEnd()
    while (child.exitCode === null && (await target.accessLog(begin)).length < answers)
      await delay(1)
    await delay(laterMs)
    child.kill('SIGKILL')
  }

  /** Blobs that the target has, as `repository digest`. */
  async function held(images: ReadonlyMap<string, Image>): Promise<Set<string>> {
    const found = new Set<string>()
    for (const [name, image] of images)
      for (const digest of blobsOf(image))
        if (await target.client.hasBlob(name, digest)) found.add(`${name} ${digest}`)
    return found
  }

  /** Blobs whose upload ended since a place in the target's log, in the same form. */
  async function sentSince(mark: number): Promise<readonly string[]> {
    const entries = await target.accessLog(mark)
    return entries.flatMap(({ method, path, status }) => {
      const [, name] = /^\/v2\/(.+)\/blobs\/uploads\//.exec(path) ?? []
      const digest = new URL(path, 'http://x').searchParams.get('digest')
      return method === 'PUT' && status === 201 && name && digest ? [`${name} ${digest}`] : []
    })
  }

  async function requireWhole(name: string, image: Image, blobs: Set<string>): Promise<void> {
    assert.equal((await target.client.manifest(name, '1'))?.digest, image.digest)
    for (const { digest } of image.children) assert.ok(await target.client.manifest(name, digest))
    for (const digest of blobsOf(image)) assert.ok(blobs.has(`${name} ${digest}`), name)
  }

  test('is completed by the next, and sends no finished blob twice', async () => {
    const random = seededRandom(long ? Date.now() : 11)
    let killed = 0
    for (let run = 0; run < runs; run += 1) {
      const images = new Map(sampleImages(run).map((image, i) => [`run-${run}/image-${i}`, image]))
      for (const [name, image] of images) await source.client.push(image, name, '1')
      const args = ['--http', source.host, '--http', target.host, '--from-file', '-']
      const lines = [...images.keys()].map(
        (name) => `${source.host}/${name}:1 ${target.host}/${name}:1\n`,
      )
      const input = lines.join('')

      const answers = Math.floor(random() * MOST_ANSWERS)
      const laterMs = random() * 10
      const first = await kipCopy(args, {
        input,
        started: (child) => killAfter(answers, laterMs, child),
      })
      if (first.killedBy === 'SIGKILL') killed += 1
      const mark = await settledEnd()
      const finished = await held(images)
      for (const [name, image] of images)
        if ((await target.client.tags(name)).includes('1'))
          await requireWhole(name, image, finished)

      const second = await kipCopy(args, { input })
      assert.equal(second.code, 0, second.stderr)
      await settledEnd()
      const all = await held(images)
      for (const [name, image] of images) await requireWhole(name, image, all)
      const sent = await sentSince(mark)
      const twice = sent.filter((blob, i) => finished.has(blob) || sent.indexOf(blob) < i)
      assert.deepEqual(twice, [], `run ${run}, killed after ${answers} answers`)
    }
    assert.ok(killed > runs / 2, `only ${killed} of ${runs} were killed`)
  })
})
