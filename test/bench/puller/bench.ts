import type { Cluster } from '../../cluster/index.ts'
import type { BenchOptions } from '../bench.ts'
import { type Case, chooseCases, runCase } from '../harness/case.ts'
import type { BenchResult, CaseResult } from '../harness/report.ts'
import { cases } from './cases.ts'
import { createChainWorld } from './chain-world.ts'
import { coldCases } from './cold-node.ts'
import { latencyCases } from './latency.ts'
import { protectionCases } from './protection.ts'
import { scaleCases } from './scale.ts'
import { createScaleWorld } from './scale-world.ts'
import { userPodCases } from './user-pod.ts'
import { createWorld } from './world.ts'

const heldCases = [...cases, ...coldCases, ...userPodCases, ...protectionCases]

/** Compares kip's puller with the way of kubernetes-image-puller, on nodes of real clusters. */
export async function benchPuller(options: BenchOptions): Promise<BenchResult> {
  const all = [...heldCases, ...latencyCases, ...scaleCases].map(({ name }) => ({ name }))
  const chosen = new Set(chooseCases(all, options.only).map(({ name }) => name))
  const versions: Record<string, string> = {}
  const runIn = async <World extends AsyncDisposable & { readonly cluster: Cluster }>(
    create: (options: BenchOptions) => Promise<World>,
    theirs: readonly Case<World>[],
  ): Promise<readonly CaseResult[]> => {
    const wanted = theirs.filter(({ name }) => chosen.has(name))
    if (wanted.length === 0) return []
    await using world = await create(options)
    versions.Kubernetes = world.cluster.state.kubernetes
    const results: CaseResult[] = []
    for (const one of wanted) results.push(await runCase(one, world, options))
    return results
  }
  // One cluster after the other, so that none is measured beside another's daemons.
  const held = await runIn(createWorld, heldCases)
  const late = await runIn(createChainWorld, latencyCases)
  const scale = await runIn(createScaleWorld, scaleCases)
  const results = [...held, ...late, ...scale]
  return { bench: 'puller', machine: {}, versions, rounds: options.rounds, cases: results }
}
