import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { type CopyRun, kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

describe('kip copy --metrics-file', { timeout: 120_000 }, () => {
  let source: FakeRegistry
  let target: FakeRegistry
  let folder: string
  let file: string

  beforeEach(async () => {
    source = await FakeRegistry.start()
    target = await FakeRegistry.start()
    folder = await mkdtemp(join(tmpdir(), 'kip-metrics-'))
    file = join(folder, 'kip_copy.prom')
    await source.client.push(sampleImage({ layers: [noise('metrics', 1000)] }), 'a/b', 'v1')
  })
  afterEach(async () => {
    await source.close()
    await target.close()
    await rm(folder, { recursive: true })
  })

  const kip = (args: readonly string[], input = ''): Promise<CopyRun> =>
    kipCopy(['--http', source.host, '--http', target.host, '--metrics-file', file, ...args], {
      input,
    })
  const pair = (tag = 'v1'): readonly string[] => [
    `${source.host}/a/b:${tag}`,
    `${target.host}/c/d:${tag}`,
  ]

  /** Samples by name and labels. */
  async function samples(): Promise<ReadonlyMap<string, number>> {
    const text = await readFile(file, 'utf8')
    assert.ok(text.endsWith('\n# EOF\n'))
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return new Map(
      lines.map((line) => {
        const at = line.lastIndexOf(' ')
        return [line.slice(0, at), Number(line.slice(at + 1))]
      }),
    )
  }

  test('tells what a run came to, and begins anew with each', async () => {
    const first = await kip(pair())
    assert.equal(first.code, 0, first.stderr)
    const copied = await samples()
    assert.equal(copied.get('kip_copy_images_total{result="done"}'), 1)
    assert.equal(copied.get('kip_copy_blobs_total{how="copied"}'), 2)
    const reads = `kip_copy_requests_total{host="${source.host}",kind="read",status="2xx"}`
    assert.ok((copied.get(reads) ?? 0) > 0)
    assert.equal((await kip(pair())).code, 0)
    const present = await samples()
    assert.equal(present.get('kip_copy_images_total{result="done"}'), 1)
    assert.equal(present.get('kip_copy_blobs_total{how="copied"}'), 0)
  })

  test('tells of images that failed, and other users may read it', async () => {
    const list = [pair(), pair('absent')].map((it) => `${it.join(' ')}\n`).join('')
    const run = await kip(['--from-file', '-'], list)
    assert.equal(run.code, 1)
    const told = await samples()
    assert.equal(told.get('kip_copy_images_total{result="done"}'), 1)
    assert.equal(told.get('kip_copy_images_total{result="failed"}'), 1)
    assert.equal((await stat(file)).mode & 0o777, 0o666 & ~process.umask())
  })

  test('tells of a selection that came to nothing as of an image that failed', async () => {
    const list = ['a/b', 'absent'].map((it) => `${source.host}/${it} ${target.host}/${it} tags=*\n`)
    const run = await kip(['--from-file', '-'], list.join(''))
    assert.equal(run.code, 1)
    const told = await samples()
    assert.equal(told.get('kip_copy_images_total{result="done"}'), 1)
    assert.equal(told.get('kip_copy_images_total{result="failed"}'), 1)
  })

  test('replaces what stood there and leaves nothing beside it', async () => {
    const other = join(folder, 'other')
    await writeFile(other, 'untouched')
    await symlink(other, file)
    assert.equal((await kip(pair())).code, 0)
    assert.deepEqual(await readdir(folder), ['kip_copy.prom', 'other'])
    assert.equal(await readFile(other, 'utf8'), 'untouched')
    await samples()
  })

  test('that cannot be written is told, and is a failure of the run alone', async () => {
    await mkdir(file)
    const run = await kip(pair())
    assert.equal(run.code, 1)
    assert.match(run.stderr, /^kip copy: --metrics-file .*kip_copy\.prom: EISDIR/m)
    assert.match(run.stdout, /^copied /)
    assert.deepEqual(await readdir(folder), ['kip_copy.prom'])
  })

  test('wants a file that does not have to remember layers too', async () => {
    const run = await kip(['--known', file, ...pair()])
    assert.equal(run.code, 2)
    assert.match(run.stderr, /--known and --metrics-file: give each a file of its own/)
    assert.deepEqual(await readdir(folder), [])
  })

  test('tells before anything is copied that its directory is missing', async () => {
    const run = await kipCopy(['--metrics-file', join(folder, 'gone', 'm.prom'), ...pair()])
    assert.equal(run.code, 2)
    assert.match(run.stderr, /^kip copy: --metrics-file .*m\.prom: there is no directory .*gone/m)
    assert.equal(run.stdout, '')
  })

  for (const wrong of ['', '-'])
    test(`wants a file and not ${JSON.stringify(wrong)}`, async () => {
      const run = await kipCopy(['--metrics-file', wrong, ...pair()])
      assert.equal(run.code, 2)
      assert.match(run.stderr, /--metrics-file "-?": give a file/)
    })
})
