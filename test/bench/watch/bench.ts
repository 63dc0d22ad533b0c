import type { BenchOptions } from '../bench.ts'
import { chooseCases, OURS, runCase } from '../harness/case.ts'
import { judge } from '../harness/goals.ts'
import { formatMeasurement, type Round } from '../harness/measurement.ts'
import type { BenchResult, CaseResult } from '../harness/report.ts'
import { CHURN_SECONDS, cases, type WatchCase } from './cases.ts'
import { churnRound } from './churn.ts'
import { listContender } from './contenders.ts'
import { idleRound } from './idle.ts'
import { CHANGES_PER_SECOND } from './replay-server.ts'
import { createWorld, type World } from './world.ts'

/** Compares kip's watch of pods with client-go's informer at its defaults, which keeps the same inventory. */
export async function benchWatch(options: BenchOptions): Promise<BenchResult> {
  const chosen = chooseCases(cases, options.only)
  await using world = await createWorld(options)
  const results: CaseResult[] = []
  for (const one of chosen) {
    options.signal.throwIfAborted()
    results.push(await run[one.does](one, world, options))
  }
  return {
    bench: 'watch',
    machine: { cores: 'all, for client and server together, on loopback' },
    versions: world.versions,
    rounds: options.rounds,
    cases: results,
  }
}

type Run = (one: WatchCase, world: World, options: BenchOptions) => Promise<CaseResult>

const run: Readonly<Record<WatchCase['does'], Run>> = { list, churn, idle }

async function list(one: WatchCase, world: World, options: BenchOptions): Promise<CaseResult> {
  if (one.server === 'real') await world.real.fill(options.signal)
  const target = world[one.server]
  const contenders = async () =>
    ([OURS, 'client-go'] as const).map((name) => listContender(world, target, name))
  return runCase({ ...one, contenders, leaveOutBeyond: 100 }, world, options)
}

async function churn(one: WatchCase, world: World, options: BenchOptions): Promise<CaseResult> {
  const { name, title, goals, server } = one
  const change =
    server === 'replay'
      ? () => world.replay.change(CHURN_SECONDS)
      : (signal: AbortSignal) => world.real.change(CHANGES_PER_SECOND, CHURN_SECONDS, signal)
  if (server === 'real') await world.real.fill(options.signal)
  const rounds: Round[] = []
  for (let number = 0; number < options.rounds; number += 1) {
    const target = world[server]
    rounds.push(await churnRound({ ...options, world, target, seconds: CHURN_SECONDS, change }))
  }
  const judged = goals.map((goal) => judge(name, goal, rounds))
  return { name, title, ours: OURS, rounds, leftOut: [], goals: judged }
}

async function idle(one: WatchCase, world: World, options: BenchOptions): Promise<CaseResult> {
  const { name, title, goals } = one
  const rounds: Round[] = []
  for (let number = 0; number < options.rounds; number += 1) {
    const measurement = await idleRound({ ...options, real: world.real, command: world.kip })
    options.report(`idle: kip: ${formatMeasurement(measurement)}`)
    rounds.push({ [OURS]: measurement })
  }
  const judged = goals.map((goal) => judge(name, goal, rounds))
  return { name, title, ours: OURS, rounds, leftOut: [], goals: judged }
}
