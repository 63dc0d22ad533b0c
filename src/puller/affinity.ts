import type { LabelSelectorRequirement } from '../kube/types.ts'
import { typeLabel } from './cramped.ts'
import type { Placing } from './placing.ts'

/** Label that every kubelet gives its node. */
const architectureLabel = 'kubernetes.io/arch'

interface Term {
  readonly matchExpressions?: readonly LabelSelectorRequirement[]
  readonly matchFields?: readonly LabelSelectorRequirement[]
}

interface Affinity {
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: {
      readonly nodeSelectorTerms?: readonly Term[]
    }
  }
}

/** An affinity, narrowed to nodes of certain names. */
export function affinityByName(
  affinity: Readonly<Record<string, unknown>>,
  names: readonly string[],
): Readonly<Record<string, unknown>> {
  return narrowed(affinity, (term) =>
    // The API server takes one name a field: names are alternatives.
    names.map((name) => {
      const field = { key: 'metadata.name', operator: 'In', values: [name] }
      return { ...term, matchFields: [...(term.matchFields ?? []), field] }
    }),
  )
}

/**
 * The user's affinity, narrowed to the nodes of a placing and of architectures. Terms are alternatives: each of the user's
 * is narrowed, by each of the placing's.
 *
 * @param affinity a core/v1 Affinity
 * @param architectures none: all
 * @param without types of nodes that are left out
 */
export function affinityFor(
  affinity: Readonly<Record<string, unknown>>,
  architectures: readonly string[],
  placing?: Pick<Placing, 'terms'>,
  without: readonly string[] = [],
): Readonly<Record<string, unknown>> {
  const able = { key: architectureLabel, operator: 'In', values: architectures }
  const roomy = { key: typeLabel, operator: 'NotIn', values: without }
  const own = [
    ...(architectures.length === 0 ? [] : [able]),
    ...(without.length === 0 ? [] : [roomy]),
  ]
  const alternatives = placing === undefined || placing.terms.length === 0 ? [[]] : placing.terms
  const narrowing = alternatives.map((term) => [...term, ...own])
  if (narrowing.some((term) => term.length === 0)) return affinity
  return narrowed(affinity, (term) =>
    narrowing.map((more) => ({
      ...term,
      matchExpressions: [...(term.matchExpressions ?? []), ...more],
    })),
  )
}

/** Terms are alternatives: what is to hold besides has to stand in each. */
function narrowed(
  affinity: Readonly<Record<string, unknown>>,
  narrow: (term: Term) => readonly Term[],
): Readonly<Record<string, unknown>> {
  const { nodeAffinity } = affinity as Affinity
  const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  const terms = required?.nodeSelectorTerms ?? [{}]
  return {
    ...affinity,
    nodeAffinity: {
      ...nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.flatMap(narrow),
      },
    },
  }
}
