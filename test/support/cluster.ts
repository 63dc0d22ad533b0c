import { randomBytes } from 'node:crypto'
import { after } from 'node:test'
import {
  attachCluster,
  type Cluster,
  downCluster,
  missingForNodes,
  upCluster,
} from '../cluster/index.ts'

/**
 * A real cluster for the tests of one file: the one that the runner brought up for all files of the group, else one of the
 * file's own, which is gone afterwards.
 *
 * To be called at the top of a test file, outside of tests.
 *
 * @param options.nodes 0: control plane and registries on loopback, without root
 * @param options.apiServerArguments of a cluster of the file's own: flags of its API server beyond those it needs
 */
export async function acquireCluster(options: {
  readonly nodes: number
  readonly apiServerArguments?: readonly string[]
}): Promise<Cluster> {
  const report = (line: string) => void process.stderr.write(`${line}\n`)
  const shared = process.env[clusterVariable(options.nodes)]
  if (shared) {
    const cluster = await attachCluster(shared, { report })
    after(() => cluster[Symbol.asyncDispose]())
    return cluster
  }
  const name = `test-${randomBytes(4).toString('hex')}`
  const cluster = await upCluster({ ...options, name, owned: true, report })
  after(async () => {
    await cluster[Symbol.asyncDispose]()
    await downCluster(name, { report: () => undefined })
  })
  return cluster
}

/** Variable in which the runner names the cluster that the files of a group share. */
export function clusterVariable(nodes: number): string {
  return nodes > 0 ? 'KIP_TEST_CLUSTER_NODES' : 'KIP_TEST_CLUSTER'
}

/** For `skip`: what this machine lacks to run nodes, or false. */
export function noNodes(): string | false {
  const missing = missingForNodes()
  return missing ? `nodes need ${missing}` : false
}
