import { type Cramped, crampedOf, isCramped, isForCramped, notCramped } from './cramped.ts'
import { admitsPlacing, type NodeDemand } from './node-fit.ts'
import type { NodeView } from './node-view.ts'
import type { Placing } from './placing.ts'
import type { Shard, Where } from './shard.ts'
import { partsOf, whereFrom } from './where.ts'

/** Nodes that are alike, as far as placing images depends on them. */
export interface NodeKind {
  readonly architecture: string
  /** Ids of the placings that mean them. */
  readonly placings: ReadonlySet<string>
  /** Of the smallest disk; 0: not reported. */
  readonly diskBytes: number
  /** They take few pods. */
  readonly cramped: boolean
}

/** The nodes that the puller serves. */
export interface Ground {
  /** undefined: not known, and every image is for every node. */
  readonly nodes: readonly NodeView[] | undefined
  readonly kinds: readonly NodeKind[]
  /** All that there are. */
  readonly architectures: ReadonlySet<string>
  /** Besides the one for all nodes, by their ids. */
  readonly placings: ReadonlyMap<string, Placing>
  readonly cramped: Cramped
  /** Of a node by its name. */
  kindOf(node: string): NodeKind | undefined
}

/** For who may not read nodes. */
export const unknownGround: Ground = Object.freeze({
  nodes: undefined,
  kinds: [],
  architectures: new Set<string>(),
  placings: new Map<string, Placing>(),
  cramped: notCramped,
  kindOf: () => undefined,
})

/**
 * Of the Linux nodes on which a DaemonSet under these settings has pods.
 *
 * @param placings those that shards have or are to have
 * @param knownCramped types of nodes that shards leave out since they take few pods
 */
export function groundOf(
  nodes: readonly NodeView[] | undefined,
  settings: NodeDemand,
  placings: ReadonlyMap<string, Placing> = new Map(),
  knownCramped: Iterable<string> = [],
): Ground {
  if (nodes === undefined) return { ...unknownGround, placings }
  const all = [everywhere(settings), ...placings.values()]
  const kinds = new Map<string, NodeKind>()
  const byName = new Map<string, string>()
  const placed = nodes.filter(isLinux).flatMap((node) => {
    const own = all.filter((placing) => admitsPlacing(node, settings, placing)).map(({ id }) => id)
    return own.length === 0 ? [] : [{ node, own }]
  })
  const served = placed.map(({ node }) => node)
  const cramped = crampedOf(served, knownCramped)
  const crampedTypes = new Set(cramped.types)
  for (const { node, own } of placed) {
    const { architecture, diskBytes } = node
    const isTight = isCramped(node, crampedTypes)
    const key = `${architecture} ${isTight} ${own.join(' ')}`
    const disks = [kinds.get(key)?.diskBytes ?? 0, diskBytes].filter((bytes) => bytes > 0)
    kinds.set(key, {
      architecture,
      placings: new Set(own),
      diskBytes: disks.length === 0 ? 0 : Math.min(...disks),
      cramped: isTight,
    })
    byName.set(node.name, key)
  }
  return {
    nodes: served,
    kinds: [...kinds.values()],
    architectures: new Set(
      [...kinds.values()].map(({ architecture }) => architecture).filter((one) => one !== ''),
    ),
    placings,
    cramped,
    kindOf: (node) => kinds.get(byName.get(node) ?? ''),
  }
}

/** The placing for every node that the settings admit. */
export function everywhere({ tolerations = [] }: NodeDemand): Placing {
  return { id: '', terms: [], tolerations }
}

/** A node that has not reported counts as one: the selector of the shards decides when it has. */
export function isLinux({ os }: NodeView): boolean {
  return os === '' || os === 'linux'
}

/** A shard's place as it comes to now: all architectures that there are are none in particular. */
export function effectiveWhere(where: Where, { architectures: present }: Ground): Where {
  const { placing, architectures } = partsOf(where)
  if (architectures.length === 0 || present.size === 0) return where
  const own = new Set(architectures)
  return [...present].every((one) => own.has(one))
    ? whereFrom({ placing, architectures: [] })
    : where
}

/** Nodes of which nothing is known are of one kind, which is for everything. */
const anyKind: NodeKind = {
  ...{ architecture: '', placings: new Set(['']), diskBytes: 0 },
  cramped: false,
}

/** Kinds of nodes that there are; where nodes may not be read, one that stands for any. */
export function kindsOf({ nodes, kinds }: Ground): readonly NodeKind[] {
  return nodes === undefined ? [anyKind] : kinds
}

/** Whether a place means nodes of a kind. */
export function includes(where: Where, kind: NodeKind): boolean {
  const { placing, architectures } = partsOf(where)
  const runs = architectures.length === 0 || architectures.includes(kind.architecture)
  return runs && kind.placings.has(placing)
}

/** Whether a shard has pods on nodes of a kind. */
export function reaches(
  shard: Pick<Shard, 'kind' | 'index' | 'where'>,
  kind: NodeKind,
  { cramped }: Ground,
): boolean {
  return includes(shard.where ?? '', kind) && (!kind.cramped || isForCramped(shard, cramped))
}

/** Whether a node is one that a place means; of one that is not known the shards' own selectors tell. */
export function isMeant(node: string, where: Where, ground: Ground): boolean {
  const kind = ground.kindOf(node)
  return kind === undefined || includes(where, kind)
}

/**
 * Tells how many nodes a place means.
 *
 * @param unknown what is told where nodes are not known
 */
export function nodeCounts(ground: Ground, unknown: number): (where: Where) => number {
  const { nodes } = ground
  if (nodes === undefined) return () => unknown
  const counts = new Map<Where, number>()
  return (where) => {
    const known =
      counts.get(where) ?? nodes.filter(({ name }) => isMeant(name, where, ground)).length
    counts.set(where, known)
    return known
  }
}

/** Whether there may be nodes that both places mean. */
export function overlaps(one: Where, other: Where, { kinds }: Ground): boolean {
  return kinds.length === 0 || kinds.some((kind) => includes(one, kind) && includes(other, kind))
}

/** Whether all nodes of one place are of the other too. */
export function isWithin(one: Where, other: Where, { kinds }: Ground): boolean {
  return kinds.every((kind) => !includes(one, kind) || includes(other, kind))
}
