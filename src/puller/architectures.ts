import { admitsDaemon, type NodeDemand } from './node-fit.ts'
import type { NodeView } from './node-view.ts'
import type { Where } from './shard.ts'

/** Label that every kubelet gives its node. */
const label = 'kubernetes.io/arch'

/** The nodes that the puller serves, as far as placing images by architecture depends on them. */
export interface Architectures {
  /** All that are there; empty: not known, and every image is for every node. */
  readonly present: ReadonlySet<string>
  /** Of a node by its name. */
  of(node: string): string | undefined
}

/** For who may not read nodes. */
export const unknownArchitectures: Architectures = Object.freeze({
  present: new Set<string>(),
  of: () => undefined,
})

/** Of the Linux nodes that a DaemonSet of this demand has pods on. */
export function architecturesOf(
  nodes: readonly NodeView[] | undefined,
  demand: NodeDemand,
): Architectures {
  if (nodes === undefined) return unknownArchitectures
  const served = nodes.filter((node) => isLinux(node) && admitsDaemon(node, demand))
  const byName = new Map(served.map(({ name, architecture }) => [name, architecture]))
  return {
    present: new Set([...byName.values()].filter((one) => one !== '')),
    of: (node) => byName.get(node),
  }
}

/** A node that has not reported counts as one: the selector of the shards decides when it has. */
export function isLinux({ os }: NodeView): boolean {
  return os === '' || os === 'linux'
}

/**
 * Where an image is to be: on all nodes, or on those that can run it.
 *
 * @param platforms of the image's index (`linux/amd64`, `linux/arm/v7`); undefined or none: not known
 * @returns undefined: no node can run it
 */
export function whereOf(
  platforms: readonly string[] | undefined,
  { present }: Architectures,
): Where | undefined {
  const own = new Set(
    (platforms ?? []).flatMap((platform) => {
      const [os, architecture] = platform.split('/')
      return os === 'linux' && architecture !== undefined ? [architecture] : []
    }),
  )
  // Attestations and the like stand beside real platforms as unknown/unknown.
  const known = (platforms ?? []).some((platform) => !platform.startsWith('unknown'))
  if (!known || present.size === 0) return ''
  const able = [...present].filter((one) => own.has(one))
  if (able.length === 0) return undefined
  return able.length === present.size ? '' : able.sort().join('-')
}

/** A shard's place as it comes to now: one for all architectures that there are is one for all nodes. */
export function effectiveWhere(where: Where, { present }: Architectures): Where {
  if (where === '' || present.size === 0) return where
  const own = new Set(where.split('-'))
  return [...present].every((one) => own.has(one)) ? '' : where
}

/** Whether a place means the nodes of an architecture. */
export function includes(where: Where, architecture: string): boolean {
  return where === '' || where.split('-').includes(architecture)
}

/** Whether a node is one that a place means. */
export function isMeant(node: string, where: Where, architectures: Architectures): boolean {
  const own = architectures.of(node)
  return own === undefined || includes(where, own)
}

interface Term {
  readonly matchExpressions?: readonly object[]
}

interface Affinity {
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: {
      readonly nodeSelectorTerms?: readonly Term[]
    }
  }
}

/** The user's affinity, narrowed to the architectures of a place: terms are alternatives, so each is narrowed. */
export function affinityFor(
  affinity: Readonly<Record<string, unknown>>,
  where: Where,
): Readonly<Record<string, unknown>> {
  if (where === '') return affinity
  const { nodeAffinity } = affinity as Affinity
  const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  const expression = { key: label, operator: 'In', values: where.split('-') }
  const terms = required?.nodeSelectorTerms ?? [{}]
  return {
    ...affinity,
    nodeAffinity: {
      ...nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: terms.map((term) => ({
          ...term,
          matchExpressions: [...(term.matchExpressions ?? []), expression],
        })),
      },
    },
  }
}
