import type { LabelSelectorRequirement } from '../kube/types.ts'
import type { Placing } from './placing.ts'

/** Label that every kubelet gives its node. */
const architectureLabel = 'kubernetes.io/arch'

interface Term {
  readonly matchExpressions?: readonly LabelSelectorRequirement[]
}

interface Affinity {
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: {
      readonly nodeSelectorTerms?: readonly Term[]
    }
  }
}

/**
 * The user's affinity, narrowed to the nodes of a placing and of architectures. Terms are alternatives: each of the user's
 * is narrowed, by each of the placing's.
 *
 * @param affinity a core/v1 Affinity
 * @param architectures none: all
 */
export function affinityFor(
  affinity: Readonly<Record<string, unknown>>,
  architectures: readonly string[],
  placing?: Pick<Placing, 'terms'>,
): Readonly<Record<string, unknown>> {
  const able = { key: architectureLabel, operator: 'In', values: architectures }
  const own = architectures.length === 0 ? [] : [able]
  const alternatives = placing === undefined || placing.terms.length === 0 ? [[]] : placing.terms
  const narrowing = alternatives.map((term) => [...term, ...own])
  if (narrowing.some((term) => term.length === 0)) return affinity
  const { nodeAffinity } = affinity as Affinity
  const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  const terms = required?.nodeSelectorTerms ?? [{}]
  return {
    ...affinity,
    nodeAffinity: {
      ...nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.flatMap((term) =>
          narrowing.map((more) => ({
            ...term,
            matchExpressions: [...(term.matchExpressions ?? []), ...more],
          })),
        ),
      },
    },
  }
}
