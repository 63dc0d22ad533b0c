import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { benchFolder } from '../../bench/harness/folder.ts'
import { ownIdentity } from '../../cluster/process-identity.ts'

describe('the folder of a bench', () => {
  const usual = process.env.TMPDIR
  let parent: string
  before(async () => {
    parent = await mkdtemp(join(tmpdir(), 'kip-folders-'))
    process.env.TMPDIR = parent
  })
  after(async () => {
    if (usual === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = usual
    await rm(parent, { recursive: true, force: true })
  })

  it('is gone with the bench', async () => {
    {
      await using one = await benchFolder('disk', assert.fail)
      await using two = await benchFolder('disk', assert.fail)
      await writeFile(join(one.path, 'file'), '')
      const names = [one, two].map(({ path }) => basename(path))
      assert.deepEqual((await readdir(parent)).sort(), names.sort())
    }
    assert.deepEqual(await readdir(parent), [])
  })

  it('of a bench that was killed is removed by the next one, of one that runs it is not', async () => {
    const { pid, startTime } = ownIdentity()
    const running = `kip-bench-${pid}-${startTime}-99`
    // The number of this process, which started at another time.
    const left = `kip-bench-${pid}-1-1`
    for (const name of [running, left, 'kip-bench-else'])
      await mkdir(join(parent, name, 'kip', 'clusters'), { recursive: true })
    const lines: string[] = []
    const home = process.env.XDG_STATE_HOME
    await using own = await benchFolder('disk', (line) => lines.push(line))
    assert.deepEqual(lines, [`${join(parent, left)} was left by a bench that is gone: removing it`])
    const expected = [running, basename(own.path), 'kip-bench-else']
    assert.deepEqual((await readdir(parent)).sort(), expected.sort())
    assert.equal(process.env.XDG_STATE_HOME, home)
  })
})
