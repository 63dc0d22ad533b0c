/**
 * Compares with peers: `npm run bench -- NAME [--json FILE] [--rounds N] [--only TEXT]`.
 *
 * Each case runs every contender in turn, seven rounds by default, and prints the medians and each goal with its ratio. The
 * exit code is 0 only if every goal was met; a peer that cannot be built or run fails the bench.
 */
import { writeFile } from 'node:fs/promises'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { stopOnce } from '../cluster/index.ts'
import type { Bench } from './bench.ts'
import { type CommandLine, parseCommandLine } from './command-line.ts'
import { caseTable, goalsTable } from './harness/report.ts'

const benches: Readonly<Record<string, () => Promise<Bench>>> = {
  copy: async () => (await import('./copy/bench.ts')).benchCopy,
  puller: async () => (await import('./puller/bench.ts')).benchPuller,
  watch: async () => (await import('./watch/bench.ts')).benchWatch,
  webhook: async () => (await import('./webhook/bench.ts')).benchWebhook,
}

/** What is running besides distorts every figure; ratios stand it better than times do. */
const BUSY = 0.7

const complain = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

async function main(commandLine: CommandLine, signal: AbortSignal): Promise<number> {
  const load = benches[commandLine.bench]
  if (!load) throw new RangeError(`no bench ${commandLine.bench}`)
  const [busy = 0] = loadavg()
  if (busy > BUSY) complain(`bench: the machine is busy (load ${busy.toFixed(1)})`)
  const bench = await load()
  const result = await bench({ ...commandLine, report: complain, signal })
  const goals = result.cases.flatMap((one) => one.goals)
  for (const one of result.cases) console.log(`\n${caseTable(one)}`)
  console.log(`\n${goalsTable(goals)}\n`)
  const versions = Object.entries(result.versions).map(([name, version]) => `${name} ${version}`)
  console.log(versions.join(', '))
  const machine = {
    ...result.machine,
    processor: cpus()[0]?.model ?? 'unknown',
    processors: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    loadBefore: busy,
  }
  if (commandLine.json !== undefined) {
    const document = { ...result, machine, date: new Date().toISOString() }
    await writeFile(commandLine.json, `${JSON.stringify(document, undefined, 2)}\n`)
  }
  const missed = goals.filter(({ met }) => !met).length
  console.log(`${goals.length - missed} of ${goals.length} goals met, ${result.rounds} rounds`)
  return missed === 0 ? 0 : 1
}

const stop = stopOnce()
try {
  process.exitCode = await main(parseCommandLine(process.argv.slice(2), Object.keys(benches)), stop)
} catch (failure) {
  // Whatever an interrupted step says of itself, the signal is why.
  const error = stop.aborted ? stop.reason : failure
  complain(`bench: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 2
}
