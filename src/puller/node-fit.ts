import { meetsOperator } from '../kube/label-selector.ts'
import type { LabelSelectorRequirement, Toleration } from '../kube/types.ts'
import { type NodeView, startupTaint, type Taint } from './node-view.ts'
import type { Placing } from './placing.ts'

/** A core/v1 Affinity, as far as nodes alone decide it. */
interface NodeAffinity {
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: {
      readonly nodeSelectorTerms?: readonly Term[]
    }
  }
}

interface Term {
  readonly matchExpressions?: readonly LabelSelectorRequirement[]
  readonly matchFields?: readonly LabelSelectorRequirement[]
}

/** What says on which nodes a pod may run. */
export interface NodeDemand {
  readonly nodeSelector?: Readonly<Record<string, string>>
  readonly affinity?: object
  readonly tolerations?: readonly Toleration[]
}

/** Taints that the DaemonSet controller lets its pods bear (pkg/controller/daemon/util). */
const borneByDaemons: ReadonlySet<string> = new Set([
  'node.kubernetes.io/not-ready',
  'node.kubernetes.io/unreachable',
  'node.kubernetes.io/disk-pressure',
  'node.kubernetes.io/memory-pressure',
  'node.kubernetes.io/pid-pressure',
  'node.kubernetes.io/unschedulable',
  // Nobody sets it but who has kip release it, and then kip's pods bear it.
  startupTaint,
])

/**
 * Whether a DaemonSet puts its pods on a node, by the scheduler's rules.
 *
 * @see https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
 */
export function admitsDaemon(node: NodeView, demand: NodeDemand): boolean {
  return isSelected(node, demand) && toleratesTaints(node, demand.tolerations ?? [])
}

/** The same of a DaemonSet whose nodes a placing narrows: the taints that they bear are the placing's to say. */
export function admitsPlacing(
  node: NodeView,
  demand: NodeDemand,
  { terms, tolerations }: Placing,
): boolean {
  return (
    isSelected(node, demand) &&
    toleratesTaints(node, tolerations) &&
    (terms.length === 0 ||
      terms.some((term) => term.every((one) => meets(node.labels[one.key], one))))
  )
}

/** Whether the labels and the name of a node are those that are asked for. */
export function isSelected(
  node: NodeView,
  { nodeSelector = {}, affinity = {} }: NodeDemand,
): boolean {
  if (Object.entries(nodeSelector).some(([key, value]) => node.labels[key] !== value)) return false
  const required = (affinity as NodeAffinity).nodeAffinity
    ?.requiredDuringSchedulingIgnoredDuringExecution
  if (required === undefined) return true
  return (required.nodeSelectorTerms ?? []).some(
    ({ matchExpressions = [], matchFields = [] }) =>
      // A term that says nothing selects nothing.
      matchExpressions.length + matchFields.length > 0 &&
      matchExpressions.every((one) => meets(node.labels[one.key], one)) &&
      matchFields.every((one) => one.key === 'metadata.name' && meets(node.name, one)),
  )
}

/** Selectors of nodes compare numbers too, which those of labels do not. */
function meets(value: string | undefined, requirement: LabelSelectorRequirement): boolean {
  const { operator, values = [] } = requirement
  if (operator === 'Gt') return Number(value) > Number(values[0])
  if (operator === 'Lt') return Number(value) < Number(values[0])
  return meetsOperator(requirement, value)
}

function toleratesTaints({ taints }: NodeView, tolerations: readonly Toleration[]): boolean {
  return taints.every(
    (taint) => borneByDaemons.has(taint.key) || tolerations.some((one) => tolerates(one, taint)),
  )
}

function tolerates({ key, operator, value = '', effect }: Toleration, taint: Taint): boolean {
  if (effect !== undefined && effect !== '' && effect !== taint.effect) return false
  if (operator === 'Exists') return key === undefined || key === '' || key === taint.key
  return key === taint.key && value === (taint.value ?? '')
}
