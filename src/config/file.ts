import { parseDocument } from 'yaml'
import type { Given, Source } from './given.ts'
import { type Leaf, leafOfKey, sections } from './leaves.ts'
import { didYouMean } from './nearest.ts'
import { parseFileValue } from './text.ts'

const sectionKeys = new Set(sections.map((section) => section.key))
// Without pretty errors, whose excerpt of the file might show a password.
const quietly = { prettyErrors: false, logLevel: 'error' } as const
const allKeys = [...leafOfKey.keys(), ...sectionKeys]

/**
 * Reads a `kip.yaml`: the schema's sections as maps. Each value may also be written as in the environment. Unknown keys
 * are faults; a key without a value counts as not set.
 *
 * @param path Named in messages.
 * @param text YAML 1.2, which JSON is part of.
 */
export function readSettingsFile(path: string, text: string): Source {
  const values = new Map<Leaf, Given>()
  const faults: string[] = []
  const document = parseDocument(text, quietly)
  for (const error of document.errors) {
    const line = text.slice(0, error.pos[0]).split('\n').length
    faults.push(
      `${path}: line ${line} is no YAML (${error.code.toLowerCase().replaceAll('_', ' ')})`,
    )
  }
  if (faults.length > 0) return { values, faults, warnings: [] }

  const root: unknown = document.toJS()
  // The same file, with each scalar as the text that stands there.
  const texts: unknown = parseDocument(text, { ...quietly, schema: 'failsafe' }).toJS()
  if (root !== null && root !== undefined) visit(root, texts, '')
  return { values, faults, warnings: [] }

  function visit(node: unknown, written: unknown, section: string): void {
    if (typeof node !== 'object' || node === null || Array.isArray(node)) {
      faults.push(`${path}: ${section || 'the file'} is not a map of settings`)
      return
    }
    for (const [name, value] of Object.entries(node)) {
      const key = section === '' ? name : `${section}.${name}`
      const leaf = name.includes('.') ? undefined : leafOfKey.get(key)
      if (leaf !== undefined) {
        if (value === null) continue
        const given = read(leaf, value, below(written, name))
        values.set(leaf, { value: given, spelled: `${path}: ${key}` })
      } else if (sectionKeys.has(key) && !name.includes('.')) {
        if (value !== null) visit(value, below(written, name), key)
      } else {
        faults.push(`${path}: ${key}: unknown key${hint(key, name)}`)
      }
    }
  }
}

function below(node: unknown, name: string): unknown {
  return typeof node === 'object' && node !== null ? Reflect.get(node, name) : undefined
}

function read(leaf: Leaf, value: unknown, written: unknown): unknown {
  if (leaf.key === 'puller.images' && typeof value === 'string') return value
  return parseFileValue(leaf.schema, value, written)
}

function hint(key: string, name: string): string {
  if (leafOfKey.has(key)) return ` (nest it: ${key.replaceAll('.', ': { ')}: …)`
  const meant = didYouMean(key, allKeys)
  return meant === '' ? didYouMean(name, allKeys) : meant
}
