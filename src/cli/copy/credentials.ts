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
  /** Of the user that runs it, where the system numbers them. */
  readonly uid: number | undefined
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
  return parseNamed(`${option} ${file === '-' ? 'standard input' : file}`, text)
}

/** What is in the file that `podman login` was told to write; else in those where it and `docker login` write by themselves. */
function defaultConfigs(options: CopyCredentialsOptions): readonly DockerConfig[] {
  const { env, readFile } = options
  const told = env.REGISTRY_AUTH_FILE
  if (!told) return defaultFiles(options).flatMap((file) => readIfThere(file, options))
  const text = readNamed('REGISTRY_AUTH_FILE', told, readFile)
  return text.trim() === '' ? [] : [parseNamed(`REGISTRY_AUTH_FILE ${told}`, text)]
}

/** Where root's logins are without XDG_RUNTIME_DIR, which sudo takes away; others may not even look whether they have any. */
const runtimeOfUsers = '/run/containers'

/**
 * https://docs.docker.com/reference/cli/docker/login/,
 * https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
 */
function defaultFiles({ env, uid }: CopyCredentialsOptions): readonly string[] {
  const docker = env.DOCKER_CONFIG || (env.HOME && `${env.HOME}/.docker`)
  const configs = env.XDG_CONFIG_HOME || (env.HOME && `${env.HOME}/.config`)
  const runtime = env.XDG_RUNTIME_DIR
    ? `${env.XDG_RUNTIME_DIR}/containers`
    : uid !== undefined && `${runtimeOfUsers}/${uid}`
  return [
    docker && `${docker}/config.json`,
    runtime && `${runtime}/auth.json`,
    configs && `${configs}/containers/auth.json`,
  ].flatMap((file) => file || [])
}

function parseNamed(name: string, text: string): DockerConfig {
  try {
    return parseDockerConfig(text)
  } catch (error) {
    throw new UsageError([`${name}: ${error instanceof Error ? error.message : error}`])
  }
}

/** Many images are public, and a home may well be somebody else's. @returns the file's configuration, or none */
function readIfThere(
  file: string,
  { readFile, complain }: CopyCredentialsOptions,
): readonly DockerConfig[] {
  try {
    const text = readFile(file)
    return text.trim() === '' ? [] : [parseDockerConfig(text)]
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    const notThere =
      ['ENOENT', 'ENOTDIR'].includes(code) ||
      (code === 'EACCES' && file.startsWith(`${runtimeOfUsers}/`))
    if (!notThere) complain(`${file}: ${message}; going on without its credentials`)
    return []
  }
}
