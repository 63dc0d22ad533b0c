import type { ImageState, Nodes } from '../state/cached-image.ts'
import { nodesOf, nowhere } from './node-status.ts'
import type { Plan } from './plan.ts'
import { isPullReason } from './verdict.ts'

export interface StandingInput {
  readonly plan: Pick<Plan, 'seen' | 'places' | 'waiting' | 'beyond'>
  /** Each image that is wanted, and the names that nodes are to have it under. */
  readonly images: ReadonlyMap<string, readonly string[]>
  /** All that the store knows. */
  readonly known: Iterable<Pick<ImageState, 'reference' | 'nodes'>>
  /** References that the nodes' disks have no room for. */
  readonly out: ReadonlySet<string>
  /** References that something else at the API server changes. */
  readonly altered: ReadonlySet<string>
  /** Names of DaemonSets whose pods the API server refuses. */
  readonly refused: ReadonlySet<string>
  /** Images that no node is asked for, since it might be kip's own pull secrets that get them. */
  readonly maybePrivate: ReadonlySet<string>
  /** Where images that need credentials stand. */
  readonly beside: ReadonlyMap<string, Nodes>
}

/** Where each image stands on the nodes and, where it stands less well than it should, why. Pure. */
export function standingOf(input: StandingInput): ReadonlyMap<string, Nodes> {
  const { plan, images, known, out, altered, refused, maybePrivate, beside } = input
  const { seen, places, waiting, beyond } = plan
  const refusedReferences = new Set(
    seen.shards
      .filter(({ name }) => refused.has(name))
      .flatMap(({ members }) => members.map(({ reference }) => reference)),
  )
  /** Whether nodes tried a copy and none has it; it is so until one has, or they are no longer asked. */
  const isUnpulled = (copy: string, last: Nodes | undefined): boolean => {
    const { held, failures } = seen.tally(copy)
    const wasUnpulled = last?.reason === 'CopyNotPulled' && places.has(copy)
    const failed = failures.some(({ reason }) => isPullReason(reason))
    return held === 0 && (failed || wasUnpulled)
  }
  const reasonFor = (
    references: readonly string[],
    nodes: Nodes,
    { copy, last }: { readonly copy: string | undefined; readonly last: Nodes | undefined },
  ): string | undefined => {
    const isIn = (set: ReadonlySet<string>): boolean => references.some((name) => set.has(name))
    const isWhole = nodes.desired > 0 && nodes.cached >= nodes.desired
    if (isIn(altered) && !isWhole) return 'Altered'
    if (isIn(out)) return 'NoDisk'
    if (isIn(beyond)) return 'NoEtcd'
    if (isIn(waiting)) return 'NoRoom'
    if (copy !== undefined && isUnpulled(copy, last)) return 'CopyNotPulled'
    const isShort = nodes.cached + nodes.failed < nodes.desired
    return isShort && isIn(refusedReferences) ? 'PodsRefused' : undefined
  }
  const before = new Map<string, Nodes | undefined>()
  for (const { reference, nodes } of known) before.set(reference, nodes)
  const standing = new Map<string, Nodes>()
  for (const [image, references] of images) {
    const last = before.get(image)
    const nodes = nodesOf(references, seen, last, (name) => places.get(name) === 'apart')
    const copy = references.find((name) => name !== image)
    const reason = reasonFor(references, nodes, { copy, last })
    // Before the first DaemonSet is there it is not known how many nodes there are; that none can run an image is.
    if (last === undefined && nodes.desired === 0 && references.length > 0) continue
    standing.set(image, reason === undefined ? nodes : { ...nodes, reason })
  }
  for (const image of maybePrivate) standing.set(image, { ...nowhere, reason: 'MaybePrivate' })
  for (const [image, nodes] of beside) standing.set(image, nodes)
  for (const [image, last] of before) {
    if (last !== undefined && !standing.has(image) && !images.has(image)) {
      standing.set(image, nowhere)
    }
  }
  return standing
}
