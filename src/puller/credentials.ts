import { createHmac, randomBytes } from 'node:crypto'
import {
  type Credential,
  createKeyring,
  type DockerConfig,
  parseDockerConfig,
  parseReference,
} from '@containers/image-copy'
import type { Secret } from '../kube/types.ts'

/** A name and a password for one image. Never to be logged or put into a status. */
export interface HeldCredential {
  /** The same for the same content, in this process alone. */
  readonly id: string
  readonly username: string
  readonly password: string
}

const contentKeys: Readonly<Record<string, string>> = {
  'kubernetes.io/dockerconfigjson': '.dockerconfigjson',
  'kubernetes.io/dockercfg': '.dockercfg',
}

/** A plain hash of a password could be guessed at from a core dump or a slip of a log line. */
const processKey = randomBytes(32)

/** What a pull secret says; undefined: it is none, or is malformed, and a kubelet passes it over too. */
export function readPullSecret({ type = '', data }: Secret): DockerConfig | undefined {
  const content = data?.[contentKeys[type] ?? '']
  if (content === undefined) return undefined
  try {
    return parseDockerConfig(Buffer.from(content, 'base64'))
  } catch {
    return undefined
  }
}

/**
 * What a kubelet would pull an image with, given a pod's pull secrets, in its order.
 *
 * @param reference normalised
 */
export function credentialsFor(
  reference: string,
  configs: readonly DockerConfig[],
): readonly HeldCredential[] {
  const { registry, repository } = parseReference(reference)
  return createKeyring(configs).lookup(registry, repository).flatMap(held)
}

/** Kubelets read names and passwords; tokens that a docker configuration may hold they do not know. */
function held(credential: Credential): readonly HeldCredential[] {
  if (!('username' in credential)) return []
  const { username, password } = credential
  const id = createHmac('sha256', processKey)
    .update(JSON.stringify([username, password]))
    .digest('hex')
  return [{ id, username, password }]
}

/**
 * The docker configuration with which one pod pulls several images, each with its own credential: an entry an image's
 * repository, and nothing else that the secrets hold. Kubelets try the longest key that fits first, and all that they find
 * under one key, however it is written: a repository with several credentials has a key for each, nine at most.
 *
 * @see https://kubernetes.io/docs/concepts/containers/images/#config-json
 * @returns the same text for the same images and credentials
 */
export function dockerConfigFor(
  members: Iterable<{ readonly reference: string; readonly credential: HeldCredential }>,
): string {
  const byRepository = new Map<string, Map<string, HeldCredential>>()
  for (const { reference, credential } of members) {
    const repository = repositoryOf(reference)
    const known = byRepository.get(repository) ?? new Map<string, HeldCredential>()
    byRepository.set(repository, known.set(credential.id, credential))
  }
  const auths = [...byRepository].flatMap(([repository, credentials]) => {
    const keys = keysOf(repository)
    return [...credentials.values()]
      .slice(0, keys.length)
      .map(({ username, password }, place) => [keys[place] ?? '', { username, password }] as const)
  })
  const sorted = auths.sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify({ auths: Object.fromEntries(sorted) })
}

/** Ways to write one key: without scheme, or with one that is passed over, as is the path of an API. */
function keysOf(repository: string): readonly string[] {
  const slash = repository.indexOf('/')
  return ['', 'https://', 'http://'].flatMap((scheme) =>
    ['', '/v1', '/v2'].map(
      (api) => `${scheme}${repository.slice(0, slash)}${api}${repository.slice(slash)}`,
    ),
  )
}

/** Registry and repository of a normalised reference. */
export function repositoryOf(reference: string): string {
  const { registry, repository } = parseReference(reference)
  return `${registry}/${repository}`
}
