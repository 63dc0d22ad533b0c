import type { LabelSelectorRequirement, PodSpec, Toleration } from '../kube/types.ts'

/** On which nodes a pod may run: all that the scheduler asks of a node's labels and taints. */
export interface Demand {
  /** Lists of requirements on labels; a node has to meet one list, all of it. None: every node will do. */
  readonly terms: readonly (readonly LabelSelectorRequirement[])[]
  /** Taints that it bears, but for those that every pod of a DaemonSet does. */
  readonly tolerations: readonly Toleration[]
}

/**
 * Characters of JSON that requirements on labels, and tolerations, may take each: a hundred values of a label. It all goes into
 * every pod of a DaemonSet, and whoever may create a pod can write a megabyte.
 */
const mostText = 2048

/** What the DaemonSet controller has its pods bear (pkg/controller/daemon/util), and admission all pods for a while. */
const borneByAll: ReadonlySet<string> = new Set(
  [
    'not-ready',
    'unreachable',
    'disk-pressure',
    'memory-pressure',
    'pid-pressure',
    'unschedulable',
  ].map((name) => `node.kubernetes.io/${name}`),
)

/** Of core/v1 Affinity what must be met by a node's labels. */
interface Affinity {
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: {
      readonly nodeSelectorTerms?: readonly {
        readonly matchExpressions?: readonly LabelSelectorRequirement[]
      }[]
    }
  }
}

/**
 * Reads what a pod asks of nodes, in one form however it is written: a selector is a requirement like others, and order and
 * repetition say nothing. What asks for nodes by their names is left out, and so is what asks at too great length.
 *
 * @see https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
 */
export function demandOf({ nodeSelector = {}, affinity = {}, tolerations = [] }: PodSpec): Demand {
  const selected = Object.entries(nodeSelector).map(([key, value]) => ({
    key,
    operator: 'In',
    values: [value],
  }))
  const required = (affinity as Affinity).nodeAffinity
    ?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms
  const alternatives = (required ?? []).flatMap(({ matchExpressions = [] }) =>
    matchExpressions.length === 0 ? [] : [matchExpressions],
  )
  const terms = (alternatives.length === 0 ? [[]] : alternatives).map((term) => [
    ...selected,
    ...term,
  ])
  return boundDemand(
    normalDemand({
      terms,
      // For how long does not matter: a pod may be there.
      tolerations: tolerations.map(({ tolerationSeconds: _, ...toleration }) => toleration),
    }),
  )
}

/** The demand, or what asks for less in each respect in which it is too long: any node, and to bear any taint. */
export function boundDemand({ terms, tolerations }: Demand): Demand {
  return {
    terms: isTooLong(terms) ? [] : terms,
    tolerations: isTooLong(tolerations) ? [{ operator: 'Exists' }] : tolerations,
  }
}

function isTooLong(list: readonly unknown[]): boolean {
  return JSON.stringify(list).length > mostText
}

/** The same demand in the one form that it has. */
export function normalDemand({ terms, tolerations }: Demand): Demand {
  const normal = unique(
    terms.map((term) =>
      unique(
        term.map(({ key, operator, values = [] }) => ({
          key,
          operator,
          ...(values.length === 0 ? {} : { values: [...new Set(values)].sort() }),
        })),
      ),
    ),
  )
  return {
    terms: normal.some((term) => term.length === 0) ? [] : normal,
    tolerations: unique(
      tolerations
        .filter(({ key = '' }) => !borneByAll.has(key))
        .map(({ key, operator, value, effect }) => ({
          ...(key === undefined || key === '' ? {} : { key }),
          ...(operator === 'Exists' ? { operator } : {}),
          ...(value === undefined || value === '' ? {} : { value }),
          ...(effect === undefined || effect === '' ? {} : { effect }),
        })),
    ),
  }
}

/** Each once, in the order of their texts. */
function unique<T>(items: readonly T[]): readonly T[] {
  const byText = new Map(items.map((item) => [JSON.stringify(item), item]))
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item)
}
