import manifest from '../package.json' with { type: 'json' }
import type { Invocation, Subcommand } from './cli/invocation.ts'
import { stopSignal } from './stop-signal.ts'
import { readText, readTextFile } from './text-file.ts'

interface Command {
  readonly summary: string
  /** Not for people: left out of the help. */
  readonly internal?: true
  /** Ends before optimised code would pay for its making. */
  readonly brief?: true
  /** Loaded when called: what one command needs costs the others nothing. */
  readonly load: () => Promise<Subcommand>
}

const commands: Readonly<Record<string, Command>> = {
  run: {
    summary:
      'find, mirror, rewrite and pre-cache the images of a cluster (what runs without a command)',
    load: async () => (await import('./run.ts')).run,
  },
  copy: {
    summary: 'copy images between registries: kip copy SOURCE TARGET',
    brief: true,
    load: async () => (await import('./cli/copy.ts')).copy,
  },
  why: {
    summary:
      'tell why an image is, or is not, copied, held by nodes, named by new pods: kip why IMAGE',
    load: async () => (await import('./cli/why.ts')).why,
  },
  certs: {
    summary: "show the webhook's certificate, or issue one by hand: kip certs issue --out FOLDER",
    load: async () => (await import('./cli/certs.ts')).certs,
  },
  'mirror-worker': {
    summary: 'copy images for a leader that started this process',
    internal: true,
    load: async () => (await import('./mirror-worker.ts')).mirrorWorker,
  },
  version: {
    summary: 'print the version',
    load: async () => version,
  },
  help: {
    summary: 'print this',
    load: async () => help,
  },
}

async function version({ print, version }: Invocation): Promise<number> {
  print(`kip ${version}`)
  return 0
}

async function help({ print }: Invocation): Promise<number> {
  const shown = Object.entries(commands).filter(([, command]) => !command.internal)
  const width = Math.max(...shown.map(([name]) => name.length))
  print('Usage: kip [COMMAND] [OPTIONS]\n')
  for (const [name, { summary }] of shown) print(`  ${name.padEnd(width)}  ${summary}`)
  print('\nOptions of run: see docs/configuration.md, or `kip run --help`.')
  return 0
}

/** kip's own words first; the container of imgCloneCtrl also passes its program's name as the first argument. */
function choose(argv: readonly string[]): { name: string; rest: readonly string[] } {
  const args = argv[0] === 'imgCloneCtrl' ? argv.slice(1) : argv
  const [first, ...rest] = args
  if (first === undefined) return { name: 'run', rest: [] }
  if (first === '-version' || first === '--version') return { name: 'version', rest }
  if (first === '-h' || first === '-help' || first === '--help') return { name: 'help', rest }
  return first.startsWith('-') ? { name: 'run', rest: args } : { name: first, rest }
}

/** Not at once: the compiled form of Node's own modules is good only for the flags that it was made with. */
const UNOPTIMISED_AFTER_MS = 100

/**
 * Standard output or error, opened when it is first wanted: that takes 2 ms each, in which the first connections can be opened
 * already. Whoever reads it may leave early, as `head` does: the work goes on, and its exit code still tells.
 */
class LateOutput {
  readonly #name: 'stdout' | 'stderr'
  #opened: NodeJS.WriteStream | undefined

  constructor(name: 'stdout' | 'stderr') {
    this.#name = name
  }

  get stream(): NodeJS.WriteStream {
    this.#opened ??= process[this.#name].on('error', () => {})
    return this.#opened
  }

  get waiting(): boolean {
    return this.#opened !== undefined && this.#opened.writableLength > 0
  }
}

/** What somebody types, or another program writes, may never end. */
async function readInput(signal: AbortSignal): Promise<string> {
  signal.throwIfAborted()
  const { stdin } = process
  signal.addEventListener('abort', () => stdin.destroy(signal.reason), { once: true })
  return await readText(stdin)
}

const output = new LateOutput('stdout')
const errors = new LateOutput('stderr')

function onCrash(tell: (error: unknown) => void): void {
  process.on('uncaughtException', (error) => {
    try {
      tell(error)
    } finally {
      // Also where it cannot be told: nobody knows what state it left behind.
      process.exit(1)
    }
  })
}

/**
 * Keeps V8 from its optimising compilers, which take 12 MiB, and from waking threads to collect what is young, of which there
 * is too little to share out.
 */
function leaveUnoptimised(): void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8')
  for (const flag of ['--no-opt', '--no-maglev', '--no-parallel-scavenge']) setFlagsFromString(flag)
}

async function main(): Promise<number> {
  let stop: AbortSignal | undefined
  const signal = (): AbortSignal => {
    stop ??= stopSignal()
    return stop
  }
  const complain = (text: string) => errors.stream.write(`${text}\n`)
  const { name, rest } = choose(process.argv.slice(2))
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) {
    complain(`kip: there is no command ${JSON.stringify(name)}; see kip help`)
    return 2
  }
  if (command.brief) setTimeout(leaveUnoptimised, UNOPTIMISED_AFTER_MS).unref()
  const run = await command.load()
  setImmediate(() => output.stream)
  return await run({
    argv: rest,
    env: process.env,
    uid: process.getuid?.(),
    readFile: readTextFile,
    readInput: () => readInput(signal()),
    print: (text) => output.stream.write(`${text}\n`),
    complain,
    terminal: process.getBuiltinModule('node:tty').isatty(2) ? errors.stream : undefined,
    program: import.meta.filename,
    version: manifest.version,
    onCrash,
    // With handlers, neither signal would end a process that waits for a named pipe's other end.
    get signal() {
      return signal()
    },
  })
}

main()
  .catch((error: unknown) => {
    errors.stream.write(`kip: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  })
  .then((code) => {
    process.exitCode = code
    // Taking everything down by hand takes longer than what small copies do; what is not written yet is waited for.
    output.stream.write('', (lost: NodeJS.ErrnoException | null | undefined) => {
      if (lost && lost.code !== 'EPIPE') {
        errors.stream.write(`kip: standard output: ${lost.message}\n`)
        process.exitCode = code || 1
      }
      if (!errors.waiting) process.exit()
    })
  })
