import {
  type Credential,
  type CredentialSource,
  type DockerConfig,
  dockerCredentials,
  parseDockerConfig,
} from '@containers/image-copy'
import { UsageError } from '../errors.ts'
import type { CopyPair } from './items.ts'

export interface CopyCredentialsOptions {
  readonly sourceAuthFile: string | undefined
  readonly targetAuthFile: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly readFile: (path: string) => string
  readonly readInput: () => Promise<string>
  readonly pairs: readonly CopyPair[]
}

/**
 * Credentials for a copy. A repository that is written to is asked for with those of the target first, every other with
 * those of the source.
 *
 * @throws UsageError when a file that was named cannot be read; the default file need not exist
 */
export async function copyCredentials(options: CopyCredentialsOptions): Promise<CredentialSource> {
  const { env, pairs } = options
  const files = new Map<string, DockerConfig>()
  const open = async (option: string, file: string | undefined): Promise<CredentialSource> => {
    const configs =
      file === undefined ? defaultConfigs(options) : [await named(options, option, file, files)]
    return dockerCredentials(configs, { helperEnvironment: env })
  }
  const source = await open('--src-authfile', options.sourceAuthFile)
  if (options.sourceAuthFile === options.targetAuthFile) return source
  const target = await open('--dest-authfile', options.targetAuthFile)
  const targets = new Set(pairs.map((pair) => `${pair.target.registry}/${pair.target.repository}`))
  return async (host, repository): Promise<readonly Credential[]> => {
    const order = targets.has(`${host}/${repository}`) ? [target, source] : [source, target]
    return (await Promise.all(order.map((ask) => ask(host, repository)))).flat()
  }
}

/** Standard input can be read once, so a file that serves both sides is read once. */
async function named(
  { readFile, readInput }: CopyCredentialsOptions,
  option: string,
  file: string,
  files: Map<string, DockerConfig>,
): Promise<DockerConfig> {
  const known = files.get(file)
  if (known !== undefined) return known
  try {
    const config = parseDockerConfig(file === '-' ? await readInput() : readFile(file))
    files.set(file, config)
    return config
  } catch (error) {
    throw new UsageError([`${option} ${file}: ${error instanceof Error ? error.message : error}`])
  }
}

/** Where `podman login` is told to write; else where `docker login` does, and then where podman does by itself. */
function defaultConfigs({ env, readFile }: CopyCredentialsOptions): readonly DockerConfig[] {
  const docker = env.DOCKER_CONFIG || (env.HOME && `${env.HOME}/.docker`)
  const podman = env.XDG_RUNTIME_DIR && `${env.XDG_RUNTIME_DIR}/containers`
  const files = env.REGISTRY_AUTH_FILE
    ? [env.REGISTRY_AUTH_FILE]
    : [docker && `${docker}/config.json`, podman && `${podman}/auth.json`]
  return files.flatMap((file) => {
    const text = file && readIfThere(file, readFile)
    if (!text?.trim()) return []
    try {
      return [parseDockerConfig(text)]
    } catch (error) {
      throw new UsageError([`${file}: ${error instanceof Error ? error.message : error}`])
    }
  })
}

function readIfThere(file: string, readFile: (path: string) => string): string | undefined {
  try {
    return readFile(file)
  } catch {
    return undefined
  }
}
