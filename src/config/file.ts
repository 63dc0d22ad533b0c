import { parseDocument } from 'yaml'
import type { Given, Source } from './given.ts'
import { type Leaf, leafOfKey, sections } from './leaves.ts'
import { didYouMean } from './nearest.ts'
import { parseFileValue } from './text.ts'

const sectionKeys = new Set(sections.map((section) => section.key))
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
  // Without pretty errors, whose excerpt of the file might show a password.
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'error' })
  for (const error of document.errors) {
    const line = text.slice(0, error.pos[0]).split('\n').length
    faults.push(
      `${path}: line ${line} is no YAML (${error.code.toLowerCase().replaceAll('_', ' ')})`,
    )
  }
  if (faults.length > 0) return { values, faults, warnings: [] }

  const root: unknown = document.toJS()
  if (root !== null && root !== undefined) visit(root, '')
  return { values, faults, warnings: [] }

  function visit(node: unknown, section: string): void {
    if (typeof node !== 'object' || node === null || Array.isArray(node)) {
      faults.push(`${path}: ${section || 'the file'} is not a map of settings`)
      return
    }
    for (const [name, value] of Object.entries(node)) {
      const key = section === '' ? name : `${section}.${name}`
      const leaf = name.includes('.') ? undefined : leafOfKey.get(key)
      if (leaf !== undefined) {
        if (value === null) continue
        values.set(leaf, { value: read(leaf, value), spelled: `${path}: ${key}` })
      } else if (sectionKeys.has(key) && !name.includes('.')) {
        if (value !== null) visit(value, key)
      } else {
        faults.push(`${path}: ${key}: unknown key${hint(key, name)}`)
      }
    }
  }
}

function read(leaf: Leaf, value: unknown): unknown {
  if (leaf.key === 'puller.images' && typeof value === 'string') return value
  return parseFileValue(leaf.schema, value)
}

function hint(key: string, name: string): string {
  if (leafOfKey.has(key)) return ` (nest it: ${key.replaceAll('.', ': { ')}: …)`
  const meant = didYouMean(key, allKeys)
  return meant === '' ? didYouMean(name, allKeys) : meant
}
