import { UsageError } from './errors.ts'

/**
 * Reads arguments by Node's own parser.
 *
 * @throws UsageError that names the option
 */
export function readArguments<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    // What follows the first sentence is advice about `--` that helps nobody here.
    throw new UsageError([said.split('. ')[0] ?? said])
  }
}
