import type { Cluster } from '../cluster/index.ts'
import { acquireCluster, clusterVariable } from './cluster.ts'

/** A control plane for one test file alone, whose doings others must not meet: a stopped API server, pods of its own. */
export async function ownCluster(
  options: { readonly apiServerArguments?: readonly string[] } = {},
): Promise<Cluster> {
  delete process.env[clusterVariable(0)]
  return await acquireCluster({ nodes: 0, ...options })
}
