import type { NodeFailure, Nodes } from '../state/cached-image.ts'
import { failureText, unknownText } from './failure-text.ts'
import type { Survey } from './survey.ts'
import type { NodeTrouble } from './tallies.ts'

/** As many failures as a status lists. */
const listed = 10

/** Where an image stands that no node is asked for. */
export const nowhere: Nodes = Object.freeze({
  ...{ desired: 0, cached: 0, pulling: 0, failed: 0 },
  failures: [],
})

const blockedText =
  'the node cannot run the image with the sleep program, which caching needs (sleepImage)'

/**
 * Where an image stands, for its status: how many nodes are to have it, have it, fail with it, and all others, which are
 * still to pull it. Of several names of one image each counts that is not best effort, and the poorest one is told.
 *
 * @param references the names of the image that its status is about
 * @param before the status as it was: a kubelet in back-off says less than it said when it failed
 * @param isApart whether a name is known to fail: until a new pod has something to say, what was said before counts
 */
export function nodesOf(
  references: readonly string[],
  seen: Survey,
  before: Nodes | undefined,
  isApart: (reference: string) => boolean,
): Nodes {
  const all = references.map((reference) => one(reference, seen, before, isApart(reference)))
  const [first, ...rest] = all
  if (first === undefined) return nowhere
  return rest.reduce((poorest, next) => (next.cached < poorest.cached ? next : poorest), first)
}

function one(reference: string, seen: Survey, before: Nodes | undefined, isApart: boolean): Nodes {
  const tally = seen.tally(reference)
  const failing = new Map(tally.failures.map((trouble) => [trouble.node, trouble]))
  // Where kip's own containers cannot run, no image can be asked for.
  const nodes = seen.desired(reference)
  const room = Math.max(0, nodes - tally.held - failing.size)
  const blocked = [...seen.blocked]
    .filter(
      ([node]) =>
        seen.isMeant(node, reference) && !failing.has(node) && !seen.isHeldOn(node, reference),
    )
    .slice(0, room)
  const desired = Math.max(nodes, tally.held)
  const known = isApart ? before : undefined
  const failed = Math.min(
    Math.max(failing.size + blocked.length, known?.failed ?? 0),
    desired - tally.held,
  )
  const told = new Set([...failing.keys(), ...blocked.map(([node]) => node)])
  const failures: NodeFailure[] = [
    ...[...failing.values()].map((trouble) => describe(trouble, before)),
    ...blocked.map(([node, { reason }]) => ({ node, reason, message: blockedText })),
    ...(known?.failures ?? []).filter(
      ({ node }) => !told.has(node) && !seen.isHeldOn(node, reference),
    ),
  ]
  return {
    desired,
    cached: tally.held,
    pulling: desired - tally.held - failed,
    failed,
    failures: failures
      .toSorted((a, b) => (a.node < b.node ? -1 : 1))
      .slice(0, Math.min(listed, failed)),
  }
}

/** `ErrImagePull` and `ImagePullBackOff` follow each other without end and mean the same. */
function describe({ node, reason, message }: NodeTrouble, before: Nodes | undefined): NodeFailure {
  const same = reason === 'ImagePullBackOff' ? 'ErrImagePull' : reason
  const text = failureText(reason, message)
  if (text !== unknownText) return { node, reason: same, message: text }
  const known = before?.failures.find((failure) => failure.node === node && failure.reason === same)
  return { node, reason: same, message: known?.message ?? text }
}
