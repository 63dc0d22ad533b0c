/** Where the tool tells what it does; each call is one line. */
export type Report = (line: string) => void

/** Lines on standard error, which leaves standard output to what was asked for. */
export const reportToStderr: Report = (line) => {
  process.stderr.write(`${line}\n`)
}

/** Without a terminal, a step speaks at least this often. */
const QUIET_MS = 30_000

export interface StepOptions {
  readonly report: Report
  /** What is being done: `building Kubernetes 1.35.4`. */
  readonly step: string
  /** How long it takes on two idle cores; said so that nobody takes silence for a hang. */
  readonly expectedSeconds: number
  /** Default: whether standard error is a terminal; then one line is rewritten each second. */
  readonly terminal?: boolean
}

/**
 * Runs a long step and shows that it goes on: the step, the elapsed and the expected time.
 */
export async function withProgress<T>(options: StepOptions, work: () => Promise<T>): Promise<T> {
  const terminal = options.terminal ?? process.stderr.isTTY === true
  const started = performance.now()
  const line = (): string => progressLine(options, (performance.now() - started) / 1000)
  const show = terminal
    ? (): void => void process.stderr.write(`\r\x1b[K${line()}`)
    : (): void => options.report(line())
  show()
  const timer = setInterval(show, terminal ? 1000 : QUIET_MS)
  try {
    const result = await work()
    if (terminal) process.stderr.write('\r\x1b[K')
    const seconds = Math.round((performance.now() - started) / 1000)
    options.report(`${options.step}: done in ${duration(seconds)}`)
    return result
  } catch (error) {
    if (terminal) process.stderr.write('\n')
    throw error
  } finally {
    clearInterval(timer)
  }
}

export function progressLine(
  options: Pick<StepOptions, 'step' | 'expectedSeconds'>,
  elapsedSeconds: number,
): string {
  const expected = duration(options.expectedSeconds)
  return `${options.step} … ${duration(Math.round(elapsedSeconds))} of about ${expected}`
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  const rest = seconds % 60
  return `${Math.floor(seconds / 60)} min${rest ? ` ${rest} s` : ''}`
}
