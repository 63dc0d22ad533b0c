import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseCopyArguments } from '../../../src/cli/copy/arguments.ts'
import { readCopyEntry, readCopyList } from '../../../src/cli/copy/items.ts'
import { overallLine } from '../../../src/cli/copy/screen.ts'
import { UsageError } from '../../../src/cli/errors.ts'

async function faultsOf(work: () => unknown): Promise<readonly string[]> {
  try {
    await work()
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error))
    return error.faults
  }
  return assert.fail('no fault was found')
}

describe('arguments of kip copy that select tags', () => {
  const selectionOf = (...args: readonly string[]) =>
    parseCopyArguments([...args, 'a', 'b.test/a']).selection

  test('are not needed: then images are copied', () => {
    assert.equal(selectionOf(), undefined)
  })

  test('patterns are repeated, or parted by commas that are in no expression', () => {
    const tags = ['--tags', '1.*,/v\\d{1,2}/,x', '--tags', '/a,b/', '--not-tags', '*-rc*,*-dev']
    const { allow, deny } = selectionOf(...tags) ?? {}
    assert.deepEqual(allow, ['1.*', '/v\\d{1,2}/', 'x', '/a,b/'])
    assert.deepEqual(deny, ['*-rc*', '*-dev'])
  })

  test('each selects by itself', () => {
    assert.equal(selectionOf('--semver', '>=1 <2')?.range, '>=1 <2')
    assert.equal(selectionOf('--latest', '5')?.latest, 5)
    assert.deepEqual(selectionOf('--not-tags', 'x')?.deny, ['x'])
    assert.equal(selectionOf('--latest', '5', '--pre-releases')?.preReleases, true)
    const since = selectionOf('--created-since', '2026-01-31')
    assert.deepEqual(since?.createdSince, new Date('2026-01-31'))
  })

  test('every fault of them is told at once', async () => {
    const faults = await faultsOf(() =>
      selectionOf(
        ...['--tags', 'nginx:1.*,ok', '--not-tags', '/(/', '--latest', '0', '--output', 'x'],
        ...['--created-since', '30m'],
      ),
    )
    assert.equal(faults.length, 5)
    assert.match(
      faults.join('\n'),
      /^--tags "nginx:1\.\*": .*\n--not-tags "\/\(\/": .*\n--latest "0": .*\n--created-since "30m": .*\n--output/,
    )
  })

  test('pre-releases of nothing, or a selection for a whole list, are refused', async () => {
    assert.match((await faultsOf(() => selectionOf('--pre-releases')))[0] ?? '', /semver or latest/)
    const list = ['--from-file', 'l', '--tags', '*']
    assert.match((await faultsOf(() => parseCopyArguments(list)))[0] ?? '', /tags=PATTERN/)
  })

  test('a range that is none is told with what else is wrong', async () => {
    const faults = await faultsOf(() => readCopyEntry(['UPPER', 'b.test/x'], { range: 'newest' }))
    assert.match(faults.join('\n'), /UPPER.*\n--semver "newest": give a range/)
  })
})

describe('repositories of which tags are copied', () => {
  test('have no tag afterwards, though the grammar gives them one', async () => {
    const entry = await readCopyEntry(['nginx', 'b.test:5000/x'], { latest: 1 })
    assert.deepEqual(entry, {
      source: { registry: 'docker.io', repository: 'library/nginx' },
      target: { registry: 'b.test:5000', repository: 'x' },
      selection: { latest: 1 },
    })
  })

  const digest = `sha256:${'0'.repeat(64)}`
  for (const end of [':1', ':latest', `@${digest}`, `:latest@${digest}`])
    test(`are not named with ${end.slice(0, 12)}, on either side`, async () => {
      const texts = [`a.test/x${end}`, `b.test/y${end}`] as const
      const faults = await faultsOf(() => readCopyEntry(texts, { allow: ['*'] }))
      assert.equal(faults.length, 2)
      assert.match(faults[0] ?? '', /^a\.test\/x\S* names an image.*write a\.test\/x$/)
      assert.match(faults[1] ?? '', /^b\.test\/y\S* names an image.*write b\.test\/y$/)
    })
})

describe('lists in which lines select tags', () => {
  test('have the same words behind the pair', async () => {
    const text = [
      'nginx b.test/nginx tags=1.*,/v\\d{1,2}/ not-tags=*-rc tags=x semver=>=1.2,<3 latest=5 # all',
      'a.test/app b.test/app pre-releases latest=1 created-since=2026-01-31T12:00Z',
      'a.test/one:1 b.test/one:1',
    ].join('\n')
    const entries = await readCopyList(text, 'list')
    assert.deepEqual(entries[0]?.selection, {
      allow: ['1.*', '/v\\d{1,2}/', 'x'],
      deny: ['*-rc'],
      range: '>=1.2,<3',
      latest: 5,
      preReleases: false,
    })
    assert.equal(entries[1]?.selection?.preReleases, true)
    assert.deepEqual(entries[1]?.selection?.createdSince, new Date('2026-01-31T12:00Z'))
    assert.deepEqual([entries[1]?.target.tag, entries[2]?.selection], [undefined, undefined])
  })

  test('every fault is told with its line and word', async () => {
    const text = [
      'a b.test/a tag=1.*',
      'a:1 b.test/b tags=a/b latest=many',
      'a b.test/c semver=newest latest=1 latest=2',
      'a b.test/d pre-releases',
      'a b.test/e latest=5 tags',
      'a b.test/f semver=>=',
      'a b.test/g created-since=30d created-since=9999-01-01',
    ].join('\n')
    const faults = await faultsOf(() => readCopyList(text, 'list'))
    const starts = [
      'list, line 1: tag=1.*: give tags=',
      'list, line 2: tags=a/b: give',
      'list, line 2: latest=many: give',
      'list, line 2: a:1 names an image',
      'list, line 3: latest=2: ',
      'list, line 4: pre-releases: ',
      'list, line 5: write SOURCE TARGET',
      'list, line 7: created-since=9999-01-01: is there twice',
      'list, line 7: created-since=9999-01-01: is in the future',
      'list, line 3: semver=newest: give a range',
      'list, line 6: semver=>=: give a range',
    ]
    assert.equal(faults.length, starts.length, faults.join('\n'))
    for (const [i, start] of starts.entries()) assert.ok(faults[i]?.startsWith(start), faults[i])
  })

  test('may have several for one pair of repositories, and for one target no two sources', async () => {
    const lines = ['a b.test/x tags=*-alpine latest=3', 'a b.test/x tags=*-slim latest=3']
    assert.equal((await readCopyList(lines.join('\n'), 'list')).length, 2)
    const faults = await faultsOf(() =>
      readCopyList([...lines, 'other b.test/x tags=*'].join('\n'), 'list'),
    )
    assert.equal(faults.length, 1)
    assert.match(faults[0] ?? '', /^list, line 3: the target b\.test\/x is that of line 1 too/)
  })
})

test('while tags are being listed, the progress says so', () => {
  const none = { images: 0, imagesDone: 0, done: 0, total: 0, sent: 0, blobs: [] }
  const view = { ...none, bytesPerSecond: undefined, secondsLeft: undefined }
  assert.equal(overallLine(view), 'listing tags')
})
