import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Report } from './report.ts'

/** A file that is silent for this long hangs: the longest single end-to-end step takes two minutes. */
const SILENCE_MS = 300_000

export interface RunFilesOptions {
  readonly files: readonly string[]
  readonly concurrency: number
  readonly env: NodeJS.ProcessEnv
  readonly name: (file: string) => string
  readonly report: Report
  readonly signal: AbortSignal
}

/** One line of the reporter in `events.ts`. */
interface TestEvent {
  readonly type: 'pass' | 'fail' | 'skip' | 'todo'
  readonly name: string
  readonly detail?: string
}

/** Runs each test file in a process of its own, `concurrency` at a time, and reports test by test. */
export async function runFiles(options: RunFilesOptions): Promise<void> {
  const waiting = [...options.files]
  const next = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      if (options.signal.aborted) return
      await runFile(file, options)
    }
  }
  await Promise.all(Array.from({ length: options.concurrency }, next))
}

async function runFile(file: string, options: RunFilesOptions): Promise<void> {
  const { env, report, signal } = options
  const name = options.name(file)
  const reporter = new URL('./events.ts', import.meta.url).pathname
  const args = [
    '--disable-warning=ExperimentalWarning',
    '--enable-source-maps',
    `--test-reporter=${reporter}`,
    '--test-reporter-destination=stdout',
    file,
  ]
  const started = performance.now()
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output: string[] = []
  let counted = 0
  let hung = false
  const silence = setTimeout(() => {
    hung = true
    child.kill('SIGKILL')
  }, SILENCE_MS)
  const stop = () => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  const keep = (line: string) => {
    output.push(line)
    if (output.length > 400) output.splice(0, 200)
  }
  createInterface({ input: child.stderr }).on('line', keep)
  createInterface({ input: child.stdout }).on('line', (line) => {
    silence.refresh()
    const event = parseEvent(line)
    if (!event) return keep(line)
    counted++
    const test = `${name}: ${event.name}`
    if (event.type === 'pass') report.pass()
    else if (event.type === 'fail') report.fail(test, event.detail ?? '')
    else report.skip(test, event.detail || 'no reason given')
  })
  const code = await new Promise<number | string>((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, killedBy) => resolve(code ?? killedBy ?? 1))
  })
  clearTimeout(silence)
  signal.removeEventListener('abort', stop)
  const tail = output.slice(-40).join('\n')
  if (hung) report.fail(name, `silent for ${SILENCE_MS / 1000} s, killed\n${tail}`)
  else if (counted === 0) report.fail(name, `ran no test (${code})\n${tail}`)
  else if (typeof code === 'string') report.fail(name, `ended by ${code}\n${tail}`)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`  ${name} ${seconds} s`)
}

function parseEvent(line: string): TestEvent | undefined {
  if (!line.startsWith('{"kip-test":')) return undefined
  return (JSON.parse(line) as { 'kip-test': TestEvent })['kip-test']
}
