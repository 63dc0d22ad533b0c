/**
 * Runs the tests: `node start.mjs test/run.ts [unit] [integration] [e2e] [--long] [--only TEXT]`; no group: all of them.
 *
 * Clusters are brought up once for all files of a group and go down with this process. The last line is
 * `N passed, N failed, N skipped`; every skip is named with what the machine lacks. As root on Linux everything can run,
 * so there a skipped end-to-end test is a failure.
 */
import { globSync } from 'node:fs'
import { cpus, platform } from 'node:os'
import { relative } from 'node:path'
import { parseArgs } from 'node:util'
import { removeLeftovers, stopOnce } from './cluster/index.ts'
import { runFiles } from './runner/files.ts'
import { type Group, groups } from './runner/groups.ts'
import { Report } from './runner/report.ts'

const root = new URL('..', import.meta.url).pathname
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { long: { type: 'boolean', default: false }, only: { type: 'string', default: '' } },
})
const unknown = positionals.filter((name) => !Object.hasOwn(groups, name))
if (unknown.length > 0) {
  console.error(`unknown group ${unknown.join(', ')}; there are ${Object.keys(groups).join(', ')}`)
  process.exit(2)
}
const chosen = (Object.keys(groups) as Group[]).filter(
  (name) => positionals.length === 0 || positionals.includes(name),
)

const report = new Report()
const signal = stopOnce()

for (const name of chosen) {
  const group = groups[name]
  const files = globSync(group.files, { cwd: root })
    .filter((file) => file.includes(values.only))
    .sort()
    .map((file) => `${root}${file}`)
  if (files.length === 0) continue
  const started = performance.now()
  console.log(`\n${name}: ${files.length} files`)
  try {
    await using bed = await group.setUp(signal)
    await runFiles({
      files,
      concurrency: group.parallel ? Math.max(2, cpus().length) : 1,
      env: { ...process.env, ...bed.env, ...(values.long ? { KIP_TEST_LONG: '1' } : {}) },
      name: (file) => relative(root, file),
      report,
      signal,
    })
  } catch (error) {
    report.fail(
      name,
      `the tests could not be run: ${error instanceof Error ? error.message : error}`,
    )
  }
  console.log(`${name}: ${Math.round((performance.now() - started) / 1000)} s`)
  if (signal.aborted) break
}
// Files that were stopped left the clusters of their own behind.
if (signal.aborted) await removeLeftovers({ report: (line) => console.log(`  ${line}`) })

const mustRunAll = platform() === 'linux' && process.getuid?.() === 0
const passed = report.print({ failSkipped: mustRunAll ? 'test/e2e/' : undefined })
process.exit(passed && !signal.aborted ? 0 : 1)
