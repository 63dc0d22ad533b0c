import type { BenchOptions } from '../bench.ts'
import { chooseCases, runCase } from '../harness/case.ts'
import type { BenchResult, CaseResult } from '../harness/report.ts'
import { cases } from './cases.ts'
import { createWorld } from './world.ts'

/** Compares kip's puller with the way of kubernetes-image-puller, on a node of a real cluster. */
export async function benchPuller(options: BenchOptions): Promise<BenchResult> {
  const chosen = chooseCases(cases, options.only)
  await using world = await createWorld(options)
  const results: CaseResult[] = []
  for (const one of chosen) results.push(await runCase(one, world, options))
  return {
    bench: 'puller',
    machine: { nodes: 1 },
    versions: { Kubernetes: world.cluster.state.kubernetes },
    rounds: options.rounds,
    cases: results,
  }
}
