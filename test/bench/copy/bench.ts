import type { BenchOptions } from '../bench.ts'
import { chooseCases, runCase } from '../harness/case.ts'
import type { BenchResult, CaseResult } from '../harness/report.ts'
import { cases } from './cases.ts'
import { createWorld } from './world.ts'

/** Compares `kip copy` with crane, regctl, regsync, skopeo, and programs on oras-go and go.podman.io/image. */
export async function benchCopy(options: BenchOptions): Promise<BenchResult> {
  const chosen = chooseCases(cases, options.only)
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
