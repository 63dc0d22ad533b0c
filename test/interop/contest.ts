import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Lease } from 'lease-lock'
import type { KubeClient } from '../../src/kube/client.ts'
import { leaseApi } from '../../src/kube/leases.ts'
import { cacheFolder } from '../cluster/cache.ts'
import { silentLog } from '../support/silent-log.ts'

/** client-go's ratios, shortened so that a fail-over takes seconds. */
export const seconds = { lease: 3, renew: 2, retry: 0.5 }

export interface Line {
  /** Milliseconds since 1970, with fractions. */
  readonly at: number
  readonly event: string
  readonly leader?: string
}

/** One contender's process. */
export class Contender {
  readonly identity: string
  readonly lines: Line[] = []
  readonly #child: ChildProcess
  readonly #exited: Promise<void>

  constructor(identity: string, command: string, args: readonly string[]) {
    this.identity = identity
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#exited = new Promise((resolve) => this.#child.once('exit', () => resolve()))
    const { stdout } = this.#child
    if (stdout !== null) {
      createInterface({ input: stdout }).on('line', (line) =>
        this.lines.push(JSON.parse(line) as Line),
      )
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  get exited(): Promise<void> {
    return this.#exited
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGCONT')
      this.#child.kill('SIGKILL')
    }
    await this.#exited
  }
}

/** One state of the Lease, and when it was heard of. */
interface Sight {
  readonly at: number
  readonly lease: Lease | undefined
}

/** A Lease at a real API server, contended for by processes. */
export class Contest {
  readonly #kubeconfig: string
  readonly #name: string
  readonly #elector: string
  readonly #contenders: Contender[] = []
  readonly #stop = new AbortController()
  readonly sights: Sight[] = []

  constructor(client: KubeClient, kubeconfig: string, name: string, elector: string) {
    this.#kubeconfig = kubeconfig
    this.#name = name
    this.#elector = elector
    void leaseApi(client, 'default', name, { log: silentLog() }).watch((lease) => {
      this.sights.push({ at: performance.timeOrigin + performance.now(), lease })
    }, this.#stop.signal)
  }

  get holder(): string {
    return this.sights.at(-1)?.lease?.spec?.holderIdentity ?? ''
  }

  ours(identity: string, options: { readonly write?: string } = {}): Contender {
    const { lease, renew, retry } = seconds
    return this.#enter(identity, process.execPath, [
      fileURLToPath(new URL('./candidate.ts', import.meta.url)),
      ...this.#options(identity, '--'),
      `--write=${options.write ?? ''}`,
      `--lease=${lease}`,
      `--renew=${renew}`,
      `--retry=${retry}`,
    ])
  }

  theirs(
    identity: string,
    options: {
      readonly release?: boolean
      readonly wipe?: boolean
      /** Default: that of the contest. */
      readonly kubeconfig?: string
    },
  ): Contender {
    const { lease, renew, retry } = seconds
    return this.#enter(identity, this.#elector, [
      ...this.#options(identity, '-', options.kubeconfig),
      `-lease=${lease}s`,
      `-renew=${renew}s`,
      `-retry=${retry}s`,
      `-release=${options.release ?? false}`,
      `-wipe=${options.wipe ?? false}`,
    ])
  }

  async end(): Promise<void> {
    await Promise.all(this.#contenders.map((contender) => contender.end()))
    this.#stop.abort()
  }

  /**
   * Moments at which one of ours said that it leads while another's lease was heard of and live.
   *
   * The clocks are one machine's. A sight comes after the write that it is of, so every such moment is a real one.
   */
  overlaps(): readonly { readonly who: string; readonly at: number; readonly holder: string }[] {
    const found: { who: string; at: number; holder: string }[] = []
    for (const { identity, lines } of this.#contenders) {
      for (const { at, event } of lines) {
        if (event !== 'says-leader' && event !== 'still') continue
        const sight = this.sights.findLast((candidate) => candidate.at <= at)
        const { holderIdentity, leaseDurationSeconds } = sight?.lease?.spec ?? {}
        if (sight === undefined || !holderIdentity || holderIdentity === identity) continue
        if (at > sight.at + (leaseDurationSeconds ?? 0) * 1000) continue
        found.push({ who: identity, at, holder: holderIdentity })
      }
    }
    return found
  }

  #enter(identity: string, command: string, args: readonly string[]): Contender {
    const contender = new Contender(identity, command, args)
    this.#contenders.push(contender)
    return contender
  }

  #options(identity: string, dashes: string, kubeconfig?: string): readonly string[] {
    return [
      `${dashes}kubeconfig=${kubeconfig ?? this.#kubeconfig}`,
      `${dashes}name=${this.#name}`,
      `${dashes}identity=${identity}`,
    ]
  }
}

/** Builds the client-go elector, once for each state of its sources. */
export async function buildElector(): Promise<string> {
  const folder = fileURLToPath(new URL('./client-go/', import.meta.url))
  const hash = createHash('sha256')
  for (const file of ['go.mod', 'go.sum', 'main.go'])
    hash.update(await readFile(join(folder, file)))
  const path = join(cacheFolder(), `client-go-elector-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(path)) return path
  await mkdir(cacheFolder(), { recursive: true })
  const draft = `${path}.${process.pid}`
  const env = {
    ...process.env,
    CGO_ENABLED: '0',
    GOTOOLCHAIN: 'local',
    GOFLAGS: '-trimpath -buildvcs=false -mod=readonly',
    GOWORK: 'off',
  }
  await promisify(execFile)('go', ['build', '-ldflags=-s -w', '-o', draft, '.'], {
    cwd: folder,
    env,
  })
  await rename(draft, path)
  return path
}
