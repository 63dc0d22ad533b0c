import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type TarEntry, tar } from '../../cluster/images/tar.ts'

describe('tar', () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'kip-tar-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const list = (archive: Buffer): readonly string[] =>
    execFileSync('tar', ['--numeric-owner', '--utc', '-tvf', '-'], {
      input: archive,
      encoding: 'utf8',
    })
      .trimEnd()
      .split('\n')
      .map((line) => line.replaceAll(/ +/g, ' '))

  const unpack = (entries: readonly TarEntry[]): string => {
    const into = mkdtempSync(join(folder, 'into-'))
    writeFileSync(join(into, 'archive.tar'), tar(entries))
    execFileSync('tar', ['-xpf', 'archive.tar'], { cwd: into })
    return into
  }

  it('is read by tar, with folders before what they hold', () => {
    const archive = tar([
      { kind: 'file', path: '/usr/bin/tool', content: '#!', mode: 0o4755 },
      { kind: 'symlink', path: '/bin', target: 'usr/bin' },
      { kind: 'folder', path: '/tmp', mode: 0o1777 },
      { kind: 'file', path: 'tmp/mine', content: 'x', owner: 65532 },
      { kind: 'hardlink', path: '/usr/bin/other', target: '/usr/bin/tool' },
    ])
    assert.equal(archive.length % 512, 0)
    assert.deepEqual(list(archive), [
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/bin/',
      '-rwsr-xr-x 0/0 2 1970-01-01 00:00 usr/bin/tool',
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin -> usr/bin',
      'drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/',
      '-rw-r--r-- 65532/65532 1 1970-01-01 00:00 tmp/mine',
      'hrwxrwxrwx 0/0 0 1970-01-01 00:00 usr/bin/other link to usr/bin/tool',
    ])
  })

  it('holds what goes in, whatever its size', () => {
    const sizes = [0, 1, 511, 512, 513, 100_000]
    const contents = sizes.map((size) => Buffer.alloc(size, size % 251))
    const into = unpack(
      contents.map((content, i) => ({ kind: 'file', path: `/files/${i}`, content }) as const),
    )
    for (const [i, content] of contents.entries())
      assert.deepEqual(readFileSync(join(into, 'files', String(i))), content)
  })

  const deep = `a/${'b'.repeat(90)}/${'c'.repeat(90)}`
  for (const path of [
    'x'.repeat(100),
    'x'.repeat(101),
    'x'.repeat(200),
    deep,
    `${deep}/${'d'.repeat(90)}/${'e'.repeat(90)}`,
    'naïve/雪',
  ]) {
    it(`keeps the path ${path.slice(0, 12)}… of ${path.length} characters`, () => {
      const into = unpack([
        { kind: 'file', path, content: 'here' },
        { kind: 'symlink', path: 'link', target: `/${path}` },
      ])
      assert.equal(readFileSync(join(into, path), 'utf8'), 'here')
      assert.equal(readlinkSync(join(into, 'link')), `/${path}`)
    })
  }

  it('keeps modes', () => {
    const into = unpack([{ kind: 'file', path: 'run', content: '', mode: 0o755 }])
    assert.equal(statSync(join(into, 'run')).mode & 0o7777, 0o755)
  })

  for (const path of ['', '/', '../up', 'a/../../b'])
    it(`refuses the path ${JSON.stringify(path)}`, () => {
      assert.throws(() => tar([{ kind: 'file', path, content: '' }]), /is no path in a layer/)
    })
})
