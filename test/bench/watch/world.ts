import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { bundle, nodeFlags } from '../../../docker/bundle.ts'
import { openAuthority } from '../../cluster/pki.ts'
import type { BenchOptions } from '../bench.ts'
import { benchFolder } from '../harness/folder.ts'
import { benchProgram, libraryPeer } from '../peers/build.ts'
import { type RealServer, startRealServer } from './real-server.ts'
import { type ReplayServer, startReplayServer } from './replay-server.ts'

export type ClientName = 'kip' | 'client-go'

/** An API server, and what clients need to be let in. */
export interface Target {
  readonly url: string
  /** Folder with `ca.crt`, and `tls.crt` and `tls.key` where the server asks for them. */
  readonly folder: string
}

/** The programs and servers of a bench. */
export interface World extends AsyncDisposable {
  readonly measure: string
  /** Command lines of the clients, before what they are to talk to. */
  command(client: ClientName, target: Target, stay: boolean): readonly [string, ...string[]]
  /** Node, the image's flags, and kip as it is shipped. */
  readonly kip: readonly string[]
  readonly replay: ReplayServer
  readonly real: RealServer
  readonly versions: Readonly<Record<string, string>>
}

/** Builds the clients, brings both servers up, and takes all of it away when disposed of. */
export async function createWorld({ report, signal }: BenchOptions): Promise<World> {
  if (availableParallelism() < 2) throw new Error('two cores are needed: one serves, one asks')
  const peer = await libraryPeer('informer', { report, signal })
  const measure = await benchProgram('measure', { report, signal })
  const replayPods = await benchProgram('replay-pods', { report, signal })

  await using cleanup = new AsyncDisposableStack()
  const { path: folder } = cleanup.use(await benchFolder('disk', report))
  // As it is shipped: one bundle, run by the Node that runs this, with the flags of the image.
  await bundle(join(folder, 'client'), 'test/bench/watch/client.ts')
  await bundle(join(folder, 'kip'))
  const authority = await openAuthority(folder)
  const issued = await authority.issue({ commonName: 'replay', hosts: ['127.0.0.1'] })
  await writeFile(join(folder, 'tls.crt'), issued.certificate)
  await writeFile(join(folder, 'tls.key'), issued.key, { mode: 0o600 })

  const real = cleanup.use(await startRealServer(folder, { report, signal }))
  const replay = cleanup.use(
    await startReplayServer({
      ...{ program: replayPods, pods: real.capturedPods, certificates: folder },
      ...{ report, signal },
    }),
  )
  const disposal = cleanup.move()
  const node = [process.execPath, ...nodeFlags()]
  const main = join(folder, 'client', 'main.js')
  return {
    measure,
    kip: [...node, join(folder, 'kip', 'main.js')],
    command: (client, { url, folder }, stay) => {
      const file = (name: string) => join(folder, name)
      if (client === 'kip') {
        const [first = '', ...flags] = node
        return [
          first,
          ...flags,
          ...(stay ? ['--expose-gc', main, url, folder, 'stay'] : [main, url, folder]),
        ]
      }
      const trust = ['-server', url, '-ca', file('ca.crt')]
      const own = url === real.url ? ['-cert', file('tls.crt'), '-key', file('tls.key')] : []
      return [peer.file, ...trust, ...own, ...(stay ? ['-stay'] : [])]
    },
    replay,
    real,
    versions: { 'client-go': peer.version, 'kube-apiserver': real.version },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  }
}
