import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import { Doubt } from '../kube/doubt.ts'
import { isForbidden, isNotFound, KubeApiError, unlessForbidden } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { type ResourcePath, resourceOf, resourcePath } from '../kube/resource.ts'
import { untilAnswered } from '../kube/until-answered.ts'

/**
 * What the puller may do in its namespace besides what it cannot do without (`get`, `watch`, `create`, `delete` of
 * DaemonSets). KIP's own Role lacks `patch` and pods; the users of its multi-cluster mode lack `list` too.
 */
export interface Rights {
  /** Change a DaemonSet. Else a change makes its successor. */
  readonly patch: boolean
  /** List DaemonSets. Else each is watched by its name. */
  readonly list: boolean
  /** List and watch pods. Else where an image stands is told by the counts of DaemonSets alone. */
  readonly pods: boolean
  /** The cluster assigns each namespace's pods a user of its own, and refuses any other: OpenShift's SCCs. */
  readonly assignsUsers: boolean
  /** List and watch nodes. Else what they can is not known, and the simplest that all can is done. */
  readonly nodes: boolean
}

export interface LearnRightsOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly openShift: 'auto' | 'true' | 'false'
  readonly log: Log
  readonly clock: Clock
}

/**
 * Asks until the server answers; undefined when the signal aborts first. Without a right images are held in another way, and
 * some not at all: no server that has just started is to have all shards made anew.
 */
export async function learnRights(
  options: LearnRightsOptions,
  signal: AbortSignal,
): Promise<Rights | undefined> {
  const { client, log, clock } = options
  const doubt = new Doubt({ client, clock })
  const ask = (): Promise<Rights> =>
    doubt.finalAnswer({
      ask: () => askRights(options, signal),
      isDoubtful: ({ patch, list, pods, nodes }) => !(patch && list && pods && nodes),
      signal,
    })
  const complaint = 'what kip may do was not answered, trying again'
  return await untilAnswered(ask, { log, clock, complaint }, signal)
}

async function askRights(
  { client, namespace, openShift }: LearnRightsOptions,
  signal: AbortSignal,
): Promise<Rights> {
  const [patch, list, pods, nodes, assignsUsers] = await Promise.all([
    mayPatch(client, namespace, signal),
    mayList(client, resourceOf('daemonsets', namespace), signal),
    mayList(client, resourceOf('pods', namespace), signal),
    mayList(client, resourceOf('nodes'), signal),
    openShift === 'auto' ? hasGroup(client, sccGroup, signal) : openShift === 'true',
  ])
  return { patch, list, pods, nodes, assignsUsers }
}

async function mayList(
  client: KubeClient,
  resource: ResourcePath,
  signal: AbortSignal,
): Promise<boolean> {
  const path = resourcePath(resource)
  const listing = client.request({ method: 'GET', path, query: { limit: '1' }, signal })
  const may = listing.then(() => true)
  return await unlessForbidden(may, false)
}

/** The API group that SecurityContextConstraints belong to. */
const sccGroup = 'security.openshift.io'

/** Which groups there are may be asked by everybody who is let in; a proxy that shows none has none. */
async function hasGroup(client: KubeClient, group: string, signal: AbortSignal): Promise<boolean> {
  try {
    await client.request({ method: 'GET', path: `/apis/${group}`, signal })
    return true
  } catch (error) {
    if (isForbidden(error) || isNotFound(error)) return false
    throw error
  }
}

/** Where not even that may be asked, the first refusal tells. */
async function mayPatch(
  client: KubeClient,
  namespace: string,
  signal: AbortSignal,
): Promise<boolean> {
  const attributes = { namespace, verb: 'patch', group: 'apps', resource: 'daemonsets' }
  try {
    const answer = await client.request<{ readonly status?: { readonly allowed?: boolean } }>({
      method: 'POST',
      path: resourcePath(resourceOf('selfsubjectaccessreviews')),
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: attributes },
      },
      signal,
    })
    return answer.status?.allowed ?? true
  } catch (error) {
    const isRefused =
      error instanceof KubeApiError &&
      error.status >= 400 &&
      error.status < 500 &&
      error.status !== 429
    if (isRefused && error.status !== 401) return true
    throw error
  }
}

/** Whether a write was refused because DaemonSets may not be changed, and not for what it says. */
export function isPatchForbidden(error: unknown): boolean {
  return isForbidden(error) && error.message.includes('cannot patch resource "daemonsets"')
}
