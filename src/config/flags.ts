import type { Given, NamingSource } from './given.ts'
import { type Leaf, leaves } from './leaves.ts'
import { didYouMean } from './nearest.ts'
import { parseText } from './text.ts'

const leafOfFlag = new Map(leaves.flatMap((leaf) => leaf.flags.map((flag) => [flag, leaf])))
const flagNames = [...leafOfFlag.keys(), 'config', 'version', 'help']

/**
 * Whether the arguments ask for the version or for help instead of a run, as `-version` does for imgCloneCtrl.
 *
 * Anything behind `--` and the value of another flag do not count.
 */
export function standaloneFlag(argv: readonly string[]): 'version' | 'help' | undefined {
  for (const { name } of walk(argv)) {
    if (name === 'version' || name === 'v') return 'version'
    if (name === 'help' || name === 'h') return 'help'
  }
  return undefined
}

/**
 * Reads flags as Go's `flag` does, so that imgCloneCtrl's arguments work as they stand: one or two dashes, `-name=value`
 * or `-name value`, a boolean alone means true. A repeated flag adds to a list and else counts last.
 *
 * @param argv Arguments behind the subcommand; a first one that is imgCloneCtrl's program name is passed over.
 */
export function readFlags(argv: readonly string[]): NamingSource {
  const texts = new Map<Leaf, { texts: string[]; spelled: string }>()
  const faults: string[] = []
  let configFile: string | undefined

  for (const { name, text, position } of walk(argv)) {
    if (name === undefined) {
      // It may be the password behind a mistyped flag, so it is not shown.
      faults.push(`argument ${position} is no flag: flags start with "-"`)
      continue
    }
    const leaf = leafOfFlag.get(name)
    if (leaf === undefined && !isOther(name)) {
      faults.push(`--${name}: unknown flag${didYouMean(name, flagNames, '--')}`)
    } else if (text === undefined) {
      if (leaf !== undefined || name === 'config') faults.push(`--${name}: needs a value`)
    } else if (leaf !== undefined) {
      const before = texts.get(leaf)?.texts ?? []
      texts.set(leaf, { texts: [...before, text], spelled: `--${name}` })
    } else if (name === 'config') {
      configFile = text
    }
  }

  const values = new Map<Leaf, Given>()
  for (const [leaf, given] of texts) {
    values.set(leaf, { value: combine(leaf, given.texts), spelled: given.spelled })
  }
  const password = [...values].find(([{ schema }, { value }]) => schema['x-secret'] && value !== '')
  const warnings = password
    ? [
        `${password[1].spelled}: whoever may read the pod can read it; use ${password[0].key === 'mirror.password' ? 'mirror.passwordFile' : 'the environment'}`,
      ]
    : []
  return { values, faults, warnings, configFile }
}

interface Argument {
  /** Without dashes; undefined: not a flag. */
  readonly name: string | undefined
  readonly text: string | undefined
  /** Counted from 1. */
  readonly position: number
}

function* walk(argv: readonly string[]): Generator<Argument> {
  let index = argv[0] === 'imgCloneCtrl' ? 1 : 0
  while (index < argv.length) {
    const argument = argv[index] ?? ''
    const position = index + 1
    index += 1
    if (argument === '--') return
    const [, name, inline] = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(argument) ?? []
    if (name === undefined || inline !== undefined) {
      yield { name, text: inline, position }
    } else if (leafOfFlag.get(name)?.schema.type === 'boolean' || isStandalone(name)) {
      yield { name, text: 'true', position }
    } else {
      const next = argv[index]
      const known = leafOfFlag.has(name) || name === 'config'
      // What follows an unknown flag is taken for its value, unless it is a flag itself.
      const taken = known || !next?.startsWith('-')
      yield { name, text: taken ? next : undefined, position }
      if (taken) index += 1
    }
  }
}

function isStandalone(name: string): boolean {
  return ['version', 'v', 'help', 'h'].includes(name)
}

function isOther(name: string): boolean {
  return name === 'config' || isStandalone(name)
}

function combine(leaf: Leaf, texts: readonly string[]): unknown {
  // IMAGES stay text until they are read item by item.
  if (leaf.key === 'puller.images') return texts.join(';')
  const values = texts.map((text) => parseText(leaf.schema, text))
  return leaf.schema.type === 'array' && values.every(Array.isArray) ? values.flat() : values.at(-1)
}
