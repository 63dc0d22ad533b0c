import { mkdir, open, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bundle, nodeFlags } from '../../../docker/bundle.ts'
import { openAuthority } from '../../cluster/pki.ts'
import type { BenchOptions } from '../bench.ts'
import { benchFolder, MEMORY } from '../harness/folder.ts'
import { benchProgram, installedProgram } from '../peers/build.ts'
import { bulkRepository, pushBulk, pushSingle, type SingleImage } from './corpus.ts'
import { type DelayProxy, startDelayProxy } from './delay-proxy.ts'
import { RegistryServer } from './server.ts'
import { type Programs, preparePeers, type Route } from './tools.ts'

const ROUND_TRIP_MS = 20
/** Of the largest image, what the source holds, what the target holds, and an upload that is not finished. */
const NEEDED_GIB = 5
const DEBIAN_AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt'
/** Of memory, in bytes. */
const PAGE = 4096

/** A way from source to target. */
export type Link = 'http' | 'tls' | 'delayed'

/** The registries, programs and files of a bench. */
export interface World extends AsyncDisposable {
  readonly programs: Programs
  readonly resident: readonly [string, ...string[]]
  readonly measure: string
  readonly versions: Readonly<Record<string, string>>
  readonly route: (link: Link) => Route
  readonly source: (link: Link) => RegistryServer
  readonly target: (link: Link) => RegistryServer
  /** Digest of what was pushed, by repository; pushes an image when it is first asked for. */
  readonly digest: (repository: string) => Promise<string>
  /** A fresh folder for one run. */
  readonly runFolder: () => Promise<string>
  /** Environment of every tool. */
  readonly env: (folder: string) => Readonly<Record<string, string>>
}

/**
 * Builds the peers, starts the registries on storage in memory, since a disk would be measured instead of the copiers, and
 * removes it all when disposed of.
 */
export async function createWorld({ report, signal }: BenchOptions): Promise<World> {
  const { bavail, bsize } = await statfs(MEMORY)
  const freeGib = (bavail * bsize) / 2 ** 30
  if (freeGib < NEEDED_GIB) {
    throw new RangeError(
      `${MEMORY}: ${freeGib.toFixed(1)} GiB are free, and the registries need ${NEEDED_GIB} GiB of memory there`,
    )
  }
  const build = { report, signal }
  const registry = await installedProgram('distribution', 'registry', build)
  const peers = await preparePeers(build)
  const measure = await benchProgram('measure', build)
  const proxyProgram = await benchProgram('delay-proxy', build)

  await using cleanup = new AsyncDisposableStack()
  const { path: folder } = cleanup.use(await benchFolder('memory', report))
  report('filling memory')
  await holdMemory(folder, signal)
  const [kip, resident] = await bundles(folder)

  const authority = await openAuthority(join(folder, 'pki'))
  const issued = await authority.issue({ commonName: 'bench', hosts: ['127.0.0.1'] })
  const tls = {
    authority: authority.certificate,
    certificateFile: join(folder, 'tls.crt'),
    keyFile: join(folder, 'tls.key'),
  }
  await writeFile(tls.certificateFile, issued.certificate)
  await writeFile(tls.keyFile, issued.key, { mode: 0o600 })

  const trusted = await trust(folder, authority.certificate)

  const start = async (name: string, storage: string, secure: boolean): Promise<RegistryServer> => {
    const server = await RegistryServer.start({
      program: registry.file,
      folder: join(folder, name),
      storage: join(folder, storage),
      ...(secure && { tls }),
    })
    cleanup.defer(() => server.close())
    return server
  }
  const source = {
    http: await start('source-http', 'source', false),
    tls: await start('source-tls', 'source', true),
  }
  const target = {
    http: await start('target-http', 'target-http-storage', false),
    tls: await start('target-tls', 'target-tls-storage', true),
  }
  const delayed = async (server: RegistryServer): Promise<DelayProxy> => {
    const proxy = await startDelayProxy(proxyProgram, server.host, ROUND_TRIP_MS)
    cleanup.defer(() => proxy.close())
    return proxy
  }
  const farSource = await delayed(source.http)
  const farTarget = await delayed(target.http)

  const routes: Readonly<Record<Link, Route>> = {
    http: { source: source.http.host, target: target.http.host, authorityFile: undefined },
    tls: {
      source: source.tls.host,
      target: target.tls.host,
      authorityFile: authority.certificateFile,
    },
    delayed: { source: farSource.host, target: farTarget.host, authorityFile: undefined },
  }
  const digests = new Map<string, string>()
  let runs = 0
  const disposal = cleanup.move()
  return {
    programs: { ...peers.programs, kip },
    resident,
    measure,
    versions: { distribution: registry.version, ...peers.versions },
    route: (link) => routes[link],
    source: (link) => (link === 'tls' ? source.tls : source.http),
    target: (link) => (link === 'tls' ? target.tls : target.http),
    digest: async (repository) => {
      if (!digests.has(repository)) {
        report(`making ${repository}`)
        await push(source.http, repository, digests, signal)
      }
      return digests.get(repository) ?? ''
    },
    runFolder: async () => {
      runs += 1
      const run = join(folder, 'runs', String(runs))
      await mkdir(run, { recursive: true })
      return run
    },
    env: (home) => ({
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: home,
      XDG_CONFIG_HOME: home,
      XDG_RUNTIME_DIR: home,
      ...trusted,
      NODE_ENV: 'production',
    }),
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  }
}

/**
 * Has the virtual machine given the memory that the registries will use, and keeps it given. A host gives memory when it is
 * first written to, which takes ten times as long as the writing; and where the machine reports what it has free, in blocks of
 * 2 MiB, the host takes it back within seconds, so that each run would pay anew for what the one before it left. A page that
 * stays in each MiB keeps such blocks from forming.
 */
async function holdMemory(folder: string, signal: AbortSignal): Promise<void> {
  const stays = Buffer.alloc(PAGE)
  const goes = Buffer.alloc(2 ** 20 - PAGE)
  const going = join(folder, 'memory-freed')
  {
    await using held = await open(join(folder, 'memory-held'), 'w')
    await using freed = await open(going, 'w')
    for (let mib = 0; mib < NEEDED_GIB * 1024; mib += 1) {
      signal.throwIfAborted()
      await held.write(stays)
      await freed.write(goes)
    }
  }
  await rm(going)
}

/** What every tool trusts: as in an image with Debian's ca-certificates, and the bench's authority. */
async function trust(folder: string, authority: string): Promise<Readonly<Record<string, string>>> {
  const file = join(folder, 'authorities.crt')
  const none = join(folder, 'authorities')
  await writeFile(file, `${await readFile(DEBIAN_AUTHORITIES, 'utf8')}\n${authority}`)
  await mkdir(none)
  return { SSL_CERT_FILE: file, SSL_CERT_DIR: none }
}

async function push(
  server: RegistryServer,
  repository: string,
  digests: Map<string, string>,
  signal: AbortSignal,
): Promise<void> {
  if (!repository.startsWith('bench/bulk/')) {
    digests.set(repository, await pushSingle(server.client, repository as SingleImage))
    return
  }
  for (const [number, digest] of (await pushBulk(server.client, signal)).entries()) {
    digests.set(bulkRepository(number), digest)
  }
}

/**
 * kip is measured as it is shipped: the bundle, flags and environment of its image, run by the Node that runs this. What is
 * resident has neither flags nor environment: it shows the library, in whatever process it is.
 */
async function bundles(
  folder: string,
): Promise<readonly [readonly [string, ...string[]], readonly [string, string]]> {
  await bundle(join(folder, 'kip'))
  await bundle(join(folder, 'resident'), 'test/bench/copy/resident.ts')
  return [
    [process.execPath, ...nodeFlags(), join(folder, 'kip', 'main.js')],
    [process.execPath, join(folder, 'resident', 'main.js')],
  ]
}
