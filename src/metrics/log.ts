import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino'
import { describeError } from './describe-error.ts'

export type { Logger } from 'pino'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** Keys whose values are credentials, wherever they stand in a line, down to the third level. */
const secretKeys = [
  'authorization',
  'Authorization',
  'auth',
  'password',
  'passwd',
  'token',
  'identityToken',
  'identitytoken',
  'accessToken',
  'access_token',
  'refreshToken',
  'refresh_token',
  'registrytoken',
  'credential',
  'credentials',
  'cookie',
  'privateKey',
]

/** What waits for room on a full disk, before lines are lost: some thousand lines. */
const keptBytes = 1024 * 1024

/**
 * Makes the log: one JSON object a line. Rooms take `log.child({ component: 'mirror' })` and log fields first, then a
 * lower-case message without data in it; `image`, `node`, `namespace` and `err` are the fields that mean the same
 * everywhere. `info` is a change of state, `debug` an item of work.
 *
 * @param settings.level Least severe level that is written.
 * @param destination Default: {@link standardOutput}.
 */
export function createLog(
  settings: { readonly level: LogLevel },
  destination: DestinationStream = standardOutput(),
): Logger {
  return pino(
    {
      level: settings.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError, error: describeError },
      redact: {
        paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
        censor: '[redacted]',
      },
    },
    destination,
  )
}

/**
 * Standard output, written synchronously, so that the last words of a crash are there. Where it cannot be written, as on a
 * full disk, the program goes on, and the last lines are written when they can be.
 *
 * @param onFault Told once of what went wrong. Default: nobody.
 */
export function standardOutput(onFault: (error: Error) => void = () => {}): DestinationStream {
  const output = pino.destination({ fd: 1, sync: true, maxLength: keptBytes })
  let isTold = false
  output.on('error', (error: Error) => {
    if (!isTold) onFault(error)
    isTold = true
  })
  // A flush, which comes with a fatal line, would wait for room for ever; what can be written has been.
  return { write: (line) => output.write(line) }
}
