import { boundDemand, type Demand, normalDemand } from '../images/demand.ts'
import type { LabelSelectorRequirement } from '../kube/types.ts'
import { shortHash } from './short-hash.ts'

/** Which of the nodes that the settings admit a shard is for, by their labels and taints. */
export interface Placing extends Demand {
  /** The same for the same demand; '': all of them. */
  readonly id: string
}

/** More alternatives than this make a selector that nobody reads: then every node will do. */
const mostTerms = 8

/**
 * The placing for all nodes that any of several demands means, and no more than their taints together need. What bears a
 * taint bears it on all nodes of the placing, since a pod's tolerations know no labels.
 *
 * @param required of every node besides
 */
export function placingOf(
  demands: readonly Demand[],
  required: readonly LabelSelectorRequirement[] = [],
): Placing {
  const all = demands.flatMap((demand) => (demand.terms.length === 0 ? [[]] : demand.terms))
  const { terms, tolerations } = boundDemand(
    normalDemand({
      terms: all.length > mostTerms ? [] : all,
      tolerations: demands.flatMap(({ tolerations }) => tolerations),
    }),
  )
  const alternatives = terms.length === 0 ? [[]] : terms
  return withId({ terms: alternatives.map((term) => [...required, ...term]), tolerations })
}

function withId(demand: Demand): Placing {
  const normal = normalDemand(demand)
  return { ...normal, id: `at${shortHash(JSON.stringify(normal))}` }
}

/** A placing as it is noted at its DaemonSets. */
export function formatPlacing({ terms, tolerations }: Placing): string {
  return JSON.stringify({ terms, tolerations })
}

/**
 * Reads what {@link formatPlacing} wrote.
 *
 * @returns undefined for what is not of that id: whoever may edit the DaemonSet may have written anything there
 */
export function parsePlacing(id: string, text: string | undefined): Placing | undefined {
  try {
    const placing = withId(JSON.parse(text ?? '') as Demand)
    return placing.id === id ? placing : undefined
  } catch {
    return undefined
  }
}
