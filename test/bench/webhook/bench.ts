import type { BenchOptions } from '../bench.ts'
import { chooseCases, runCase } from '../harness/case.ts'
import type { BenchResult, CaseResult } from '../harness/report.ts'
import { cases } from './cases.ts'
import { checkSameAnswers } from './contenders.ts'
import { createWorld } from './world.ts'

/** Compares kip's webhook with one on Go's net/http and the Kubernetes types that answers the same. */
export async function benchWebhook(options: BenchOptions): Promise<BenchResult> {
  const chosen = chooseCases(cases, options.only)
  await using world = await createWorld(options)
  await checkSameAnswers(world, options.signal)
  const results: CaseResult[] = []
  for (const one of chosen) results.push(await runCase(one, world, options))
  return {
    bench: 'webhook',
    machine: { cores: 'one for the server, one for the load, on loopback' },
    versions: world.versions,
    rounds: options.rounds,
    cases: results,
  }
}
