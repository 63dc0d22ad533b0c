import type { Settings } from './config/settings.ts'
import { getObject } from './kube/apply.ts'
import type { KubeClient } from './kube/client.ts'
import type { Doubt } from './kube/doubt.ts'
import { KubeApiError } from './kube/errors.ts'
import { type ResourcePath, resourcePath } from './kube/resource.ts'
import { group, plural, version } from './state/cached-image.ts'

/** `cluster`: all parts, state in CachedImages. `alone`: the puller holds the static IMAGES and nothing else. */
export interface Mode {
  readonly mode: 'cluster' | 'alone'
  /** Why, for the log. */
  readonly reason: string
}

/** The cluster lacks what `discovery.enabled: true` asks for. */
export class ModeError extends Error {
  readonly code = 'KIP_MODE'
  override readonly name = 'ModeError'
}

/**
 * Whether kip runs with all its parts here, or as KIP did: the puller alone, with a Role in its own namespace. It stays so for
 * the life of the process, and alone the puller lets go of all but the static IMAGES: no server that is just starting decides it.
 *
 * @throws ModeError when the setting asks for discovery and the cluster does not let kip have it
 */
export async function chooseMode(
  client: KubeClient,
  settings: Pick<Settings, 'discovery'>,
  signal: AbortSignal,
  doubt: Doubt,
): Promise<Mode> {
  const { enabled } = settings.discovery
  if (enabled === 'false') return { mode: 'alone', reason: 'discovery.enabled is false' }
  const lacking = await doubt.finalAnswer({
    ask: () => whatIsLacking(client, signal),
    isDoubtful: (lacking) => lacking !== undefined,
    signal,
  })
  if (lacking === undefined) return { mode: 'cluster', reason: 'CachedImages and pods can be read' }
  if (enabled === 'true')
    throw new ModeError(
      `discovery.enabled is true, but ${lacking}: apply crd.yaml and the rbac-*.yaml of deploy/manifests`,
    )
  return { mode: 'alone', reason: lacking }
}

async function whatIsLacking(client: KubeClient, signal: AbortSignal): Promise<string | undefined> {
  const resources = [
    [{ group, version, plural }, 'CachedImages'],
    [{ group: '', version: 'v1', plural: 'pods' }, 'pods'],
  ] as const
  for (const [resource, name] of resources) {
    try {
      await client.request({
        method: 'GET',
        path: resourcePath(resource),
        query: { limit: '1' },
        signal,
      })
    } catch (error) {
      if (!(error instanceof KubeApiError)) throw error
      if (error.status === 404) return `the resource ${name} is not installed`
      if (error.status === 403) return `kip may not list ${name} of the whole cluster`
      throw error
    }
  }
  return undefined
}

/**
 * Whether replicas can elect a leader here. KIP's own Role has no Leases: its one replica leads then, and a second one
 * would do the same work, without harm.
 */
export async function mayElect(
  client: KubeClient,
  { leaderElection, namespace }: Pick<Settings, 'leaderElection' | 'namespace'>,
  signal: AbortSignal,
  doubt: Doubt,
): Promise<boolean> {
  const leases = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases' }
  const resource = { ...leases, namespace: leaderElection.namespace || namespace }
  return await doubt.finalAnswer({
    ask: () => mayGet(client, resource, leaderElection.name, signal),
    isDoubtful: (may) => !may,
    signal,
  })
}

async function mayGet(
  client: KubeClient,
  resource: ResourcePath,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await getObject(client, resource, name, { signal })
    return true
  } catch (error) {
    if (error instanceof KubeApiError && error.status === 403) return false
    throw error
  }
}
