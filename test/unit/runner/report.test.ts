import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { runFiles } from '../../runner/files.ts'
import { Report } from '../../runner/report.ts'

let folder: string
const said: string[] = []
const log = console.log

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kip-runner-'))
  console.log = (line: string) => void said.push(line)
})
after(async () => {
  console.log = log
  await rm(folder, { recursive: true })
})

async function run(
  source: string,
  failSkipped?: string,
): Promise<{ ok: boolean; lines: string[] }> {
  const file = join(folder, 'some.test.ts')
  await writeFile(file, `import { describe, it } from 'node:test'\n${source}`)
  const report = new Report()
  said.length = 0
  // The environment of a test run inside a test run would have it report to its parent.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  await runFiles({
    ...{ files: [file], concurrency: 1, env, report },
    name: () => 'some.test.ts',
    signal: new AbortController().signal,
  })
  const ok = report.print({ failSkipped })
  return { ok, lines: said.join('\n').trim().split('\n') }
}

test('tests are counted one by one, suites are not', async () => {
  const { ok, lines } = await run(`describe('a', () => { it('b', () => {}); it('c', () => {}) })`)
  assert.equal(ok, true)
  assert.equal(lines.at(-1), '2 passed, 0 failed, 0 skipped')
})

test('a failed test is named with its error', async () => {
  const { ok, lines } = await run(
    `it('good', () => {}); it('bad', () => { throw new Error('why') })`,
  )
  assert.equal(ok, false)
  assert.equal(lines.at(-1), '1 passed, 1 failed, 0 skipped')
  assert.ok(lines.includes('✗ some.test.ts: bad'))
  assert.ok(lines.some((line) => line.includes('Error: why')))
})

test('a suite that was skipped is told with the reason of its probe', async () => {
  const source = `it('good', () => {}); describe('nodes', { skip: 'nodes need root' }, () => { it('x', () => {}) })`
  const { ok, lines } = await run(source)
  assert.equal(ok, true)
  assert.ok(lines.includes('- skipped: some.test.ts: nodes: nodes need root'), lines.join('\n'))
  assert.equal(lines.at(-1), '1 passed, 0 failed, 1 skipped')
})

test('where nothing may be skipped, a skip is a failure', async () => {
  const { ok, lines } = await run(`it('good', () => {}); it('x', { skip: 'no' }, () => {})`, 'some')
  assert.equal(ok, false)
  assert.equal(lines.at(-1), '1 passed, 1 failed, 0 skipped')
})

test('a file that ends before it ran a test is a failure', async () => {
  const { ok, lines } = await run('process.exit(0)')
  assert.equal(ok, false)
  assert.equal(lines.at(-1), '0 passed, 1 failed, 0 skipped')
})
