import type { BenchOptions } from '../bench.ts'
import { type Goal, judge } from './goals.ts'
import type { CaseResult } from './report.ts'
import { type Contender, type RoundsOptions, runRounds } from './rounds.ts'

/** One comparison, in a world of a bench's own that outlives it. */
export interface Case<World> {
  readonly name: string
  readonly title: string
  /** Makes what the runs need, unmeasured. */
  readonly contenders: (world: World, signal: AbortSignal) => Promise<readonly Contender[]>
  readonly goals: readonly Goal[]
  readonly leaveOutBeyond?: number
  /** One run before the rounds does not count: see {@link RoundsOptions.warmUp}. */
  readonly warmUp?: boolean
  /** No more rounds than these, where each is a long one. */
  readonly mostRounds?: number
}

/** Whose program is measured beside its peers. */
export const OURS = 'kip'

/** The case that `--only` names, or those whose names hold it. @throws RangeError when there is none */
export function chooseCases<One extends { readonly name: string }>(
  cases: readonly One[],
  only: string,
): readonly One[] {
  const named = cases.filter(({ name }) => name === only)
  const chosen = named.length > 0 ? named : cases.filter(({ name }) => name.includes(only))
  if (chosen.length === 0) {
    throw new RangeError(`--only: there are ${cases.map(({ name }) => name).join(', ')}`)
  }
  return chosen
}

/** Runs a case's rounds and judges its goals. */
export async function runCase<World>(
  one: Case<World>,
  world: World,
  options: BenchOptions,
): Promise<CaseResult> {
  const { name, title, goals } = one
  const besides = goals.flatMap((goal) => {
    if (goal.kind === 'difference') return [goal.from]
    return goal.kind === 'ratio' && goal.beside.length === 1 ? goal.beside : []
  })
  const { rounds, leftOut } = await runRounds({
    ...options,
    rounds: Math.min(options.rounds, one.mostRounds ?? options.rounds),
    name,
    contenders: await one.contenders(world, options.signal),
    ours: OURS,
    keep: besides,
    ...(one.leaveOutBeyond !== undefined && { leaveOutBeyond: one.leaveOutBeyond }),
    ...(one.warmUp && { warmUp: true }),
  })
  const judged = goals.map((goal) => judge(name, goal, rounds))
  return { name, title, ours: OURS, rounds, leftOut, goals: judged }
}
