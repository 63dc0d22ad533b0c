import {
  type Credential,
  type CredentialSource,
  type DockerConfig,
  dockerCredentials,
  parseDockerConfig,
} from '@containers/image-copy'
import { allUsable, UsageError } from '../errors.ts'
import type { NamedFile } from './arguments.ts'
import type { CopyPair } from './items.ts'
import { readNamed, readNamedInput } from './named-file.ts'

export interface CopyCredentialsOptions {
  readonly sourceAuth: NamedFile | undefined
  readonly targetAuth: NamedFile | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly readFile: (path: string) => string
  readonly readInput: () => Promise<string>
  readonly complain: (text: string) => void
}

/**
 * Credentials for copies, which are told when it is known what is copied. A repository that is written to is asked for with
 * those of the target first, every other with those of the source.
 *
 * @throws UsageError when a file that was named cannot be read; of a default one it is said, and the copy goes on without it
 */
export async function copyCredentials(
  options: CopyCredentialsOptions,
): Promise<(pairs: readonly CopyPair[]) => CredentialSource> {
  const { env, sourceAuth, targetAuth } = options
  const open = async (auth: NamedFile | undefined): Promise<CredentialSource> =>
    dockerCredentials(auth === undefined ? defaultConfigs(options) : [await named(options, auth)], {
      helperEnvironment: env,
    })
  // Standard input can be read once.
  if (sourceAuth?.file === targetAuth?.file) {
    const both = await open(sourceAuth)
    return () => both
  }
  const [source, target] = await allUsable([open(sourceAuth), open(targetAuth)])
  return (pairs) => {
    const targets = new Set(
      pairs.map((pair) => `${pair.target.registry}/${pair.target.repository}`),
    )
    return async (host, repository): Promise<readonly Credential[]> => {
      const order = targets.has(`${host}/${repository}`) ? [target, source] : [source, target]
      return (await Promise.all(order.map((ask) => ask(host, repository)))).flat()
    }
  }
}

async function named(
  { readFile, readInput }: CopyCredentialsOptions,
  { option, file }: NamedFile,
): Promise<DockerConfig> {
  const text = file === '-' ? await readNamedInput(readInput) : readNamed(option, file, readFile)
  return parse(`${option} ${file === '-' ? 'standard input' : file}`, text)
}

/** Where `podman login` is told to write; else where `docker login` does, and then where podman does by itself. */
function defaultConfigs(options: CopyCredentialsOptions): readonly DockerConfig[] {
  const { env } = options
  const docker = env.DOCKER_CONFIG || (env.HOME && `${env.HOME}/.docker`)
  const podman = env.XDG_RUNTIME_DIR && `${env.XDG_RUNTIME_DIR}/containers`
  const files = env.REGISTRY_AUTH_FILE
    ? [env.REGISTRY_AUTH_FILE]
    : [docker && `${docker}/config.json`, podman && `${podman}/auth.json`]
  return files.flatMap((file) => {
    const text = file && readIfThere(file, options)
    return file && text?.trim() ? [parse(file, text)] : []
  })
}

function parse(name: string, text: string): DockerConfig {
  try {
    return parseDockerConfig(text)
  } catch (error) {
    throw new UsageError([`${name}: ${error instanceof Error ? error.message : error}`])
  }
}

/** Many images are public, and a home may well be somebody else's. */
function readIfThere(
  file: string,
  { readFile, complain }: CopyCredentialsOptions,
): string | undefined {
  try {
    return readFile(file)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR')
      complain(`${file}: ${message}; going on without its credentials`)
    return undefined
  }
}
