import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { constants, setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Counters } from '@containers/image-copy'
import type { Settings } from '../config/settings.ts'
import type { Log } from '../kube/log.ts'
import type { OpenCopies } from './open-copies.ts'
import type { CopyOutcome } from './worker.ts'

/** A worker that dies is started again after this wait, doubled with each death up to the last. */
const FIRST_RESTART_MS = 1_000
const LAST_RESTART_MS = 60_000
/** A worker that lived this long was well: the next restart waits the first wait again. */
const HEALTHY_MS = 120_000
/** From SIGTERM to SIGKILL: a worker only has to cancel its uploads. */
const STOP_MS = 5_000
/** A worker with nothing to do is ended after this time: it takes as much memory as all the rest, and is back in half a second. */
const IDLE_MS = 60_000

/** What the parent tells its worker, once, at its start. */
export interface StartMessage {
  readonly type: 'start'
  readonly id: string
  readonly settings: Settings
  /** Trusted for registries besides the system's, in PEM; empty: none. */
  readonly authorities: string
}

/** What a worker tells its parent. */
export type WorkerMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'outcome'; readonly outcome: CopyOutcome }
  | { readonly type: 'counters'; readonly counters: Counters }

export interface MirrorProcessOptions {
  /** Module that is run with the argument `mirror-worker`. */
  readonly program: string
  /** What its environment is made from. */
  readonly env: NodeJS.ProcessEnv
  readonly settings: Settings
  /** What each worker is to trust from its start on: a file that it read itself may be broken by then. */
  readonly authorities: () => string
  /** Identity of this replica; claims of its workers begin with it. */
  readonly identity: string
  /** What there is to do: without any no worker runs. */
  readonly work: Pick<OpenCopies, 'follow'>
  /** Default: a minute. */
  readonly idleMs?: number
  readonly log: Log
  /** A worker of this id took over from all earlier ones. */
  readonly onWorker: (id: string) => void
  readonly onOutcome: (outcome: CopyOutcome) => void
  /** Asked for each worker: takes what that counted at registries, each time it tells. */
  readonly counts: () => (counters: Counters) => void
}

/**
 * Keeps one copying worker running as a child process while there is something to copy, until `signal` aborts and the child
 * has gone.
 *
 * Copying stands apart so that hashing at full rate never delays an admission; settings go by IPC, never by argument or
 * environment, since they hold credentials.
 */
export async function keepMirrorProcess(
  options: MirrorProcessOptions,
  signal: AbortSignal,
): Promise<void> {
  const { identity, log } = options
  let wait = FIRST_RESTART_MS
  for (let generation = 1; ; generation++) {
    await untilOpen(options.work, signal)
    if (signal.aborted) return
    const id = `${identity}/${generation}`
    const started = performance.now()
    options.onWorker(id)
    const ended = await runOnce(options, id, signal)
    if (signal.aborted) return
    if (ended === undefined) {
      log.debug({ worker: id }, 'nothing to copy, the mirror worker ended')
      continue
    }
    log.error({ worker: id, ended }, 'mirror worker died, starting another')
    wait = performance.now() - started > HEALTHY_MS ? FIRST_RESTART_MS : wait
    await sleep(wait, undefined, { signal }).catch(() => undefined)
    wait = Math.min(LAST_RESTART_MS, wait * 2)
  }
}

/**
 * Runs one child to its end; resolves to how it ended, or undefined when it was ended for want of work. Nothing that befalls the
 * child is thrown here, where it would end admission too.
 */
async function runOnce(
  options: MirrorProcessOptions,
  id: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const authorities = options.authorities()
  const child = await startChild(options)
  if (typeof child === 'string') return child
  const exited = exitOf(child)
  const stop = () => stopChild(child, exited)
  signal.addEventListener('abort', stop, { once: true })
  let isIdle = false
  let timer: NodeJS.Timeout | undefined
  const end = () => {
    isIdle = true
    stop()
  }
  const unfollow = options.work.follow((isOpen) => {
    clearTimeout(timer)
    timer = isOpen ? undefined : setTimeout(end, options.idleMs ?? IDLE_MS)
  })
  const unreachable = (error: Error) =>
    options.log.error({ worker: id, err: error }, 'mirror worker cannot be reached')
  child.on('error', unreachable)
  const count = options.counts()
  child.on('message', (message: WorkerMessage) => {
    if (message.type === 'outcome') options.onOutcome(message.outcome)
    else if (message.type === 'counters') count(message.counters)
  })
  try {
    yieldToAdmission(child)
    const { settings } = options
    const message: StartMessage = { type: 'start', id, settings, authorities }
    child.send(message, (error) => {
      if (!error) return
      unreachable(error)
      // Should it live, it waits for this message and for nothing else.
      stop()
    })
    if (signal.aborted) stop()
    const ended = await exited
    return isIdle ? undefined : ended
  } finally {
    unfollow()
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

/** Starts a child; resolves to why not where the system, out of processes, files or memory, refuses it. */
async function startChild({ program, env }: MirrorProcessOptions): Promise<ChildProcess | string> {
  try {
    const child = fork(program, ['mirror-worker'], {
      env: workerEnvironment(env),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    // Some refusals are thrown, others come as an event in its place.
    await once(child, 'spawn')
    return child
  } catch (error) {
    return `cannot be started: ${error instanceof Error ? error.message : String(error)}`
  }
}

/**
 * The environment without glibc's threshold, which the image sets to keep an idle replica small: with it each large buffer is
 * given back and asked for again, and a copy over TLS takes a tenth longer.
 */
function workerEnvironment({
  MALLOC_TRIM_THRESHOLD_: _,
  ...rest
}: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return rest
}

function untilOpen(work: Pick<OpenCopies, 'follow'>, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = () => resolve()
  const unfollow = work.follow((isOpen) => isOpen && done())
  signal.addEventListener('abort', done, { once: true })
  if (signal.aborted) done()
  return promise.finally(() => {
    unfollow()
    signal.removeEventListener('abort', done)
  })
}

function yieldToAdmission(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    // Where the two meet on a core, admission has it: a weight of 15 to 1024. A limit that both share is another matter, see
    // CpuShare.
    setPriority(child.pid, constants.priority.PRIORITY_LOW)
  } catch {
    // It went in the meantime; its exit is reported by runOnce.
  }
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('exit', (code, killedBy) =>
      resolve(killedBy ? `signal ${killedBy}` : `exit code ${code}`),
    )
  })
}

function stopChild(child: ChildProcess, exited: Promise<unknown>): void {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  void exited.then(() => clearTimeout(timer))
}
