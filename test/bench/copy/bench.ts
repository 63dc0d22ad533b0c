import type { BenchOptions } from '../bench.ts'
import { judge } from '../harness/goals.ts'
import type { BenchResult, CaseResult } from '../harness/report.ts'
import { runRounds } from '../harness/rounds.ts'
import { type Case, cases } from './cases.ts'
import { createWorld, type World } from './world.ts'

/** Compares `kip copy` with crane, regctl, regsync, skopeo, and programs on oras-go and go.podman.io/image. */
export async function benchCopy(options: BenchOptions): Promise<BenchResult> {
  const chosen = cases.filter(({ name }) => name.includes(options.only))
  if (chosen.length === 0) {
    throw new RangeError(`--only: there are ${cases.map(({ name }) => name).join(', ')}`)
  }
  await using world = await createWorld(options)
  const results: CaseResult[] = []
  for (const one of chosen) results.push(await runCase(one, world, options))
  return {
    bench: 'copy',
    machine: { storage: 'registries in memory, on loopback' },
    versions: world.versions,
    rounds: options.rounds,
    cases: results,
  }
}

async function runCase(one: Case, world: World, options: BenchOptions): Promise<CaseResult> {
  const { name, title, goals } = one
  const besides = goals.flatMap((goal) =>
    goal.kind === 'ratio' && goal.beside.length === 1 ? goal.beside : [],
  )
  const { rounds, leftOut } = await runRounds({
    ...options,
    name,
    contenders: await one.contenders(world, options.signal),
    ours: 'kip',
    keep: besides,
    ...(one.leaveOutBeyond !== undefined && { leaveOutBeyond: one.leaveOutBeyond }),
  })
  const judged = goals.map((goal) => judge(name, goal, rounds))
  return { name, title, ours: 'kip', rounds, leftOut, goals: judged }
}
