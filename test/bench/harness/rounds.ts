import { formatMeasurement, type Measurement, type Round } from './measurement.ts'

/** A program that is measured beside others. */
export interface Contender {
  readonly name: string
  /** One run, with all that goes before and after it unmeasured. The rounds are 0 and up; -1 is one that warms up. */
  readonly run: (round: number, signal: AbortSignal) => Promise<Measurement>
}

export interface RoundsOptions {
  /** Of the case, for messages. */
  readonly name: string
  readonly contenders: readonly Contender[]
  readonly rounds: number
  /** Whose program it is; the others are its peers. */
  readonly ours: string
  /**
   * A peer that takes more than this many times as long as the fastest one before it in the first round cannot be the
   * best: it is stopped, and left out of the other rounds. Default 4.
   */
  readonly leaveOutBeyond?: number
  /** Peers that are measured in every round, however slow. */
  readonly keep: readonly string[]
  /**
   * One run of the first contender comes before the rounds and does not count: whoever is first pays for memory that was never
   * used before.
   */
  readonly warmUp?: boolean
  readonly report: (line: string) => void
  readonly signal: AbortSignal
}

const LEAVE_OUT_BEYOND = 4
/** For what goes before and after the measured part of a run. */
const GRACE_MS = 5_000

/** What was measured, and who was not to the end. */
export interface Rounds {
  readonly rounds: readonly Round[]
  readonly leftOut: readonly string[]
}

/**
 * Measures contenders in turn, round after round, so that what changes on the machine in between changes for all of them. The
 * order begins with the next one each round and every second round runs backwards, so that nobody always comes after the same
 * other: a server is not at rest after a run of many processes, and what it has left to do falls to whoever is next.
 */
export async function runRounds(options: RoundsOptions): Promise<Rounds> {
  const { name, report, signal } = options
  const rounds: Round[] = []
  const leftOut = new Set<string>()
  const [first] = options.contenders
  if (options.warmUp && first) {
    report(`${name}, warming up: ${formatMeasurement(await first.run(-1, signal))}`)
  }
  for (let number = 0; number < options.rounds; number += 1) {
    const measured: Record<string, Measurement> = {}
    for (const contender of inTurn(options.contenders, number)) {
      if (leftOut.has(contender.name)) continue
      signal.throwIfAborted()
      const place = `${name}, round ${number + 1} of ${options.rounds}: ${contender.name}`
      const limitMs = number === 0 ? limitOf(contender, measured, options) : undefined
      const measurement = await runWithin(contender, number, limitMs, signal)
      if (measurement) {
        measured[contender.name] = measurement
        report(`${place}: ${formatMeasurement(measurement)}`)
      }
      if (!measurement || (limitMs !== undefined && measurement.wallMs > limitMs)) {
        leftOut.add(contender.name)
        report(`${place}: left out from now on, too slow to be the best`)
      }
    }
    rounds.push(measured)
  }
  return { rounds, leftOut: [...leftOut] }
}

/** How long a peer may take in the first round; undefined when it stays in any case. */
function limitOf(
  { name }: Contender,
  measured: Round,
  { ours, keep, leaveOutBeyond = LEAVE_OUT_BEYOND }: RoundsOptions,
): number | undefined {
  if (name === ours || keep.includes(name)) return undefined
  const peers = Object.entries(measured).filter(([other]) => other !== ours)
  const fastest = Math.min(...peers.map(([, { wallMs }]) => wallMs))
  return Number.isFinite(fastest) ? fastest * leaveOutBeyond : undefined
}

/** @returns undefined when it was not done in time */
async function runWithin(
  contender: Contender,
  round: number,
  limitMs: number | undefined,
  signal: AbortSignal,
): Promise<Measurement | undefined> {
  if (limitMs === undefined) return contender.run(round, signal)
  const late = AbortSignal.timeout(Math.ceil(limitMs) + GRACE_MS)
  try {
    return await contender.run(round, AbortSignal.any([signal, late]))
  } catch (error) {
    if (late.aborted && !signal.aborted) return undefined
    throw error
  }
}

function inTurn<T>(items: readonly T[], round: number): readonly T[] {
  const start = items.length === 0 ? 0 : round % items.length
  const [first, ...others] = [...items.slice(start), ...items.slice(0, start)]
  if (first === undefined) return []
  return [first, ...(round % 2 === 0 ? others : others.reverse())]
}
