import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { type Clock, sleep } from '../kube/clock.ts'
import { isForbidden } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import type { KubeObject, OwnerReference } from '../kube/types.ts'

export interface FindOwnerOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** Name of the Deployment; empty: none. */
  readonly name: string
  readonly log: Log
  readonly clock: Clock
}

const firstRetryMs = 1000
const lastRetryMs = 60_000

/** The Deployment that the DaemonSets go with. Where kip may not read it, or there is none, they have no owner. */
export async function findOwner(
  { client, namespace, name, log, clock }: FindOwnerOptions,
  signal: AbortSignal,
): Promise<OwnerReference | undefined> {
  if (name === '') return undefined
  const resource = { group: 'apps', version: 'v1', plural: 'deployments', namespace }
  for (let waitMs = firstRetryMs; !signal.aborted; waitMs = Math.min(lastRetryMs, waitMs * 2)) {
    try {
      const found = await getObject<KubeObject>(client, resource, name, { signal })
      const uid = found?.metadata?.uid
      if (uid !== undefined) return { apiVersion: 'apps/v1', kind: 'Deployment', name, uid }
      log.warn({ deployment: name }, 'there is no such Deployment; the DaemonSets get no owner')
      return undefined
    } catch (error) {
      if (signal.aborted) return undefined
      if (isForbidden(error)) {
        log.warn(
          { deployment: name },
          'the Deployment may not be read; no owner for the DaemonSets',
        )
        return undefined
      }
      log.warn(
        { deployment: name, err: error, waitMs },
        'the Deployment was not read, trying again',
      )
      await sleep(clock, waitMs, signal).catch(() => undefined)
    }
  }
  return undefined
}
