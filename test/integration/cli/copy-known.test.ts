import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { imageOf, layerOf } from '../../cluster/images/image.ts'
import { type CopyRun, kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry, fail } from '../../support/fake-registry.ts'
import { independentTools } from '../../support/independent-tools.ts'
import { startRegistry, whyNoRegistry } from '../../support/registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

let folder: string
let file: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kip-known-'))
  file = join(folder, 'known')
})
afterEach(() => rm(folder, { recursive: true }))

/** A run that remembers, without a word on standard error but of what it copies. */
async function kip(args: readonly string[], hosts: readonly string[]): Promise<CopyRun> {
  const plain = hosts.flatMap((host) => ['--http', host])
  return await kipCopy([...plain, '--known', file, '--output', 'json', ...args])
}

/** What the first image of a run came to. */
function resultOf({ stdout }: CopyRun): Record<string, unknown> {
  return JSON.parse(stdout.split('\n')[0] ?? '')
}

describe('kip copy --known', { timeout: 120_000 }, () => {
  let source: FakeRegistry
  let target: FakeRegistry
  const image = sampleImage({ layers: [noise('known', 300_000)] })

  beforeEach(async () => {
    source = await FakeRegistry.start()
    target = await FakeRegistry.start()
    await source.client.push(image, 'a/b', 'v1')
  })
  afterEach(async () => {
    await source.close()
    await target.close()
  })

  const copy = (repository: string, ...more: readonly string[]): Promise<CopyRun> =>
    kip(
      [...more, `${source.host}/a/b:v1`, `${target.host}/${repository}:v1`],
      [source.host, target.host],
    )

  test('mounts in the next run what the one before sent', async () => {
    const first = await copy('first')
    assert.match(first.stderr, /--known .*: is not there yet; begun anew/)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.deepEqual(await readdir(folder), ['known'])
    source.takeLog()
    target.takeLog()
    const second = await copy('second')
    assert.equal(second.code, 0, second.stderr)
    assert.doesNotMatch(second.stderr, /--known/)
    const { mounted, blobs } = resultOf(second)
    assert.deepEqual({ mounted, blobs }, { mounted: 2, blobs: 0 })
    const requests = target.takeLog().filter((line) => line.includes('/blobs/'))
    assert.equal(requests.length, 2)
    for (const line of requests) assert.match(line, /^POST .*from=first 201$/)
    assert.deepEqual(
      source.takeLog().filter((line) => line.includes('/blobs/')),
      [],
    )
    assert.equal(target.repository('second').tags.get('v1'), image.digest)
  })

  test('sends what was deleted meanwhile', async () => {
    await copy('first')
    target.repositories.delete('first')
    const second = await copy('second')
    assert.equal(second.code, 0, second.stderr)
    assert.equal(resultOf(second).blobs, 2)
    assert.equal(target.repository('second').tags.get('v1'), image.digest)
    assert.doesNotMatch(await readFile(file, 'utf8'), /first/)
  })

  test('remembers what a run brought whose image failed', async () => {
    target.interceptor = ({ method, url = '' }, response) => {
      if (method !== 'PUT' || !url.includes('/manifests/')) return false
      fail(response, 403, 'DENIED')
      return true
    }
    assert.equal((await copy('first')).code, 1)
    target.interceptor = undefined
    assert.equal(resultOf(await copy('second')).mounted, 2)
  })

  test('adds to what another run wrote while it went', async () => {
    await copy('first')
    const other = sampleImage({ layers: [noise('other', 1000)] })
    await source.client.push(other, 'o/p', 'v1')
    const released = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    source.interceptor = async ({ url = '' }) => {
      if (!url.startsWith('/v2/o/p/blobs/')) return false
      begun.resolve()
      await released.promise
      return false
    }
    const slow = kip(
      [`${source.host}/o/p:v1`, `${target.host}/slow:v1`],
      [source.host, target.host],
    )
    await begun.promise
    await copy('second')
    released.resolve()
    assert.equal((await slow).code, 0)
    const kept = await readFile(file, 'utf8')
    assert.match(kept, / first second$/m)
    assert.match(kept, / slow$/m)
  })

  for (const [what, content] of Object.entries({
    'an empty file': '',
    'a cut file': 'image-copy blob-places 1 3\nsha256:',
    'something else': '{"auths":{"r.test":{"auth":"c2VjcmV0"}}}\n',
  }))
    test(`begins anew with ${what}, and loses nothing`, async () => {
      await writeFile(file, content)
      const run = await copy('first')
      assert.equal(run.code, 0, run.stderr)
      assert.match(run.stderr, /^kip copy: --known .*known: .*; begun anew$/m)
      assert.doesNotMatch(run.stderr, /c2VjcmV0/)
      assert.match(await readFile(file, 'utf8'), /^image-copy blob-places 1 2\n/)
      const names = content === '' ? ['known'] : ['known', 'known.old']
      assert.deepEqual(await readdir(folder), names)
      if (content !== '') assert.equal(await readFile(`${file}.old`, 'utf8'), content)
    })

  test('leaves alone what it cannot read, and copies all the same', async () => {
    await mkdir(file)
    const run = await copy('first')
    assert.equal(run.code, 0, run.stderr)
    assert.match(run.stderr, /^kip copy: --known .*known: is left alone: EISDIR/m)
    assert.deepEqual(await readdir(folder), ['known'])
    assert.ok((await stat(file)).isDirectory())
  })

  test('that cannot be written is told, and fails no run', async () => {
    const away = join(folder, 'away', 'known')
    const run = await copy('first', '--known', away)
    assert.equal(run.code, 0, run.stderr)
    assert.match(run.stderr, /^kip copy: --known .*away\/known: is not written: ENOENT/m)
  })

  test('is not touched by a dry run, nor by a run that sees nothing new', async () => {
    await copy('first', '--dry-run')
    assert.deepEqual(await readdir(folder), [])
    await copy('first')
    await chmod(file, 0o400)
    const { ino } = await stat(file)
    await copy('first')
    assert.equal((await stat(file)).ino, ino)
  })

  test('holds no credential', async () => {
    const guarded = await FakeRegistry.start({
      auth: { kind: 'bearer', users: { somebody: 'hunter2' } },
    })
    try {
      const auth = Buffer.from('somebody:hunter2').toString('base64')
      const config = join(folder, 'config.json')
      await writeFile(config, JSON.stringify({ auths: { [guarded.host]: { auth } } }))
      const run = await kip(
        ['--authfile', config, `${source.host}/a/b:v1`, `${guarded.host}/first:v1`],
        [source.host, guarded.host],
      )
      assert.equal(run.code, 0, run.stderr)
      const kept = await readFile(file, 'utf8')
      const lines = kept.split('\n').slice(1, -1)
      for (const line of lines) assert.match(line, /^sha256:[0-9a-f]{64} 127\.0\.0\.1:\d+ first$/)
      assert.equal(lines.length, 2)
    } finally {
      await guarded.close()
    }
  })
})

const skip = (await whyNoRegistry()) ?? false

for (const kind of ['distribution 2.8', 'distribution 3'] as const)
  describe(`kip copy --known to ${kind}`, { skip, timeout: 600_000 }, () => {
    test('mounts in the next run, sends what is gone, and what it leaves is whole', async () => {
      await using source = await startRegistry()
      await using target = await startRegistry({ kind })
      await using tools = await independentTools(target)
      const layers = ['one', 'two'].map((name) =>
        layerOf([{ kind: 'file', path: `/${name}`, content: noise(name, 1000) }]),
      )
      const image = imageOf({ layers })
      await source.client.push(image, 'app', '1')
      const copy = (repository: string): Promise<CopyRun> =>
        kip([`${source.host}/app:1`, `${target.host}/${repository}:1`], [source.host, target.host])
      assert.equal(resultOf(await copy('first/app')).blobs, 3)
      assert.equal(resultOf(await copy('second/app')).mounted, 3)
      await tools.validate('second/app', '1', 'whole')
      // To a registry, a repository that is gone is one that never was.
      const kept = await readFile(file, 'utf8')
      await writeFile(file, kept.replaceAll(' first/app second/app', ' gone/app'))
      const { code, ...run } = await copy('third/app')
      assert.equal(code, 0, run.stderr)
      assert.equal(resultOf({ code, ...run }).blobs, 3)
      await tools.validate('third/app', '1', 'whole')
      assert.doesNotMatch(await readFile(file, 'utf8'), /gone/)
    })
  })
