import { spawn } from 'node:child_process'
import { ClusterError } from './errors.ts'

export interface CommandOptions {
  readonly signal?: AbortSignal
  /** Replaces the environment of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** Text for the command's standard input; default: none. */
  readonly input?: string
  /** The command is killed after this time; default: no limit. */
  readonly timeoutMs?: number
  /** Called with each piece of output as it comes. */
  readonly onOutput?: (text: string) => void
}

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a command to its end and collects what it printed.
 *
 * @returns the exit code too; a command that was killed by a signal has 128
 * @throws ClusterError (KIP_CLUSTER_COMMAND) when it cannot be started or ran out of time; the signal's reason on abort
 */
export async function tryCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  options.signal?.throwIfAborted()
  const timeout = options.timeoutMs ? AbortSignal.timeout(options.timeoutMs) : undefined
  const signals = [options.signal, timeout].filter((signal) => signal !== undefined)
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>()
  const child = spawn(file, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    signal: AbortSignal.any(signals),
    killSignal: 'SIGKILL',
    ...(options.env && { env: options.env }),
    ...(options.cwd && { cwd: options.cwd }),
  })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      options.onOutput?.(text)
    })
  }
  // A command that ends without reading its input closes the pipe; its exit code tells the story.
  child.stdin?.on('error', () => undefined).end(options.input)
  child.on('close', (code) => resolve({ code: code ?? 128, ...output }))
  child.on('error', (cause) => {
    if (options.signal?.aborted) reject(options.signal.reason)
    else {
      const reason = timeout?.aborted ? `no end after ${options.timeoutMs} ms` : cause.message
      const said = output.stderr.trim() && `\n${output.stderr.trim()}`
      const text = `${commandLine(file, args)}: ${reason}${said}`
      reject(new ClusterError('KIP_CLUSTER_COMMAND', text, { cause }))
    }
  })
  return promise
}

/**
 * Runs a command that has to succeed.
 *
 * @returns what it printed on standard output
 * @throws ClusterError (KIP_CLUSTER_COMMAND) with the command's own words when its exit code is not 0
 */
export async function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await tryCommand(file, args, options)
  if (code === 0) return stdout
  const said = (stderr.trim() || stdout.trim()).slice(-4000)
  throw new ClusterError(
    'KIP_CLUSTER_COMMAND',
    `${commandLine(file, args)}: exit code ${code}\n${said}`,
  )
}

function commandLine(file: string, args: readonly string[]): string {
  const line = [file, ...args].join(' ').replaceAll('\n', ' ')
  return line.length > 300 ? `${line.slice(0, 300)} …` : line
}
