import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { bundle, nodeFlags } from '../../../docker/bundle.ts'
import { openAuthority } from '../../cluster/pki.ts'
import type { BenchOptions } from '../bench.ts'
import { benchFolder } from '../harness/folder.ts'
import { benchProgram, libraryPeer } from '../peers/build.ts'
import { type ControlPlane, startControlPlane } from './control-plane.ts'
import { imagesOfSize, podReview } from './pod-review.ts'

export type ServerName = 'kip' | 'go'

/** The programs and files of a bench. */
export interface World extends AsyncDisposable {
  readonly load: string
  readonly constantPatch: string
  readonly servers: Readonly<Record<ServerName, readonly string[]>>
  readonly versions: Readonly<Record<string, string>>
  /** Certificate and key of the servers, and `ca.crt`. */
  readonly certificates: string
  readonly reviewFile: string
  /** File with so many images. */
  readonly imagesFile: (count: number) => Promise<string>
  /** kip as a whole, as it is shipped. */
  readonly program: readonly string[]
  /** Brought up when it is first asked for. */
  readonly controlPlane: () => Promise<ControlPlane>
  /** A folder for files. */
  readonly folder: string
}

const BACKUP = 'backup.example.com:5001/mirror'

/** Builds the servers and the load, and removes the files when disposed of. */
export async function createWorld(options: BenchOptions): Promise<World> {
  const { report, signal } = options
  if (availableParallelism() < 2) throw new Error('two cores are needed: one serves, one asks')
  const peer = await libraryPeer('webhook', { report, signal })
  const load = await benchProgram('load-reviews', { report, signal })
  const constantPatch = await benchProgram('constant-patch', { report, signal })

  await using cleanup = new AsyncDisposableStack()
  const { path: folder } = cleanup.use(await benchFolder('disk', report))
  // As it is shipped: one bundle, run by the Node that runs this, with the flags of the image.
  await bundle(join(folder, 'kip'), 'test/bench/webhook/server.ts')
  await bundle(join(folder, 'program'))
  const authority = await openAuthority(folder)
  const issued = await authority.issue({ commonName: 'webhook', hosts: ['127.0.0.1'] })
  await writeFile(join(folder, 'tls.crt'), issued.certificate)
  await writeFile(join(folder, 'tls.key'), issued.key, { mode: 0o600 })
  const reviewFile = join(folder, 'review.json')
  await writeFile(reviewFile, podReview())

  const node = [process.execPath, ...nodeFlags()]
  let plane: Promise<ControlPlane> | undefined
  const disposal = cleanup.move()
  return {
    folder,
    program: [...node, join(folder, 'program', 'main.js')],
    controlPlane: () => {
      plane ??= startControlPlane(options).then((started) => disposal.use(started))
      return plane
    },
    load,
    constantPatch,
    servers: {
      kip: [...node, join(folder, 'kip', 'main.js')],
      go: [peer.file],
    },
    versions: { 'k8s.io/api': peer.version },
    certificates: folder,
    reviewFile,
    imagesFile: async (count) => {
      const file = join(folder, `images-${count}.json`)
      await writeFile(file, JSON.stringify(imagesOfSize(BACKUP, count)))
      return file
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  }
}
