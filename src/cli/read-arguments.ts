import { UsageError } from './errors.ts'

/**
 * Reads arguments by Node's own parser.
 *
 * @param instead - of options that other programs have: what to write here
 * @throws UsageError that names the option
 */
export function readArguments<T>(read: () => T, instead: Readonly<Record<string, string>> = {}): T {
  try {
    return read()
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    throw new UsageError([adviceOn(said, instead) ?? firstSentence(said)])
  }
}

function adviceOn(said: string, instead: Readonly<Record<string, string>>): string | undefined {
  const option = /^Unknown option '([^']+)'/.exec(said)?.[1]
  if (option === undefined || !Object.hasOwn(instead, option)) return undefined
  return `${option} is no option here: ${instead[option]}`
}

/** What follows it is advice about dashes that helps nobody here. */
function firstSentence(said: string): string {
  const first = said.split(/\.\s/, 1)[0] ?? said
  return first.replace(
    'argument is ambiguous',
    'lacks its argument: what follows begins with a dash',
  )
}
