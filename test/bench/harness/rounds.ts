import { formatMeasurement, type Measurement, type Round } from './measurement.ts'

/** A program that is measured beside others. */
export interface Contender {
  readonly name: string
  /** One run, with all that goes before and after it unmeasured. */
  readonly run: (round: number, signal: AbortSignal) => Promise<Measurement>
}

export interface RoundsOptions {
  /** Of the case, for messages. */
  readonly name: string
  readonly contenders: readonly Contender[]
  readonly rounds: number
  /**
   * A peer that took more than this many times as long as the fastest one in the first round cannot be the best, and is
   * left out of the others. Default 4.
   */
  readonly leaveOutBeyond?: number
  /** These are measured in every round, however slow. */
  readonly keep: readonly string[]
  readonly report: (line: string) => void
  readonly signal: AbortSignal
}

const LEAVE_OUT_BEYOND = 4

/**
 * Measures contenders in turn, round after round, so that what changes on the machine in between changes for all of them. The
 * order moves by one each round, so that nobody always comes after the same other.
 */
export async function runRounds(options: RoundsOptions): Promise<readonly Round[]> {
  const { name, rounds, report, signal } = options
  const results: Round[] = []
  let contenders = options.contenders
  for (let round = 0; round < rounds; round += 1) {
    const measured: Record<string, Measurement> = {}
    for (const contender of rotated(contenders, round)) {
      signal.throwIfAborted()
      const measurement = await contender.run(round, signal)
      measured[contender.name] = measurement
      const place = `${name}, round ${round + 1} of ${rounds}`
      report(`${place}: ${contender.name}: ${formatMeasurement(measurement)}`)
    }
    results.push(measured)
    if (round > 0) continue
    const slow = tooSlow(measured, options.keep, options.leaveOutBeyond ?? LEAVE_OUT_BEYOND)
    if (slow.length > 0) report(`${name}: left out from now on, too slow: ${slow.join(', ')}`)
    contenders = contenders.filter((contender) => !slow.includes(contender.name))
  }
  return results
}

function tooSlow(round: Round, keep: readonly string[], beyond: number): readonly string[] {
  const peers = Object.entries(round).filter(([name]) => !keep.includes(name))
  const fastest = Math.min(...peers.map(([, { wallMs }]) => wallMs))
  return peers.filter(([, { wallMs }]) => wallMs > fastest * beyond).map(([name]) => name)
}

function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = items.length === 0 ? 0 : by % items.length
  return [...items.slice(start), ...items.slice(0, start)]
}
