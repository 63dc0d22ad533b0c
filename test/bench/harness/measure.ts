import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { ProcessMeasurement } from './measurement.ts'

export interface MeasureOptions {
  /** The program `measure`. */
  readonly measure: string
  readonly command: readonly [string, ...string[]]
  /** The whole environment of the command. */
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  /** A command line that runs the rest, unmeasured. */
  readonly enter?: readonly string[]
  readonly signal: AbortSignal
}

interface Result {
  readonly wallMicros: number
  readonly cpuMicros: number
  readonly peakRssKib: number
  readonly exitCode: number
}

/** A contender failed, so that there is nothing to compare. */
export class ContenderError extends Error {
  override readonly name = 'ContenderError'
  readonly code = 'KIP_BENCH_CONTENDER'
}

/** What a failure shows of the command's output. */
const TAIL_BYTES = 2_000

/**
 * Runs a command to its end and measures it with all its descendants.
 *
 * @returns the measurement, and what the command printed on standard output
 * @throws ContenderError when its exit code is not 0
 */
export async function measureCommand(
  options: MeasureOptions,
): Promise<{ readonly measurement: ProcessMeasurement; readonly output: string }> {
  const { command, enter = [], env, cwd, signal } = options
  signal.throwIfAborted()
  const [program, ...args] = [...enter, options.measure, ...command]
  const child = spawn(program ?? '', args, {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    signal,
    killSignal: 'SIGKILL',
  })
  const exited = once(child, 'close')
  const [output, errors, line] = await Promise.all([
    text(child.stdio[1] as Readable),
    text(child.stdio[2] as Readable),
    text(child.stdio[3] as Readable),
    exited,
  ]).catch((cause: unknown): never => {
    signal.throwIfAborted()
    throw new ContenderError(`${program}: cannot be run`, { cause })
  })
  signal.throwIfAborted()
  if (line === '') throw failed(command, 'was not measured', errors)
  const result: Result = JSON.parse(line)
  if (result.exitCode !== 0) {
    throw failed(command, `exit code ${result.exitCode}`, `${output}\n${errors}`)
  }
  return {
    measurement: {
      wallMs: result.wallMicros / 1000,
      cpuMs: result.cpuMicros / 1000,
      rssMib: result.peakRssKib / 1024,
    },
    output,
  }
}

function failed(command: readonly string[], what: string, said: string): ContenderError {
  const line = command.join(' ').slice(0, 300)
  return new ContenderError(`${line}: ${what}\n${said.trim().slice(-TAIL_BYTES)}`)
}
