import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { lstat, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { replaceFile } from '../../../src/cli/copy/replace-file.ts'

describe('a file that is written anew', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-replace-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  test('takes the place of none that is no file, like /dev/null', async () => {
    const pipe = join(folder, 'pipe')
    const link = join(folder, 'link')
    execFileSync('mkfifo', [pipe])
    await symlink(pipe, link)
    for (const path of [pipe, link])
      assert.throws(() => replaceFile(path, 'text', 0o600), /is a device or a pipe: give a file$/)
    assert.ok((await lstat(pipe)).isFIFO())
    assert.ok((await lstat(link)).isSymbolicLink())
    assert.deepEqual(await readdir(folder), ['link', 'pipe'])
  })

  test('takes the place of a link that leads nowhere', async () => {
    const link = join(folder, 'link')
    await symlink(join(folder, 'gone'), link)
    replaceFile(link, 'text', 0o600)
    assert.equal(await readFile(link, 'utf8'), 'text')
    assert.deepEqual(await readdir(folder), ['link'])
  })
})
