import type { Invocation } from './cli/invocation.ts'
import { describeUncaught, isExpected } from './metrics/describe-error.ts'
import type { Logger } from './metrics/log.ts'

export interface LastWordsOptions {
  readonly log: Logger
  readonly onCrash: Invocation['onCrash']
  /** Of the program's end, by which waits end with errors that are none. */
  readonly signal: AbortSignal
}

/**
 * Runs a program that has a log, to its exit code. An error that nobody expected is told there, once and with its stack, and
 * ends it with 1; so is one that nobody caught, wherever it was thrown.
 *
 * @throws what is expected to end a program: errors with a code of kip's own, and what came after the signal
 */
export async function withLastWords(
  { log, onCrash, signal }: LastWordsOptions,
  work: () => Promise<number>,
): Promise<number> {
  const uncaught = log.child({}, { serializers: { err: describeUncaught } })
  onCrash((err) => uncaught.fatal({ err }, 'kip ends by an error that nobody caught'))
  try {
    return await work()
  } catch (err) {
    if (signal.aborted || isExpected(err)) throw err
    log.fatal({ err }, 'kip ends by an error that nobody expected')
    return 1
  }
}
