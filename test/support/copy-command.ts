import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const starter = fileURLToPath(new URL('../../start.mjs', import.meta.url))

/** What a run of `kip copy` came to. */
export interface CopyRun {
  readonly code: number | null
  readonly killedBy: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface CopyRunOptions {
  readonly input?: string
  /** Standard input stays open, as that of somebody who has not typed yet. */
  readonly typing?: true
  /** Besides PATH. There is no HOME: whoever runs the tests may have credentials. */
  readonly env?: Readonly<Record<string, string>>
  /** Default: kip's source. */
  readonly program?: string
  /** By way of `start.mjs`, as `npm run kip` does. */
  readonly byScript?: true
  /** Runs the command line that follows it. */
  readonly enter?: readonly string[]
  /** It is interrupted then, as by Ctrl-C. */
  readonly interruptAt?: Promise<unknown>
  readonly started?: (child: ChildProcess) => void
}

/** Runs `kip copy` as its users do: a process of its own. */
export async function kipCopy(
  args: readonly string[],
  options: CopyRunOptions = {},
): Promise<CopyRun> {
  const { enter = [], program = main } = options
  const script = options.byScript ? [starter, 'src/main.ts'] : [program]
  const command = [...enter, process.execPath, ...script, 'copy', ...args]
  const child = spawn(command[0] ?? '', command.slice(1), {
    env: { PATH: process.env.PATH, ...options.env },
  })
  child.stdin.on('error', () => {})
  if (!options.typing) child.stdin.end(options.input ?? '')
  options.started?.(child)
  options.interruptAt?.then(() => child.kill('SIGINT'))
  const [stdout, stderr, [code, killedBy]] = await Promise.all([
    // Some tests close them.
    text(child.stdout).catch(() => ''),
    text(child.stderr).catch(() => ''),
    once(child, 'close'),
  ])
  return { code, killedBy, stdout, stderr }
}
