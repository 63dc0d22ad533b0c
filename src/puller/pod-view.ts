import type { Pod } from '../kube/types.ts'
import { shardLabel } from './daemon-set.ts'
import { templateAnnotation } from './pod-template.ts'
import { strategyOfTemplate } from './strategies/strategies.ts'
import type { Failure, PodReport } from './strategies/strategy.ts'

/** What is kept of a puller pod: a few words an image, whatever the pod's size. */
export interface PodView extends PodReport {
  readonly name: string
  /** The value of the shard label. */
  readonly shard: string
  readonly node: string
  /** Hash of the template it was made of. */
  readonly template: string
  readonly ready: boolean
  /** The kubelet says that all is well and the control plane that the pod is not ready: the node is lost. */
  readonly lost: boolean
  /** The kubelet refused or evicted it: it holds nothing any more. */
  readonly refused?: boolean
}

type Lists = Pick<PodReport, 'images' | 'containers'>

/**
 * Makes the projection of pods. References and names are shared between the pods of one template, of which there is one on every
 * node.
 *
 * @returns a function that gives undefined for pods that say nothing: not bound to a node, on their way out, or not made
 *   by kip
 */
export function createPodProjection(): (pod: Pod) => PodView | undefined {
  // Two templates a shard are alive at a time; older ones are forgotten. Admission may have pods of one differ.
  const shared = new Map<string, Lists>()
  const share = (made: string, { images, containers }: Lists): Lists => {
    const key = [made, ...images, ...containers].join(' ')
    const known = shared.get(key)
    if (known !== undefined) return known
    const lists = { images, containers }
    shared.set(key, lists)
    const [oldest] = shared.keys()
    if (shared.size > 64 && oldest !== undefined) shared.delete(oldest)
    return lists
  }
  return (pod) => {
    const { metadata, spec, status } = pod
    const shard = metadata?.labels?.[shardLabel]
    const template = metadata?.annotations?.[templateAnnotation] ?? ''
    const strategy = strategyOfTemplate(pod)
    const node = spec?.nodeName
    if (shard === undefined || strategy === undefined || node === undefined) return undefined
    if (metadata?.deletionTimestamp !== undefined) return undefined
    const refused = status?.phase === 'Failed'
    if (!refused && status?.phase !== 'Pending' && status?.phase !== 'Running') return undefined
    const report = refused ? nothing : strategy.report(pod)
    const ready = hasCondition(pod, 'Ready')
    return {
      name: metadata?.name ?? '',
      shard,
      node,
      template,
      ready,
      lost: !ready && hasCondition(pod, 'ContainersReady'),
      ...(refused && { refused }),
      ...share(`${shard}/${template}`, report),
      verdicts: report.verdicts,
      failures: clipped(report.failures),
      ...(report.blocked === undefined ? {} : { blocked: report.blocked }),
    }
  }
}

const nothing: PodReport = Object.freeze({
  ...{ images: [], containers: [], verdicts: [] },
  failures: new Map(),
})

function hasCondition(pod: Pod, type: string): boolean {
  return (pod.status?.conditions ?? []).some(
    (condition) => condition.type === type && condition.status === 'True',
  )
}

/** A kubelet's message may hold a registry's whole answer; its first kilobyte says all that is read of it. */
function clipped(failures: ReadonlyMap<number, Failure>): ReadonlyMap<number, Failure> {
  return new Map(
    [...failures].map(([index, { reason, message }]) => [
      index,
      { reason, message: message.slice(0, 1024) },
    ]),
  )
}
