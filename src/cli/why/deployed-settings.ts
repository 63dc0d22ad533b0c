import { ConfigError } from '../../config/errors.ts'
import { loadSettings } from '../../config/load.ts'
import type { Settings } from '../../config/settings.ts'
import { getObject } from '../../kube/apply.ts'
import type { KubeClient } from '../../kube/client.ts'
import { resourceOf } from '../../kube/resource.ts'
import type { ConfigMap, EnvVar, PodSpec, Workload } from '../../kube/types.ts'
import { sourcesOf } from '../../state/env-sources.ts'

export interface DeployedSettingsOptions {
  readonly client: KubeClient
  /** Where kip lives. */
  readonly namespace: string
  readonly deployment: string
  /** Counts for the file that kip reads its settings from, which is in its pods. */
  readonly config: string | undefined
  readonly readFile: (path: string) => string
  readonly signal: AbortSignal
}

/**
 * The settings of a kip that runs, as its Deployment and its ConfigMaps say; undefined: there is no such Deployment. What its
 * pods read from Secrets and files stays there: no decision depends on it.
 *
 * @throws KubeApiError, and ConfigError where its pods would not start by them, or have them in a file
 */
export async function deployedSettings(
  options: DeployedSettingsOptions,
): Promise<Settings | undefined> {
  const { client, namespace, deployment, config, readFile, signal } = options
  const deployments = resourceOf('deployments', namespace)
  const found = await getObject<Workload>(client, deployments, deployment, { signal })
  if (found === undefined) return undefined
  const spec = found.spec?.template?.spec ?? {}
  const maps = resourceOf('configmaps', namespace)
  const dataOf = async (name: string): Promise<Readonly<Record<string, string>>> =>
    (await getObject<ConfigMap>(client, maps, name, { signal }))?.data ?? {}
  const env: Record<string, string | undefined> = {}
  for (const { name, prefix } of sourcesOf(spec).maps) {
    for (const [key, value] of Object.entries(await dataOf(name))) env[prefix + key] = value
  }
  for (const { name, value, valueFrom } of ownVariables(spec)) {
    const { name: map, key } = valueFrom?.configMapKeyRef ?? {}
    // Also where it comes from elsewhere: it wins over what the ConfigMaps say.
    env[name] = map === undefined || key === undefined ? value : (await dataOf(map))[key]
  }
  env.NAMESPACE = namespace
  const flags = flagsOf(spec)
  const named = flags.config ?? env.KIP_CONFIG
  if (named !== undefined && config === undefined) {
    throw new ConfigError([`kip has settings in ${named} of its pods: give a copy with --config`])
  }
  const argv = config === undefined ? flags.others : [...flags.others, `--config=${config}`]
  return loadSettings({ argv, env, readFile, areElsewhere: true }).settings
}

function ownVariables({ containers = [] }: PodSpec): readonly EnvVar[] {
  return containers.flatMap(({ env = [] }) => env)
}

/** What is behind the names of program and command, and of it the file that it names. */
function flagsOf({ containers = [] }: PodSpec): {
  readonly config: string | undefined
  readonly others: readonly string[]
} {
  const args = containers[0]?.args ?? []
  const first = args.findIndex((arg) => arg.startsWith('-'))
  const flags = first < 0 ? [] : args.slice(first)
  const at = flags.findIndex((flag) => /^--?config(=|$)/.test(flag))
  const flag = flags[at]
  if (flag === undefined) return { config: undefined, others: flags }
  const isWhole = flag.includes('=')
  return {
    config: isWhole ? flag.slice(flag.indexOf('=') + 1) : (flags[at + 1] ?? ''),
    others: flags.toSpliced(at, isWhole ? 1 : 2),
  }
}
