import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { OURS } from '../harness/case.ts'
import { ContenderError } from '../harness/measure.ts'
import { formatMeasurement, type Measurement, type Round } from '../harness/measurement.ts'
import { usageOf } from '../harness/process-usage.ts'
import { type ClientReport, WATCH_LOOP } from './client-report.ts'
import type { ClientName, Target, World } from './world.ts'

/** How the parts of the time are called where their memory is compared. */
export const BEGINNING = 'kip, first third'
export const END = 'kip, last third'
/** What a client does after its list, and the collector after that. */
const SETTLE_MS = 3_000
const SAMPLE_MS = 250

export interface ChurnOptions {
  readonly world: World
  readonly target: Target
  readonly seconds: number
  /** Lets changes go; resolves when the last was sent. */
  readonly change: (signal: AbortSignal) => Promise<void>
  readonly report: (line: string) => void
  readonly signal: AbortSignal
}

/**
 * Both clients side by side on the same changes: CPU of that time alone, memory from the start on. Then as long again for blocks
 * of kip's event loop, since the timers that see them cost more than the changes.
 *
 * @throws ContenderError when they do not end with the same inventory
 */
export async function churnRound(options: ChurnOptions): Promise<Round> {
  const { world, target, signal } = options
  await using kip = await startClient(world, target, OURS, signal)
  await using peer = await startClient(world, target, 'client-go', signal)
  await sleep(SETTLE_MS, undefined, { signal })
  const before = await Promise.all([kip, peer].map(({ process }) => usageOf(process)))
  const rss: number[] = []
  const sampling = setInterval(() => {
    void usageOf(kip.process).then(({ rssMib }) => rss.push(rssMib))
  }, SAMPLE_MS)
  try {
    await options.change(signal)
    await sleep(SETTLE_MS / 3, undefined, { signal })
  } finally {
    clearInterval(sampling)
  }
  const after = await Promise.all([kip, peer].map(({ process }) => usageOf(process)))
  kip.watchLoop()
  await options.change(signal)
  await sleep(SETTLE_MS / 3, undefined, { signal })
  const [ours, theirs] = await Promise.all([kip.end(), peer.end()])
  if (ours.digest !== theirs.digest || ours.events !== theirs.events) {
    throw new ContenderError(`the clients differ: ${JSON.stringify([ours, theirs])}`)
  }
  const measurementOf = (index: number): Measurement => ({
    wallMs: options.seconds * 1000,
    cpuMs: (after[index]?.cpuMs ?? 0) - (before[index]?.cpuMs ?? 0),
    rssMib: after[index]?.peakMib ?? 0,
  })
  const third = Math.ceil(rss.length / 3)
  const thirdMs = (options.seconds * 1000) / 3
  const round: Round = {
    [OURS]: { ...measurementOf(0), blockMs: ours.blockMs ?? 0, bytes: ours.beyondBytes ?? 0 },
    [BEGINNING]: { wallMs: thirdMs, rssMib: Math.max(...rss.slice(0, third)) },
    [END]: { wallMs: thirdMs, rssMib: Math.max(...rss.slice(-third)) },
    'client-go': measurementOf(1),
  }
  for (const [name, measurement] of Object.entries(round)) {
    options.report(`churn: ${name}: ${formatMeasurement(measurement)}`)
  }
  options.report(
    `churn: kip keeps ${ours.podBytes?.toFixed(0)} B a pod, ${ours.beyondBytes?.toFixed(0)} B of it beyond the inventory; its timers were ${ours.lateMs?.toFixed(0)} ms late at most`,
  )
  return round
}

interface Client extends AsyncDisposable {
  readonly process: number
  /** What it told when its inventory was complete. */
  readonly first: ClientReport
  /** Has it watch its event loop from now on. */
  watchLoop(): void
  /** Ends it, for what it tells then. */
  end(): Promise<ClientReport>
}

async function startClient(
  world: World,
  target: Target,
  name: ClientName,
  signal: AbortSignal,
): Promise<Client> {
  const command = ['--pdeathsig', 'KILL', ...world.command(name, target, true)]
  const env = { NODE_ENV: 'production' }
  const child = spawn('setpriv', command, { stdio: ['pipe', 'pipe', 'inherit'], env, signal })
  child.on('error', () => {}) // an abort ends it, which is seen below
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<ClientReport> => {
    const { value, done } = await lines.next()
    signal.throwIfAborted()
    if (done) throw new ContenderError(`${name}: ended before it told of its inventory`)
    return JSON.parse(value)
  }
  const first = await next()
  return {
    process: child.pid ?? 0,
    first,
    watchLoop: () => child.stdin.write(`${WATCH_LOOP}\n`),
    end: async () => {
      child.stdin.end()
      return await next()
    },
    [Symbol.asyncDispose]: () => kill(child),
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
