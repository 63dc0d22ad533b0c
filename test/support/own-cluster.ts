import type { Cluster } from '../cluster/index.ts'
import { acquireCluster, clusterVariable } from './cluster.ts'

/** A control plane for one test file alone, which stops the API server and must not do so under others. */
export async function ownCluster(): Promise<Cluster> {
  delete process.env[clusterVariable(0)]
  return await acquireCluster({ nodes: 0 })
}
