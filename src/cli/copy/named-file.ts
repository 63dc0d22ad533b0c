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
