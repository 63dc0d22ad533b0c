import type { KubeClient } from '../kube/client.ts'
import type { Log } from '../kube/log.ts'
import { controllerOf, groupOf } from '../kube/owner-references.ts'
import { Reflector } from '../kube/reflector.ts'
import type { ResourcePath } from '../kube/resource.ts'
import type { ObjectMeta, OwnerReference } from '../kube/types.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { ignoreFlag } from './flags.ts'

export interface FlaggedWorkloadsOptions {
  readonly client: KubeClient
  /** The kinds that make pods; the cluster may lack a custom one. */
  readonly kinds: readonly (ResourcePath & { readonly kind: string; readonly isCustom: boolean })[]
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'reflector'>
}

/** The workloads that bear the opt-out flag as a label of their own; kept by watch while {@link run} runs. */
export interface FlaggedWorkloads {
  run(signal: AbortSignal): Promise<void>
  /** Resolves when all are known. */
  readonly synced: Promise<void>
  /** Whether a pod belongs to one of them, itself or through a ReplicaSet or Job. */
  ownsPod(pod: ObjectMeta | undefined, namespace: string): boolean
}

/**
 * Follows flagged workloads for replicas that look at pods but do not watch all workloads: only objects with the label
 * are sent.
 *
 * What owns a pod's ReplicaSet or Job is told from names, as the controllers make them: a Deployment's ReplicaSet is its
 * name and the pods' `pod-template-hash`, a CronJob's Job its name and a number. Of custom resources only one habit is
 * known, a name and one more word; an owner of that name that is flagged is taken for the pod's.
 */
export function createFlaggedWorkloads({
  client,
  kinds,
  log,
  metrics,
}: FlaggedWorkloadsOptions): FlaggedWorkloads {
  const reflectors = new Map(
    kinds.map(({ kind, group, version, plural, isCustom }) => [
      `${kind}.${group}`,
      new Reflector<true>({
        client,
        resource: { group, version, plural },
        optional: isCustom,
        labelSelector: `${ignoreFlag}=true`,
        project: () => true,
        log,
        ...(metrics && { metrics: metrics.reflector(`exclusions/${plural}`) }),
      }),
    ]),
  )
  const custom = kinds.filter(({ isCustom }) => isCustom)
  const isFlagged = (kind: string, group: string, namespace: string, name: string): boolean =>
    reflectors.get(`${kind}.${group}`)?.get(`${namespace}/${name}`) === true

  return {
    async run(signal) {
      await Promise.all([...reflectors.values()].map((reflector) => reflector.run(signal)))
    },
    synced: Promise.all([...reflectors.values()].map(({ synced }) => synced)).then(() => undefined),
    ownsPod(pod, namespace) {
      const owner = controllerOf(pod)
      if (owner === undefined) return false
      const group = groupOf(owner)
      if (isFlagged(owner.kind, group, namespace, owner.name)) return true
      const above = aboveOf(owner, pod?.labels?.['pod-template-hash'])
      if (above !== undefined && isFlagged(above.kind, group, namespace, above.name)) return true
      const stem = owner.name.slice(0, Math.max(owner.name.lastIndexOf('-'), 0))
      return custom.some(({ kind, group }) => isFlagged(kind, group, namespace, stem))
    },
  }
}

function aboveOf(
  { kind, name }: OwnerReference,
  hash: string | undefined,
): { kind: string; name: string } | undefined {
  if (kind === 'ReplicaSet' && hash !== undefined && name.endsWith(`-${hash}`)) {
    return { kind: 'Deployment', name: name.slice(0, -hash.length - 1) }
  }
  const scheduled = kind === 'Job' ? /^(.+)-\d+$/.exec(name)?.[1] : undefined
  return scheduled === undefined ? undefined : { kind: 'CronJob', name: scheduled }
}
