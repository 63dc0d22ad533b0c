import { parseArgs } from 'node:util'

export interface CommandLine {
  readonly bench: string
  /** Where the figures go as JSON. */
  readonly json: string | undefined
  readonly rounds: number
  readonly only: string
}

/** Fewer rounds give no median worth the name; for a quick look any number will do. */
const ROUNDS = 7

/** @throws RangeError saying what is wrong */
export function parseCommandLine(argv: readonly string[], known: readonly string[]): CommandLine {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      rounds: { type: 'string', default: String(ROUNDS) },
      only: { type: 'string', default: '' },
    },
  })
  const [bench, ...more] = positionals
  if (bench === undefined || more.length > 0 || !known.includes(bench)) {
    throw new RangeError(`give one bench: ${known.join(', ')}`)
  }
  if (!/^[1-9]\d{0,2}$/.test(values.rounds)) {
    throw new RangeError(`--rounds ${values.rounds}: give a number from 1 to 999`)
  }
  return { bench, json: values.json, rounds: Number(values.rounds), only: values.only }
}
