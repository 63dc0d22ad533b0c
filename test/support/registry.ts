import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
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

export interface TestRegistryOptions {
  /** Speak TLS under a certificate authority of its own; default: plain http. */
  readonly tls?: boolean
  /** Let in `registryUser` only; default: everybody. */
  readonly authenticated?: boolean
}

/** A real registry (Debian's docker-registry) of one test, on a free port of 127.0.0.1. */
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
  /** Ends its process; what it holds stays. */
  stop(): Promise<void>
  /** Starts it again, on the same port. */
  start(): Promise<void>
  accessLog(since?: AccessLogMark | Date): Promise<readonly AccessLogEntry[]>
  accessLogEnd(): Promise<AccessLogMark>
  /** Ends it and removes what it held. */
  close(): Promise<void>
}

/**
 * Why no registry can be started on this machine, for `skip`; undefined when one can. Installs the package where that is allowed.
 */
export async function whyNoRegistry(): Promise<string | undefined> {
  try {
    await ensurePackages(['docker-registry'], { report: reportToStderr })
    return undefined
  } catch (error) {
    return `probe failed: docker-registry (${error instanceof Error ? error.message : error})`
  }
}

/**
 * Starts a registry for a test.
 *
 * It ends with {@link TestRegistry.close}, and by the kernel's hand when this process ends before.
 *
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when docker-registry is missing and cannot be installed
 */
export async function startRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  await ensurePackages(['docker-registry'], { report: reportToStderr })
  const folder = await mkdtemp(join(tmpdir(), 'kip-registry-'))
  try {
    const authority = options.tls ? await openAuthority(join(folder, 'pki')) : undefined
    const program = new RegistryProgram(folder, {
      tls: options.tls === true,
      authenticated: options.authenticated === true,
    })
    if (authority) await program.issueCertificate(authority)
    await program.start()
    return registryOf(program, options, authority)
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
    stop: () => program.stop(),
    start: () => program.start(),
    accessLog: (since) => readAccessLog(program.log, since),
    accessLogEnd: () => accessLogEnd(program.log),
    close,
    [Symbol.asyncDispose]: close,
  }
}

const START_TIMEOUT_MS = 10_000

class RegistryProgram {
  readonly folder: string
  readonly log: string
  port = 0
  readonly #options: { readonly tls: boolean; readonly authenticated: boolean }
  #child: ChildProcess | undefined

  constructor(folder: string, options: { readonly tls: boolean; readonly authenticated: boolean }) {
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

  async start(): Promise<void> {
    if (this.#child) return
    const configFile = join(this.folder, 'config.yml')
    await writeFile(configFile, await this.#config())
    const log = openSync(this.log, 'a')
    const before = (await readFile(this.log, 'utf8')).length
    // The kernel kills it when this process ends in whatever way.
    const command = ['--pdeathsig', 'KILL', 'docker-registry', 'serve', configFile]
    const child = spawn('setpriv', command, { stdio: ['ignore', log, log], env: {} })
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
        throw new Error(`docker-registry did not start:\n${said.slice(-4000)}`)
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

  async #config(): Promise<string> {
    const file = (name: string): string => join(this.folder, name)
    if (this.#options.authenticated) await writeFile(file('htpasswd'), registryUserFile)
    return registryConfig({
      listen: `127.0.0.1:${this.port}`,
      storageFolder: file('storage'),
      ...(this.#options.tls && {
        tls: { certificateFile: file('tls.crt'), keyFile: file('tls.key') },
      }),
      ...(this.#options.authenticated && { htpasswdFile: file('htpasswd') }),
    })
  }
}
