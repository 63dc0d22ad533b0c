import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Doubt } from '../kube/doubt.ts'
import type { Log } from '../kube/log.ts'
import { resourceOf } from '../kube/resource.ts'
import type { Pod } from '../kube/types.ts'

export interface PullPolicyOptions {
  readonly client: KubeClient
  readonly doubt: Doubt
  /** This very pod; without a name there is none. */
  readonly pod: { readonly namespace: string; readonly name: string }
  readonly log: Log
}

/**
 * Whether pull policies may be changed: not where the API server enforces AlwaysPullImages, which refuses every pod that in
 * the end has another policy (it puts `Always` back, but not always after kip was asked last).
 *
 * Known from kip's own pod, which that plug-in would have given `Always`: what has another policy shows that it is off. Asked
 * once, so no server that is just starting decides it.
 */
export async function mayChangePullPolicy(
  { client, doubt, pod: { namespace, name }, log }: PullPolicyOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const pods = resourceOf('pods', namespace)
  const read = () => getObject<Pod>(client, pods, name, { signal })
  const own = name === '' ? undefined : await doubt.unlessForbidden(read, undefined, signal)
  const { containers = [], initContainers = [] } = own?.spec ?? {}
  const isOff = [...containers, ...initContainers].some(
    ({ imagePullPolicy }) => imagePullPolicy !== undefined && imagePullPolicy !== 'Always',
  )
  if (!isOff) {
    const why = own ? "kip's own pod has Always too" : "kip's own pod cannot be read"
    log.warn({ why }, 'pull policies are not changed: AlwaysPullImages may be on')
  }
  return isOff
}
