import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { ContenderError } from '../harness/measure.ts'

/** Where servers run, and where who asks them does: one would be measured with the other else. */
export const CORES = { server: '0', load: '1', both: '0,1' } as const

/** A webhook's server on a core of its own; ends when disposed of, and with this process. */
export interface WebhookServer extends AsyncDisposable {
  readonly process: number
  /** `host:port` */
  readonly address: string
}

/** Starts a program that prints `listening PORT` once it serves, on one core unless told otherwise. @throws ContenderError when it ends first */
export async function startWebhookServer(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
  cores: string = CORES.server,
): Promise<WebhookServer> {
  signal.throwIfAborted()
  const pinned = ['--pdeathsig', 'KILL', 'taskset', '--cpu-list', cores, ...command]
  // Both programs turn into the next, so that the process stays the same one.
  const child = spawn('setpriv', pinned, { stdio: ['ignore', 'pipe', 'inherit'], env, signal })
  child.on('error', () => {}) // an abort ends it, which is seen below
  const lines = createInterface({ input: child.stdout })
  for await (const line of lines) {
    const port = /^listening (\d+)$/.exec(line)?.[1]
    if (port === undefined || child.pid === undefined) continue
    return {
      process: child.pid,
      address: `127.0.0.1:${port}`,
      [Symbol.asyncDispose]: () => end(child),
    }
  }
  signal.throwIfAborted()
  throw new ContenderError(`${command.join(' ')}: ended before it served`)
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
