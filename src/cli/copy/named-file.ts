import { UsageError } from '../errors.ts'

/**
 * Reads a file that somebody named.
 *
 * @param what - what it is for, as an option that named it
 * @throws UsageError
 */
export function readNamed(what: string, file: string, readFile: (path: string) => string): string {
  try {
    return readFile(file)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new UsageError([`${what} ${file}: ${why}`])
  }
}

/** Reads standard input, where somebody named that. @throws UsageError when it holds too much; else as `readInput` */
export async function readNamedInput(readInput: () => Promise<string>): Promise<string> {
  try {
    return await readInput()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new UsageError([`standard input: ${error.message}`])
  }
}
