import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { TestRegistryClient } from '../../cluster/registry/client.ts'

export interface RegistryServerOptions {
  /** The program `registry` of distribution. */
  readonly program: string
  /** For its configuration and log. */
  readonly folder: string
  /** For its images; two servers may read one. */
  readonly storage: string
  readonly tls?: {
    readonly authority: string
    readonly certificateFile: string
    readonly keyFile: string
  }
}

/** A registry starts within a fraction of a second on an idle machine. */
const START_TIMEOUT_MS = 20_000

/** A distribution registry on a port of 127.0.0.1 that stays its own through restarts. Ends with this process. */
export class RegistryServer {
  readonly host: string
  readonly client: TestRegistryClient
  readonly #options: RegistryServerOptions
  readonly #log: string
  #child: ChildProcess | undefined

  private constructor(options: RegistryServerOptions, port: number) {
    this.#options = options
    this.#log = join(options.folder, 'log')
    this.host = `127.0.0.1:${port}`
    this.client = new TestRegistryClient({
      url: `${options.tls ? 'https' : 'http'}://${this.host}`,
      ...(options.tls && { authority: options.tls.authority }),
    })
  }

  static async start(options: RegistryServerOptions): Promise<RegistryServer> {
    await mkdir(options.folder, { recursive: true })
    const server = new RegistryServer(options, await freePort())
    await server.#start()
    return server
  }

  /** Starts it anew on an empty storage. */
  async empty(): Promise<void> {
    await this.#stop()
    await rm(this.#options.storage, { recursive: true, force: true })
    await this.#start()
  }

  /** Place in the log, for {@link requestsSince}. */
  async mark(): Promise<number> {
    let size = -1
    for (;;) {
      const { size: now } = await stat(this.#log)
      if (now === size) return size
      size = now
      // The line of a request comes a moment after its answer.
      await delay(20)
    }
  }

  /** How many requests it answered since then. */
  async requestsSince(mark: number): Promise<number> {
    const end = await this.mark()
    await using log = await open(this.#log)
    const { buffer } = await log.read(Buffer.alloc(end - mark), 0, end - mark, mark)
    return buffer.toString('latin1').split(' HTTP/').length - 1
  }

  async close(): Promise<void> {
    await this.client.close()
    await this.#stop()
  }

  async #start(): Promise<void> {
    const { program, folder } = this.#options
    const config = join(folder, 'config.json')
    await writeFile(config, this.#config())
    const log = openSync(this.#log, 'w')
    // The kernel kills it when this process ends in whatever way.
    const command = ['--pdeathsig', 'KILL', program, 'serve', config]
    const child = spawn('setpriv', command, { stdio: ['ignore', log, log], env: {} })
    closeSync(log)
    await once(child, 'spawn')
    this.#child = child
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!(await this.client.answers().catch(() => false))) {
      if (child.exitCode === null && performance.now() < deadline) await delay(5)
      else {
        await this.#stop()
        throw new Error(`${program} did not start:\n${await readFile(this.#log, 'utf8')}`)
      }
    }
  }

  async #stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  /** JSON is YAML. The access log counts requests; what else a registry says costs time and tells nothing. */
  #config(): string {
    const { storage, tls } = this.#options
    return JSON.stringify({
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: false } },
      storage: {
        filesystem: { rootdirectory: storage, maxthreads: 100 },
        maintenance: { uploadpurging: { enabled: false } },
      },
      http: {
        addr: this.host,
        ...(tls && { tls: { certificate: tls.certificateFile, key: tls.keyFile } }),
      },
    })
  }
}

/** A port that nobody has now; whoever takes it before the registry does makes the start fail, loudly. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address ? address.port : 0
}
