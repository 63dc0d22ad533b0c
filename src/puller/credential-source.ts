import type { DockerConfig } from '@containers/image-copy'
import type { PullIdentity } from '../discovery/discovery.ts'
import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { KubeApiError } from '../kube/errors.ts'
import { credentialsFor, type HeldCredential, readPullSecret, type Secret } from './credentials.ts'

/** What the users of one image pull it with. */
export interface ImageCredentials {
  /** Each once, in the order of the namespaces. */
  readonly credentials: readonly HeldCredential[]
  /** Some of them name no pull secret for it: they pull as a service account or as the node. */
  readonly someWithout: boolean
}

/** Secrets read in one go: so many teams with a login of their own; the rest is not read. */
const mostSecrets = 1000
/** Reads at a time. */
const concurrency = 4
/**
 * Of what a pod names no API server checks the form. What no object is called is not asked for, as kubelets do not: it is
 * answered by a fault of the request, or means another path.
 */
const objectName = /^[a-z0-9][a-z0-9.-]{0,252}$/

/**
 * Reads the pull secrets that pods name, each by its name, and finds what fits their images.
 *
 * @throws KubeApiError when one could not be read for another reason than that it is not there or is not to be read
 */
export async function readCredentials(
  client: KubeClient,
  users: ReadonlyMap<string, readonly PullIdentity[]>,
  signal: AbortSignal,
): Promise<{
  readonly images: ReadonlyMap<string, ImageCredentials>
  /** A Secret that kip may not read. */
  readonly refused?: string
}> {
  const named = new Map<string, { readonly namespace: string; readonly name: string }>()
  for (const { namespace, secrets } of [...users.values()].flat()) {
    for (const name of secrets) {
      if (named.size < mostSecrets && objectName.test(name))
        named.set(`${namespace}/${name}`, { namespace, name })
    }
  }
  const configs = new Map<string, DockerConfig>()
  let refused: string | undefined
  const waiting = [...named]
  const worker = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [key, { namespace, name }] = next
      try {
        const resource = { group: '', version: 'v1', plural: 'secrets', namespace }
        const config = readPullSecret(
          (await getObject<Secret>(client, resource, name, { signal })) ?? {},
        )
        if (config !== undefined) configs.set(key, config)
      } catch (error) {
        if (!(error instanceof KubeApiError && error.status === 403)) throw error
        refused = key
      }
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  const images = new Map<string, ImageCredentials>()
  for (const [reference, identities] of users) {
    const credentials = new Map<string, HeldCredential>()
    let someWithout = false
    for (const { namespace, secrets } of identities) {
      const own = secrets.flatMap((name) => configs.get(`${namespace}/${name}`) ?? [])
      const fitting = credentialsFor(reference, own)
      someWithout ||= fitting.length === 0
      for (const credential of fitting) {
        if (!credentials.has(credential.id)) credentials.set(credential.id, credential)
      }
    }
    images.set(reference, { credentials: [...credentials.values()], someWithout })
  }
  return { images, ...(refused === undefined ? {} : { refused }) }
}
