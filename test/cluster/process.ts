import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ClusterError } from './errors.ts'
import {
  childrenOf,
  identityOf,
  isAlive,
  type ProcessIdentity,
  parseStat,
} from './process-identity.ts'

export interface DaemonSpec {
  /** Name of its record and its log: `etcd`, `kubelet-n1`. */
  readonly name: string
  readonly command: readonly [string, ...string[]]
  /** Added to a small environment; a daemon does not inherit this process's. */
  readonly env?: Readonly<Record<string, string>>
  /** The command stays as the parent of the program that is meant: `nsenter --pid`, `unshare --fork`. */
  readonly forks?: boolean
}

export interface StopOptions {
  /** Default: SIGKILL, since a cluster for a test has nothing to save. */
  readonly signal?: NodeJS.Signals
  /** After this time the signal is followed by SIGKILL. Default: 15 s, what an orderly API server takes. */
  readonly graceMs?: number
}

/** The log's end that a failure shows. */
const TAIL_LINES = 40

/**
 * Writes its own line of /proc/<pid>/stat to the record and becomes the program. Being written by the process itself, the
 * record is there before the program is, and the pid and start time in it stay true through `exec`.
 */
const RECORD_AND_EXEC =
  'read -r stat < "/proc/$$/stat" && printf "%s\\n" "$stat" > "$0" && exec "$@"'

/**
 * The long-running processes of one cluster: started apart from this process, known by records in the cluster's folder.
 *
 * Any process that knows the folder can stop or watch what another started. A record is one line of pid and start time for
 * the process, and one more for the program that it forked.
 */
export class Daemons {
  readonly #records: string
  readonly #logs: string

  constructor(options: { readonly folder: string }) {
    this.#records = join(options.folder, 'processes')
    this.#logs = join(options.folder, 'logs')
    mkdirSync(this.#records, { recursive: true })
    mkdirSync(this.#logs, { recursive: true })
  }

  /**
   * Starts a daemon in a session of its own; one that runs already is left as it is.
   *
   * @returns the identity of the program itself, as seen from this pid namespace
   * @throws ClusterError (KIP_CLUSTER_COMPONENT) when it ended before it could be seen
   */
  async start(spec: DaemonSpec): Promise<ProcessIdentity> {
    const running = this.identity(spec.name)
    if (running) return running
    const log = openSync(this.logFile(spec.name), 'a')
    try {
      const shell = ['-c', RECORD_AND_EXEC, this.#record(spec.name), ...spec.command]
      const child = spawn('/bin/sh', shell, {
        detached: true,
        stdio: ['ignore', log, log],
        env: { PATH: process.env.PATH, HOME: process.env.HOME, LC_ALL: 'C.UTF-8', ...spec.env },
      })
      await once(child, 'spawn')
      child.unref()
      const launched = await this.#recorded(spec.name, child.pid)
      return spec.forks ? await this.#forked(spec.name, launched) : launched
    } finally {
      closeSync(log)
    }
  }

  /**
   * Takes a process that the caller started into the records.
   *
   * For what cannot be started by {@link start}, such as a process that is handed an open socket.
   */
  adopt(name: string, pid: number): void {
    const line = readFileSync(`/proc/${pid}/stat`, 'utf8')
    appendFileSync(this.#record(name), line)
  }

  /** @returns whether it was running */
  async stop(name: string, options: StopOptions = {}): Promise<boolean> {
    const identities = this.#identities(name)
    const program = identities.at(-1)
    const running = program !== undefined && isAlive(program)
    if (running) signalProcess(program, options.signal ?? 'SIGKILL')
    const graceful = options.signal !== undefined && options.signal !== 'SIGKILL'
    const deadline = performance.now() + (graceful ? (options.graceMs ?? 15_000) : 0)
    while (performance.now() < deadline && identities.some(isAlive)) await delay(20)
    for (const identity of identities) signalProcess(identity, 'SIGKILL')
    const end = performance.now() + 10_000
    while (identities.some(isAlive)) {
      if (performance.now() > end) throw this.failure(name, 'does not end on SIGKILL')
      await delay(10)
    }
    await rm(this.#record(name), { force: true })
    return running
  }

  /** The program that runs under this name; undefined when none does. */
  identity(name: string): ProcessIdentity | undefined {
    const program = this.#identities(name).at(-1)
    return program && isAlive(program) ? program : undefined
  }

  isRunning(name: string): boolean {
    return this.identity(name) !== undefined
  }

  /** All names with a record, running or not. */
  names(): readonly string[] {
    return readdirSync(this.#records).sort()
  }

  logFile(name: string): string {
    return join(this.#logs, `${name}.log`)
  }

  /** The last lines of a daemon's log. */
  logTail(name: string, lines = TAIL_LINES): string {
    try {
      return lastLines(readFileSync(this.logFile(name), 'utf8'), lines)
    } catch {
      return ''
    }
  }

  /** An error about a daemon, with the end of its log. */
  failure(name: string, what: string, cause?: unknown): ClusterError {
    const tail = this.logTail(name)
    const log = tail ? `; the end of ${this.logFile(name)}:\n${tail}` : ', and its log is empty'
    return new ClusterError('KIP_CLUSTER_COMPONENT', `${name} ${what}${log}`, { cause })
  }

  /**
   * Waits until a condition holds, as long as the daemons that it needs are running.
   *
   * @param options.check - its errors count as "not yet"; the last one becomes the cause of the failure
   * @param options.needs - the first is the one at fault when time runs out
   * @throws ClusterError (KIP_CLUSTER_COMPONENT) when one of them ends or time runs out
   */
  async waitUntil(options: {
    readonly what: string
    readonly needs: readonly [string, ...string[]]
    readonly check: () => Promise<boolean>
    readonly timeoutMs: number
    readonly signal?: AbortSignal
  }): Promise<void> {
    const deadline = performance.now() + options.timeoutMs
    let reason: unknown
    for (;;) {
      options.signal?.throwIfAborted()
      const ended = options.needs.find((name) => !this.isRunning(name))
      if (ended) throw this.failure(ended, `ended while waiting for ${options.what}`)
      try {
        if (await options.check()) return
      } catch (error) {
        reason = error
      }
      if (performance.now() > deadline) {
        const said = reason instanceof Error ? ` (${reason.message})` : ''
        const what = `gave no ${options.what} after ${options.timeoutMs / 1000} s${said}`
        throw this.failure(options.needs[0], what, reason)
      }
      await delay(50, undefined, options.signal && { signal: options.signal })
    }
  }

  #record(name: string): string {
    return join(this.#records, name)
  }

  #identities(name: string): readonly ProcessIdentity[] {
    try {
      const lines = readFileSync(this.#record(name), 'utf8').trim().split('\n')
      return lines.map(parseStat).filter((identity) => identity !== undefined)
    } catch {
      return []
    }
  }

  async #recorded(name: string, pid = 0): Promise<ProcessIdentity> {
    for (;;) {
      const identity = this.#identities(name)[0]
      if (identity?.pid === pid) return identity
      if (!identityOf(pid)) throw this.failure(name, 'ended at once')
      await delay(2)
    }
  }

  async #forked(name: string, launcher: ProcessIdentity): Promise<ProcessIdentity> {
    for (;;) {
      const pid = childrenOf(launcher.pid)[0]
      const child = pid && identityOf(pid)
      if (child) {
        this.adopt(name, child.pid)
        return child
      }
      if (!isAlive(launcher)) throw this.failure(name, 'ended at once')
      await delay(5)
    }
  }
}

function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  try {
    if (isAlive(identity)) process.kill(identity.pid, signal)
  } catch (error) {
    // It ended between the look and the signal.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

export function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n')
}
