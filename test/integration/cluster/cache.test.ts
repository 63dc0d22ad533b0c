import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { cachedBuild, cacheFolder, contentKey } from '../../cluster/cache.ts'

describe('the cache of builds', () => {
  const home = process.env.XDG_CACHE_HOME
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-cache-'))
    process.env.XDG_CACHE_HOME = folder
  })
  after(async () => {
    if (home === undefined) delete process.env.XDG_CACHE_HOME
    else process.env.XDG_CACHE_HOME = home
    await rm(folder, { recursive: true })
  })

  const lines: string[] = []
  const options = {
    step: 'building',
    expectedSeconds: 1,
    report: (line: string) => void lines.push(line),
  }
  const builds = async () => (await readdir(cacheFolder())).filter((name) => name !== 'build.lock')

  it('builds once for all who ask, and shows a build that is whole or none', async () => {
    let times = 0
    const key = await contentKey(['once'])
    const build = async (into: string) => {
      times++
      await writeFile(join(into, 'part'), 'a')
      assert.deepEqual(
        (await builds()).filter((name) => !name.startsWith('.')),
        [],
      )
      await writeFile(join(into, 'part'), 'whole')
    }
    const all = [1, 2, 3].map(() => cachedBuild({ ...options, name: 'once', key, build }))
    const [first = '', ...others] = await Promise.all(all)
    assert.deepEqual(others, [first, first])
    assert.equal(times, 1)
    assert.equal(await readFile(join(first, 'part'), 'utf8'), 'whole')
    assert.ok(lines.some((line) => /^building: done in \d+ s$/.test(line)))
  })

  it('throws away what failed, and what a killed one left', async () => {
    await mkdir(join(cacheFolder(), '.building-abandoned'), { recursive: true })
    const failure = new Error('no compiler')
    const build = async () => {
      throw failure
    }
    const key = await contentKey(['failing'])
    await assert.rejects(cachedBuild({ ...options, name: 'failing', key, build }), failure)
    assert.deepEqual(
      (await builds()).filter((name) => !name.startsWith('once-')),
      [],
    )
  })

  it('has another key for another input, and for inputs that only look alike in a row', async () => {
    const keys = await Promise.all([['ab'], ['a', 'b'], ['b', 'a']].map(contentKey))
    assert.equal(new Set(keys).size, 3)
    const file = join(folder, 'input')
    await writeFile(file, 'ab')
    assert.equal(await contentKey([{ file }]), keys[0])
  })
})
