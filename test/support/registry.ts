import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { installedProgram, libraryPeer } from '../bench/peers/build.ts'
import { ensurePackages } from '../cluster/packages.ts'
import { type Authority, openAuthority } from '../cluster/pki.ts'
import { reportToStderr } from '../cluster/progress.ts'
import {
  type AccessLogEntry,
  type AccessLogMark,
  accessLogEnd,
  readAccessLog,
} from '../cluster/registry/access-log.ts'
import { TestRegistryClient } from '../cluster/registry/client.ts'
import {
  listeningPort,
  registryConfig,
  registryUser,
  registryUserFile,
} from '../cluster/registry/config.ts'
import { type Trouble, TroubledServer } from '../cluster/registry/troubled-server.ts'

/** Debian's distribution, and two that are built from the Go module proxy; the last knows referrers, no mounts and no users. */
export type RegistryKind = 'distribution 2.8' | 'distribution 3' | 'go-containerregistry'

export interface TestRegistryOptions {
  /** Default: `distribution 2.8`. What `go-containerregistry` held is lost when it is stopped. */
  readonly kind?: RegistryKind
  /** Speak TLS under a certificate authority of its own; default: plain http. */
  readonly tls?: boolean
  /** Let in `registryUser` only; default: everybody. */
  readonly authenticated?: boolean
  /** Take indexes of which some images are missing; of `distribution 3`. Default: refuse them. */
  readonly sparse?: boolean
  /** Let images and tags be deleted, of both kinds of distribution. Default true. */
  readonly deletes?: boolean
}

/** A real registry of one test, on a free port of 127.0.0.1. */
export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:37011`: the registry part of image references. */
  readonly host: string
  readonly url: string
  /** PEM of the authority, and the file with it; of a registry with TLS. */
  readonly authority?: string
  readonly authorityFile?: string
  readonly user?: { readonly username: string; readonly password: string }
  /** Fills it and looks at what it holds, independent of the copier. */
  readonly client: TestRegistryClient
  /** The same registry at another address, with trouble for chosen requests. */
  troubled(troubles: readonly Trouble[]): Promise<Troubled>
  /** Ends its process; what it holds stays. */
  stop(): Promise<void>
  /** Starts it again, on the same port. */
  start(): Promise<void>
  accessLog(since?: AccessLogMark | Date): Promise<readonly AccessLogEntry[]>
  accessLogEnd(): Promise<AccessLogMark>
  /** Ends it and removes what it held. */
  close(): Promise<void>
}

/** An address of a registry at which trouble is made. */
export interface Troubled extends AsyncDisposable {
  readonly host: string
  /** Requests that each of the troubles may still come over. */
  readonly left: readonly number[]
  /** Bytes of requests' bodies that the registry was given. */
  passed(): number
}

/**
 * Why no registry can be started on this machine, for `skip`; undefined when one can. Installs or builds it where that is
 * possible.
 */
export async function whyNoRegistry(
  kind: RegistryKind = 'distribution 2.8',
): Promise<string | undefined> {
  try {
    await registryCommand(kind)
    return undefined
  } catch (error) {
    return `probe failed: ${kind} (${error instanceof Error ? error.message : error})`
  }
}

/** The program of a registry; `serve CONFIG` follows for both kinds of distribution. */
async function registryCommand(kind: RegistryKind): Promise<string> {
  const build = { report: reportToStderr }
  if (kind === 'distribution 3')
    return (await installedProgram('distribution', 'registry', build)).file
  if (kind === 'go-containerregistry') return (await libraryPeer('ggcr-registry', build)).file
  await ensurePackages(['docker-registry'], build)
  return 'docker-registry'
}

/**
 * Starts a registry for a test.
 *
 * It ends with {@link TestRegistry.close}, and by the kernel's hand when this process ends before.
 *
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when its program is missing and cannot be installed or built
 */
export async function startRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const kind = options.kind ?? 'distribution 2.8'
  if (kind === 'go-containerregistry' && options.authenticated)
    throw new RangeError(`${kind} knows no users`)
  const program = await registryCommand(kind)
  const folder = await mkdtemp(join(tmpdir(), 'kip-registry-'))
  try {
    const authority = options.tls ? await openAuthority(join(folder, 'pki')) : undefined
    const registry = new RegistryProgram(folder, {
      kind,
      program,
      tls: options.tls === true,
      authenticated: options.authenticated === true,
      sparse: options.sparse === true,
      deletes: options.deletes !== false,
    })
    if (authority) await registry.issueCertificate(authority)
    await registry.start()
    return registryOf(registry, options, authority)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

function registryOf(
  program: RegistryProgram,
  options: TestRegistryOptions,
  authority: Authority | undefined,
): TestRegistry {
  const host = `127.0.0.1:${program.port}`
  const url = `${authority ? 'https' : 'http'}://${host}`
  const user = options.authenticated ? { user: registryUser } : undefined
  const client = new TestRegistryClient({
    url,
    ...user,
    ...(authority && { authority: authority.certificate }),
  })
  const close = async (): Promise<void> => {
    await client.close()
    await program.stop()
    await rm(program.folder, { recursive: true, force: true })
  }
  return {
    host,
    url,
    ...user,
    ...(authority && {
      authority: authority.certificate,
      authorityFile: authority.certificateFile,
    }),
    client,
    troubled: async (troubles) => {
      const server = await TroubledServer.start({
        listen: { host: '127.0.0.1', port: 0 },
        upstream: { host: '127.0.0.1', port: program.port },
        ...(authority && { tls: await program.identity() }),
        troubles,
      })
      return {
        host: `127.0.0.1:${server.port}`,
        left: server.left,
        passed: () => server.passed,
        [Symbol.asyncDispose]: () => server.close(),
      }
    },
    stop: () => program.stop(),
    start: () => program.start(),
    accessLog: (since) => readAccessLog(program.log, since),
    accessLogEnd: () => accessLogEnd(program.log),
    close,
    [Symbol.asyncDispose]: close,
  }
}

const START_TIMEOUT_MS = 10_000

interface ProgramOptions {
  readonly kind: RegistryKind
  readonly program: string
  readonly tls: boolean
  readonly authenticated: boolean
  readonly sparse: boolean
  readonly deletes: boolean
}

class RegistryProgram {
  readonly folder: string
  readonly log: string
  port = 0
  readonly #options: ProgramOptions
  #child: ChildProcess | undefined

  constructor(folder: string, options: ProgramOptions) {
    this.folder = folder
    this.log = join(folder, 'log')
    this.#options = options
  }

  async issueCertificate(authority: Authority): Promise<void> {
    const hosts = ['127.0.0.1', 'localhost']
    const { certificate, key } = await authority.issue({ commonName: 'registry', hosts })
    await writeFile(join(this.folder, 'tls.crt'), certificate)
    await writeFile(join(this.folder, 'tls.key'), key, { mode: 0o600 })
  }

  async identity(): Promise<{ readonly cert: string; readonly key: string }> {
    const read = (name: string): Promise<string> => readFile(join(this.folder, name), 'utf8')
    return { cert: await read('tls.crt'), key: await read('tls.key') }
  }

  async start(): Promise<void> {
    if (this.#child) return
    const command = ['--pdeathsig', 'KILL', ...(await this.#command())]
    const log = openSync(this.log, 'a')
    const before = (await readFile(this.log, 'utf8')).length
    // The kernel kills it when this process ends in whatever way.
    const env = { OTEL_TRACES_EXPORTER: 'none' }
    const child = spawn('setpriv', command, { stdio: ['ignore', log, log], env })
    closeSync(log)
    await once(child, 'spawn')
    this.#child = child
    const deadline = performance.now() + START_TIMEOUT_MS
    for (;;) {
      const said = (await readFile(this.log, 'utf8')).slice(before)
      const port = listeningPort(said)
      if (port) {
        this.port = port
        return
      }
      if (child.exitCode !== null || performance.now() > deadline) {
        await this.stop()
        throw new Error(`${this.#options.kind} did not start:\n${said.slice(-4000)}`)
      }
      await delay(10)
    }
  }

  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  async #command(): Promise<readonly string[]> {
    const { kind, program, tls } = this.#options
    const file = (name: string): string => join(this.folder, name)
    if (kind !== 'go-containerregistry') {
      await writeFile(file('config.yml'), await this.#config(file))
      return [program, 'serve', file('config.yml')]
    }
    const secure = tls ? ['-cert', file('tls.crt'), '-key', file('tls.key')] : []
    return [program, '-listen', `127.0.0.1:${this.port}`, ...secure]
  }

  async #config(file: (name: string) => string): Promise<string> {
    if (this.#options.authenticated) await writeFile(file('htpasswd'), registryUserFile)
    return registryConfig({
      listen: `127.0.0.1:${this.port}`,
      storageFolder: file('storage'),
      sparse: this.#options.sparse,
      deletes: this.#options.deletes,
      ...(this.#options.tls && {
        tls: { certificateFile: file('tls.crt'), keyFile: file('tls.key') },
      }),
      ...(this.#options.authenticated && { htpasswdFile: file('htpasswd') }),
    })
  }
}
