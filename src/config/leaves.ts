import { settingsSchema } from './schema.ts'
import type { SettingSchema } from './schema-types.ts'
import type { Settings } from './settings.ts'

/** One setting with all its spellings. */
export interface Leaf {
  /** `mirror.registry`: as in the file, and as a flag. */
  readonly key: string
  readonly path: readonly string[]
  readonly schema: SettingSchema<unknown>
  /** Variables by precedence: `KIP_MIRROR_REGISTRY`, then aliases. */
  readonly variables: readonly string[]
  /** Flags without dashes: `mirror.registry`, then aliases. */
  readonly flags: readonly string[]
}

/** A group of settings; the key of the outermost is empty. */
export interface Section {
  readonly key: string
  readonly description: string
  readonly leaves: readonly Leaf[]
}

interface Node {
  readonly type: string
  readonly description: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, Node>>
}

/** All sections in the schema's order, each with the settings right below it. */
export const sections: readonly Section[] = sectionsOf(settingsSchema as unknown as Node, [])

/** All settings in the schema's order. */
export const leaves: readonly Leaf[] = sections.flatMap((section) => section.leaves)

/** Settings by their keys: `mirror.registry`. */
export const leafOfKey: ReadonlyMap<string, Leaf> = new Map(leaves.map((leaf) => [leaf.key, leaf]))

/** The settings of a kip that was told nothing. */
export const defaultSettings: Settings = build((leaf) => leaf.schema.default)

/** Builds settings from one value for each leaf; what they hold is not checked here. */
export function build(choose: (leaf: Leaf) => unknown): Settings {
  const root: Record<string, unknown> = {}
  for (const leaf of leaves) {
    let section = root
    for (const key of leaf.path.slice(0, -1)) {
      section[key] ??= {}
      section = section[key] as Record<string, unknown>
    }
    section[leaf.path.at(-1) ?? ''] = choose(leaf)
  }
  return root as unknown as Settings
}

/** `mirror.preCacheWaitSeconds` → `KIP_MIRROR_PRE_CACHE_WAIT_SECONDS` */
function variableOf(path: readonly string[]): string {
  const words = path.map((key) => key.replaceAll(/[A-Z]+/g, (capitals) => `_${capitals}`))
  return `KIP_${words.join('_').toUpperCase()}`
}

function sectionsOf(node: Node, path: readonly string[]): Section[] {
  const own: Leaf[] = []
  const below: Section[] = []
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const at = [...path, key]
    if (isSetting(child)) own.push(leafOf(child, at))
    else below.push(...sectionsOf(child, at))
  }
  return [{ key: path.join('.'), description: node.description, leaves: own }, ...below]
}

function leafOf(schema: SettingSchema<unknown>, path: readonly string[]): Leaf {
  const key = path.join('.')
  return {
    key,
    path,
    schema,
    variables: [variableOf(path), ...(schema['x-env'] ?? [])],
    // A top-level setting may be its own alias.
    flags: [...new Set([key, ...(schema['x-flag'] ?? [])])],
  }
}

function isSetting(node: Node): node is Node & SettingSchema<unknown> {
  return 'default' in node
}
