import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import { isForbidden } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { resourceOf } from '../kube/resource.ts'
import type { KubeObject, OwnerReference } from '../kube/types.ts'
import { untilAnswered } from '../kube/until-answered.ts'

export interface FindOwnerOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** Name of the Deployment; empty: none. */
  readonly name: string
  readonly log: Log
  readonly clock: Clock
}

/** The Deployment that the DaemonSets go with. Where kip may not read it, or there is none, they have no owner. */
export async function findOwner(
  { client, namespace, name, log, clock }: FindOwnerOptions,
  signal: AbortSignal,
): Promise<OwnerReference | undefined> {
  if (name === '') return undefined
  const resource = resourceOf('deployments', namespace)
  const fields = { deployment: name }
  const ask = async (): Promise<OwnerReference | undefined> => {
    try {
      const found = await getObject<KubeObject>(client, resource, name, { signal })
      const uid = found?.metadata?.uid
      if (uid !== undefined) return { apiVersion: 'apps/v1', kind: 'Deployment', name, uid }
      log.warn(fields, 'there is no such Deployment; the DaemonSets get no owner')
    } catch (error) {
      if (!isForbidden(error)) throw error
      log.warn(fields, 'the Deployment may not be read; no owner for the DaemonSets')
    }
    return undefined
  }
  const complaint = 'the Deployment was not read, trying again'
  return await untilAnswered(ask, { log, clock, complaint, fields }, signal)
}
