import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ContenderError } from '../harness/measure.ts'
import type { Target } from './world.ts'

/** Pods that the server has. */
export const REPLAYED_PODS = 100_000
export const CHANGES_PER_SECOND = 500

export interface ReplayServer extends AsyncDisposable, Target {
  /** Lets changes go to all watches for so long; resolves when the last was sent. */
  change(seconds: number): Promise<void>
}

export interface ReplayOptions {
  readonly program: string
  /** File with a list of pods in protobuf. */
  readonly pods: string
  /** Folder with `ca.crt`, `tls.crt` and `tls.key`. */
  readonly certificates: string
  readonly report: (line: string) => void
  readonly signal: AbortSignal
}

/** Starts `replay-pods` in a process of its own; it ends with this one. */
export async function startReplayServer(options: ReplayOptions): Promise<ReplayServer> {
  const { program, pods, certificates, signal } = options
  const folder = join(certificates, 'replay')
  await mkdir(folder)
  await cp(join(certificates, 'ca.crt'), join(folder, 'ca.crt'))
  options.report(`making ${REPLAYED_PODS} pods`)
  const numbers = ['-count', String(REPLAYED_PODS), '-changes', String(CHANGES_PER_SECOND)]
  const args = ['-pods', pods, '-certificates', certificates, ...numbers]
  const command = ['--pdeathsig', 'KILL', program, ...args]
  const child = spawn('setpriv', command, { stdio: ['pipe', 'pipe', 'inherit'], signal })
  child.on('error', () => {}) // an abort ends it, which is seen below
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (pattern: RegExp): Promise<string> => {
    const { value, done } = await lines.next()
    signal.throwIfAborted()
    const found = done ? undefined : pattern.exec(value)?.[1]
    if (found === undefined) throw new ContenderError(`replay-pods: ended, or said ${value}`)
    return found
  }
  const port = await next(/^listening (\d+)$/)
  return {
    url: `https://127.0.0.1:${port}`,
    folder,
    change: async (seconds) => {
      child.stdin.write(`${seconds}\n`)
      await next(/^changed (\d+)$/)
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}
