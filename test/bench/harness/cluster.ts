import { randomBytes } from 'node:crypto'
import { type Cluster, downCluster, upCluster } from '../../cluster/index.ts'
import type { UpOptions } from '../../cluster/lifecycle.ts'
import { benchFolder, type FolderPlace } from './folder.ts'

export interface BenchClusterOptions
  extends Pick<
    UpOptions,
    | 'nodes'
    | 'controlPlaneEnvironment'
    | 'controllerManagerArguments'
    | 'etcdArguments'
    | 'report'
    | 'signal'
  > {
  /** Where it keeps its state. */
  readonly place: FolderPlace
}

/** A cluster of one bench, which is down when it is disposed of. */
export interface BenchCluster extends AsyncDisposable {
  readonly cluster: Cluster
}

/** Brings a cluster up that goes with this process. */
export async function benchCluster(options: BenchClusterOptions): Promise<BenchCluster> {
  const { place, report, ...rest } = options
  await using cleanup = new AsyncDisposableStack()
  if (place === 'memory') {
    const folder = cleanup.use(await benchFolder('memory', report))
    process.env.XDG_STATE_HOME = folder.path
  }
  const name = `bench-${randomBytes(4).toString('hex')}`
  const cluster = await upCluster({ ...rest, report, name, owned: true })
  cleanup.defer(async () => {
    await cluster[Symbol.asyncDispose]()
    await downCluster(name, { report: () => undefined })
  })
  const disposal = cleanup.move()
  return { cluster, [Symbol.asyncDispose]: () => disposal.disposeAsync() }
}
