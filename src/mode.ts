import type { Settings } from './config/settings.ts'
import { getObject } from './kube/apply.ts'
import type { KubeClient } from './kube/client.ts'
import { type Clock, sleep, systemClock } from './kube/clock.ts'
import type { Doubt } from './kube/doubt.ts'
import { KubeApiError } from './kube/errors.ts'
import type { Log } from './kube/log.ts'
import { type ResourcePath, resourceOf, resourcePath } from './kube/resource.ts'
import { group, plural, version } from './state/cached-image.ts'

/** `cluster`: all parts, state in CachedImages. `alone`: the puller holds the static IMAGES and nothing else. */
export interface Mode {
  readonly mode: 'cluster' | 'alone'
  /** Why, for the log. */
  readonly reason: string
}

export interface ModeOptions {
  readonly doubt: Doubt
  readonly log: Log
  readonly clock?: Clock
}

/** What is missing, as it is told. */
interface Lack {
  readonly text: string
  /** It may be on its way: what kip would read besides is there for it. */
  readonly mayCome: boolean
}

/** Deployed together with kip, a resource is there within seconds, be it that the server is busy. */
const resourceWaitMs = 30_000
const askAgainMs = 1_000

/** The cluster lacks what `discovery.enabled: true` asks for. */
export class ModeError extends Error {
  readonly code = 'KIP_MODE'
  override readonly name = 'ModeError'
}

/**
 * Whether kip runs with all its parts here, or as KIP did: the puller alone, with a Role in its own namespace. It stays so for
 * the life of the process, and alone the puller lets go of all but the static IMAGES: no server that is just starting decides it,
 * and no resource that is deployed at the same time.
 *
 * @throws ModeError when the setting asks for discovery and the cluster does not let kip have it
 */
export async function chooseMode(
  client: KubeClient,
  settings: Pick<Settings, 'discovery'>,
  signal: AbortSignal,
  options: ModeOptions,
): Promise<Mode> {
  const { enabled } = settings.discovery
  if (enabled === 'false') return { mode: 'alone', reason: 'discovery.enabled is false' }
  const lacking = await whatIsLackingForGood(client, signal, options)
  if (lacking === undefined) return { mode: 'cluster', reason: 'CachedImages and pods can be read' }
  if (enabled === 'true')
    throw new ModeError(
      `discovery.enabled is true, but ${lacking}: apply crd.yaml and the rbac-*.yaml of deploy/manifests`,
    )
  return { mode: 'alone', reason: lacking }
}

async function whatIsLackingForGood(
  client: KubeClient,
  signal: AbortSignal,
  { doubt, log, clock = systemClock }: ModeOptions,
): Promise<string | undefined> {
  const until = clock.now() + resourceWaitMs
  for (let isTold = false; ; isTold = true) {
    const lack = await doubt.finalAnswer({
      ask: () => whatIsLacking(client, signal),
      isDoubtful: (lack) => lack !== undefined,
      signal,
    })
    if (lack === undefined || !lack.mayCome || clock.now() >= until) return lack?.text
    if (!isTold) log.info({ waitMs: resourceWaitMs }, `${lack.text}, waiting for it`)
    await sleep(clock, askAgainMs, signal)
  }
}

async function whatIsLacking(client: KubeClient, signal: AbortSignal): Promise<Lack | undefined> {
  const images = await refusal(client, { group, version, plural }, signal)
  if (images === 403) return { text: mayNotList('CachedImages'), mayCome: false }
  const pods = await refusal(client, resourceOf('pods'), signal)
  if (images === 404) {
    return { text: 'the resource CachedImages is not installed', mayCome: pods === undefined }
  }
  return pods === undefined ? undefined : { text: mayNotList('pods'), mayCome: false }
}

function mayNotList(what: string): string {
  return `kip may not list ${what} of the whole cluster`
}

/** How a list of a resource is refused, as far as that says something of the cluster; undefined: it is not. */
async function refusal(
  client: KubeClient,
  resource: ResourcePath,
  signal: AbortSignal,
): Promise<403 | 404 | undefined> {
  const query = { limit: '1' }
  try {
    await client.request({ method: 'GET', path: resourcePath(resource), query, signal })
    return undefined
  } catch (error) {
    if (!(error instanceof KubeApiError)) throw error
    if (error.status === 404 || error.status === 403) return error.status
    throw error
  }
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
  const leases = resourceOf('leases', leaderElection.namespace || namespace)
  const read = () => getObject(client, leases, leaderElection.name, { signal })
  return await doubt.unlessForbidden(() => read().then(() => true), false, signal)
}
