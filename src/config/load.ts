import { contradictions, isMultiCluster } from './checks.ts'
import { nameDockerHub } from './docker-hub.ts'
import { readEnvironment } from './environment.ts'
import { ConfigError } from './errors.ts'
import { readSettingsFile } from './file.ts'
import { readFlags } from './flags.ts'
import type { Given, Source } from './given.ts'
import { readImages } from './images-list.ts'
import { build, type Leaf, leafOfKey } from './leaves.ts'
import { faultsOfNamedFiles, readErrorCode } from './named-files.ts'
import type { Settings } from './settings.ts'
import { nameOf, validate } from './validate.ts'

export interface LoadOptions {
  /** Arguments behind the subcommand. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Reads a text file, and throws as `fs.readFileSync` does. */
  readonly readFile: (path: string) => string
  /** They are of a program that runs elsewhere, with its files and secrets there: these are not looked into. */
  readonly areElsewhere?: boolean
}

export interface Loaded {
  readonly settings: Settings
  /** One line each, to be logged: what was skipped or is not read, and why. */
  readonly warnings: readonly string[]
}

/**
 * Reads all settings: flags before environment before file before defaults, each setting as a whole from the first that
 * gives it. The file is named by `--config` or `KIP_CONFIG`.
 *
 * @throws ConfigError with every fault there is; no fault and no warning holds a credential.
 */
export function loadSettings({ argv, env, readFile, areElsewhere = false }: LoadOptions): Loaded {
  const flags = readFlags(argv)
  const environment = readEnvironment(env)
  const file = readConfigFile(flags.configFile ?? environment.configFile, readFile)
  const sources = [flags, environment, file]
  const given = new Map<Leaf, Given>([...file.values, ...environment.values, ...flags.values])
  const spelled = (key: string): string => {
    const leaf = leafOfKey.get(key)
    return leaf === undefined ? key : nameOf(leaf, given)
  }

  const imageWarnings: string[] = []
  const merged = build((leaf) => {
    const one = given.get(leaf)
    if (one === undefined) return leaf.schema.default
    if (leaf.key !== 'puller.images') return one.value
    const list = readImages(one.value)
    imageWarnings.push(...(list?.warnings ?? []).map((text) => `${spelled(leaf.key)}: ${text}`))
    return list?.images ?? one.value
  })

  const { faults: schemaFaults, refused } = validate(merged, given)
  const isRefused = (key: string): boolean => [...refused].some((leaf) => leaf.key === key)
  const isGiven = (key: string): boolean => [...given.keys()].some((leaf) => leaf.key === key)
  const faults = [
    ...sources.flatMap((source) => source.faults),
    ...schemaFaults,
    ...(areElsewhere
      ? []
      : [
          ...faultsOfNamedFiles({ settings: merged, isRefused, nameOf: spelled, readFile }),
          ...contradictions(merged, isGiven, isRefused),
        ]),
  ]
  if (faults.length > 0) throw new ConfigError(faults)

  const warnings = [
    ...sources.flatMap((source) => source.warnings),
    ...imageWarnings,
    ...idle(merged),
    ...unusedProxies(env, merged),
  ]
  return { settings: nameDockerHub(merged), warnings }
}

function readConfigFile(path: string | undefined, readFile: LoadOptions['readFile']): Source {
  if (path === undefined) return { values: new Map(), faults: [], warnings: [] }
  try {
    return readSettingsFile(path, readFile(path))
  } catch (error) {
    const fault = `config file: cannot read ${path} (${readErrorCode(error)})`
    return { values: new Map(), faults: [fault], warnings: [] }
  }
}

/** Of a proxy it could not tell where a name leads, and whoever creates pods chooses the names. */
function unusedProxies(env: LoadOptions['env'], settings: Settings): string[] {
  if (holdsImagesAlone(settings)) return []
  const upper = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY']
  const names = upper.flatMap((name) => [name, name.toLowerCase()])
  const given = names.filter((name) => env[name]?.trim())
  if (given.length === 0) return []
  return [
    `${given.join(', ')}: not used, registries are asked directly: kip run has to know which addresses it dials`,
  ]
}

/** Without discovery, so that nobody asks a registry. */
function holdsImagesAlone({ discovery, multiCluster }: Settings): boolean {
  return discovery.enabled === 'false' || isMultiCluster(multiCluster)
}

function idle(settings: Settings): string[] {
  const { puller, multiCluster } = settings
  const warnings: string[] = []
  if (holdsImagesAlone(settings) && puller.enabled && puller.images.length === 0)
    warnings.push(
      'the puller has nothing to hold: discovery is off and IMAGES (puller.images) is empty',
    )
  const { oidcProvider, proxyUrl, users } = multiCluster
  const given = oidcProvider !== '' || proxyUrl !== '' || users.length > 0
  if (given && !isMultiCluster(multiCluster))
    warnings.push('the multi-cluster mode is off: its settings are not read')
  return warnings
}
