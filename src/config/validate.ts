import { Ajv, type ErrorObject } from 'ajv'
import type { Given } from './given.ts'
import { type Leaf, leaves } from './leaves.ts'
import { didYouMean } from './nearest.ts'
import { settingsSchema } from './schema.ts'
import type { SettingSchema } from './schema-types.ts'
import type { Settings } from './settings.ts'
import { show } from './text.ts'

/** What the schema refuses, and which settings it refuses. */
export interface Validation {
  readonly faults: readonly string[]
  readonly refused: ReadonlySet<Leaf>
}

// `verbose` hands the refused value to the message; the strict mode of ajv guards the schema itself.
const ajv = new Ajv({ allErrors: true, verbose: true })
ajv.addVocabulary(['x-env', 'x-flag', 'x-secret', 'x-expects'])
const check = ajv.compile(settingsSchema)

const typeNames: Readonly<Record<string, string>> = {
  string: 'text; put it in quotes',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map, in JSON or YAML',
}

/**
 * Checks the merged settings against the schema.
 *
 * @param given Where the values came from, so that a message names what the user wrote.
 */
export function validate(settings: Settings, given: ReadonlyMap<Leaf, Given>): Validation {
  const faults = new Map<string, string>()
  const refused = new Set<Leaf>()
  if (check(settings)) return { faults: [], refused }
  for (const error of check.errors ?? []) {
    const leaf = leafAt(error.instancePath)
    // It only repeats what the error of the name itself says.
    if (leaf === undefined || error.keyword === 'propertyNames') continue
    refused.add(leaf)
    // One message a value: a text that is too short mostly fails its pattern too.
    const { missingProperty, additionalProperty } = error.params
    const key = error.propertyName ?? missingProperty ?? additionalProperty ?? ''
    const place = `${error.instancePath}#${key}`
    if (faults.has(place) && error.keyword !== 'type') continue
    faults.set(place, `${nameOf(leaf, given)}: ${within(leaf, error)}${sentence(leaf, error)}`)
  }
  return { faults: [...faults.values()], refused }
}

/** The setting as the user spelled it; its key besides where the two differ. */
export function nameOf(leaf: Leaf, given: ReadonlyMap<Leaf, Given>): string {
  const spelled = given.get(leaf)?.spelled ?? leaf.key
  return spelled.endsWith(leaf.key) ? spelled : `${spelled} (${leaf.key})`
}

function leafAt(pointer: string): Leaf | undefined {
  return leaves.find((leaf) => `${pointer}/`.startsWith(`/${leaf.path.join('/')}/`))
}

function within(leaf: Leaf, error: ErrorObject): string {
  const rest = error.instancePath
    .split('/')
    .slice(leaf.path.length + 1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  return rest.length === 0 ? '' : `at ${rest.join('.')}: `
}

function sentence(leaf: Leaf, error: ErrorObject): string {
  const shown = show(leaf.schema, error.propertyName ?? error.data)
  const params: Readonly<Record<string, unknown>> = error.params
  switch (error.keyword) {
    case 'type':
      return `${shown} is not ${typeNames[String(params.type)]}`
    case 'enum':
      return `${shown} is none of ${(error.schema as string[]).map((one) => one || "''").join(', ')}`
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum':
      return `${shown} is out of range: it has to be ${params.comparison} ${params.limit}`
    case 'additionalProperties': {
      const name = String(params.additionalProperty)
      const known = Object.keys((error.parentSchema as SettingSchema<unknown>).properties ?? {})
      return `unknown key '${name}'${didYouMean(name, known)}; known are ${known.join(', ')}`
    }
    case 'required': {
      const { properties = {} } = error.parentSchema as SettingSchema<unknown>
      return `'${params.missingProperty}' is missing; known are ${Object.keys(properties).join(', ')}`
    }
    case 'minItems':
      return `${shown} is empty: it has to hold one at least`
    case 'pattern':
    case 'minLength':
    case 'maxLength':
      return `${shown} is not ${leaf.schema['x-expects'] ?? 'of the right form'}`
    default:
      return `${shown} ${error.message}`
  }
}
