import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { imageOf, layerOf } from '../../cluster/images/image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { kipCopy as kip } from '../../support/copy-command.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'

const skip = (await whyNoRegistry()) ?? false
function objects(lines: string): readonly Record<string, unknown>[] {
  return lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

describe('kip copy', { skip, timeout: 120_000 }, () => {
  let source: TestRegistry
  let target: TestRegistry
  let folder: string
  let plain: readonly string[]

  before(async () => {
    source = await startRegistry()
    target = await startRegistry()
    folder = await mkdtemp(join(tmpdir(), 'kip-cli-'))
    plain = ['--http', source.host, '--http', target.host]
  })

  after(async () => {
    await source.close()
    await target.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('an image arrives with its digest, and the second time it is there', async () => {
    const digest = await source.client.push(tinyImage(1), 'one', '1')
    const pair = [`${source.host}/one:1`, `${target.host}/copies/one:1`]
    const first = await kip([...plain, ...pair])
    assert.equal(first.code, 0, first.stderr)
    assert.match(
      first.stdout,
      new RegExp(`^copied ${pair[0]} -> ${pair[1]} ${digest} \\(.*s\\)\n$`),
    )
    assert.equal((await target.client.manifest('copies/one', '1'))?.digest, digest)
    const second = await kip([...plain, ...pair])
    assert.equal(second.code, 0)
    assert.equal(second.stdout, `present ${pair[0]} -> ${pair[1]} ${digest}\n`)
  })

  test('of a list, one failure stops no other image, and the exit code tells', async () => {
    await source.client.push(tinyImage(2), 'two', '1')
    await source.client.push(tinyImage(3), 'three', '1')
    const list = join(folder, 'list')
    const lines = ['two', 'missing', 'three'].map(
      (name) => `${source.host}/${name}:1 ${target.host}/list/${name}:1\n`,
    )
    await writeFile(list, `# what we need\n${lines.join('')}`)
    const run = await kip([...plain, '--output', 'json', '--from-file', list])
    assert.equal(run.code, 1)
    const results = objects(run.stdout)
    const statusOf = (name: string): unknown =>
      results.find(({ source }) => String(source).includes(`/${name}:`))?.status
    assert.deepEqual(['two', 'missing', 'three'].map(statusOf), ['copied', 'failed', 'copied'])
    const failed = results.find(({ status }) => status === 'failed')
    assert.equal(failed?.code, 'COPY_NOT_FOUND')
    const { type, images, copied, failed: failures } = results.at(-1) ?? {}
    assert.deepEqual([type, images, copied, failures], ['summary', 3, 2, 1])
    assert.deepEqual(await target.client.tags('list/three'), ['1'])
  })

  test('a dry run tells the bytes and writes nothing', async () => {
    const content = 'x'.repeat(1000)
    const layer = layerOf([{ kind: 'file', path: '/x', content }], 'none')
    const image = imageOf({ layers: [layer] })
    await source.client.push(image, 'dry', '1')
    const pair = [`${source.host}/dry:1`, `${target.host}/dry:1`]
    const run = await kip([...plain, '--dry-run', '--output', 'json', ...pair])
    assert.equal(run.code, 0, run.stderr)
    const [planned, summary] = objects(run.stdout)
    const bytes = image.blobs.reduce((sum, { size }) => sum + size, image.bytes.length)
    assert.deepEqual([planned?.status, planned?.bytes, planned?.blobs], ['to-copy', bytes, 2])
    assert.equal(summary?.bytes, bytes)
    assert.deepEqual(await target.client.tags('dry'), [])
  })

  test('a list on standard input', async () => {
    await source.client.push(tinyImage(4), 'piped', '1')
    const input = `${source.host}/piped:1 ${target.host}/piped:1\n`
    const run = await kip([...plain, '--from-file', '-'], { input })
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual(await target.client.tags('piped'), ['1'])
  })

  test('credentials come on standard input, for the side that they are for', async () => {
    await using secret = await startRegistry({ tls: true, authenticated: true })
    const { user, authorityFile = '' } = secret
    assert.ok(user)
    await source.client.push(tinyImage(5), 'guarded', '1')
    const pair = [`${source.host}/guarded:1`, `${secret.host}/guarded:1`]
    const auth = Buffer.from(`${user.username}:${user.password}`).toString('base64')
    const input = JSON.stringify({ auths: { [secret.host]: { auth } } })
    const options = ['--http', source.host, '--ca', authorityFile]
    const without = await kip([...options, ...pair])
    assert.equal(without.code, 1)
    assert.match(without.stderr, /COPY_UNAUTHORIZED/)
    const wrongSide = await kip(
      [...options, '--src-authfile', '-', '--dest-authfile', '/dev/null', ...pair],
      { input },
    )
    assert.equal(wrongSide.code, 2)
    const run = await kip([...options, '--dest-authfile', '-', ...pair], { input })
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual(await secret.client.tags('guarded'), ['1'])
    for (const { stdout, stderr } of [without, wrongSide, run])
      assert.equal(`${stdout}${stderr}`.includes(user.password), false)
  })

  test('Ctrl-C ends it at once, with every image accounted for', async () => {
    await using silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const host = `127.0.0.1:${(silent.address() as AddressInfo).port}`
    const list = [1, 2, 3].map((number) => `${host}/x:${number} ${target.host}/x:${number}\n`)
    const args = [...plain, '--http', host, '--concurrency', '2', '--from-file', '-']
    const run = await kip(args, { input: list.join(''), interruptAt: once(silent, 'connection') })
    assert.equal(run.code, 1)
    assert.equal(run.stderr.match(/^stopped /gm)?.length, 3)
    assert.match(run.stdout, /3 images: 3 not done/)
  })

  test('wrong use is told before anything is asked, with exit code 2', async () => {
    const run = await kip(['nginx'])
    assert.equal(run.code, 2)
    assert.match(run.stderr, /SOURCE and one TARGET/)
    const missing = await kip(['--from-file', join(folder, 'nothing')])
    assert.equal(missing.code, 2)
    assert.match(missing.stderr, /--from-file .*nothing: ENOENT/)
  })

  test('a registry of http is not spoken to unless it is named', async () => {
    const run = await kip([`${source.host}/one:1`, `${target.host}/one:1`])
    assert.equal(run.code, 1)
    assert.match(run.stderr, /failed .*\[COPY_TLS\]|\[COPY_UNREACHABLE\]/)
  })
})
