import type { PodView } from './pod-view.ts'
import type { Failure } from './strategies/strategy.ts'
import { holds, type Verdict } from './verdict.ts'

/** What the pods of all shards together say of one image; each node counts once, by its best pod. */
export interface Tally {
  /** Nodes that have the image. */
  held: number
  /** Nodes of those where no process could be started from it. */
  unstartable: number
  /** Pods that are to hold it for good and cannot start it, or cannot have what they name in its place. */
  stalled: number
  /** Nodes that failed to pull it. */
  readonly failures: NodeTrouble[]
}

export interface NodeTrouble extends Failure {
  readonly node: string
}

export interface Tallies {
  /** By reference; one that no pod says anything of may be absent. */
  readonly tallies: ReadonlyMap<string, Tally>
  /** Nodes where kip's own containers fail. */
  readonly blocked: ReadonlyMap<string, Failure>
}

/** Which nodes are to have an image. */
export interface Aim {
  isMeant(node: string, reference: string): boolean
  /** Equal for nodes that are to have the same images. */
  kindOf(node: string): unknown
}

export interface TallyOptions {
  /** Nodes of which nothing is to be heard. */
  readonly lost: ReadonlySet<string>
  /** Shard labels of pods that hold for good. */
  readonly resident: ReadonlySet<string>
  /** The member of a pod's shard that it names something else in place of, by place. Default: pods name what they are to. */
  readonly meantAt?: (pod: PodView, place: number) => string | undefined
  readonly aim: Aim
}

/** The images of one template, which its pods share. */
interface List {
  /** Places of images that other lists have too. */
  readonly shared: ReadonlySet<number>
  /** Nodes where a pod has started all of them, by their kind: how many, and one of them. */
  readonly whole: Map<unknown, { readonly node: string; count: number }>
}

/**
 * Counts what the pods of each node say of their images.
 *
 * A large cluster has millions of images times nodes, and nearly all of them stand in one pod that has started all it has: these
 * are counted by the pod, and image by image only what is not well, and what two pods of a node may have.
 */
export function tallyPods(
  byNode: ReadonlyMap<string, readonly PodView[]>,
  { lost, resident, meantAt = () => undefined, aim }: TallyOptions,
): Tallies {
  const tallies = new Map<string, Tally>()
  const blocked = new Map<string, Failure>()
  const lists = listsOf(byNode.values())
  for (const [node, pods] of byNode) {
    const best = new Map<string, { verdict: Verdict; failure?: Failure | undefined }>()
    for (const pod of pods) {
      if (pod.blocked !== undefined && !lost.has(node)) blocked.set(node, pod.blocked)
      const list = lists.get(pod.images)
      const isWhole = list !== undefined && isAlone(pod, pods) && hasStartedAll(pod)
      if (isWhole) countNode(list, node, aim)
      for (const place of isWhole ? list.shared : pod.images.keys()) {
        const reference = pod.images[place] ?? ''
        const verdict = pod.verdicts[place] ?? 'pending'
        // A node that cannot run an image is not to have it: what it says of it counts for nothing.
        if (resident.has(pod.shard) && !lost.has(node)) {
          const stalled = stalledAt(pod, place, verdict, meantAt)
          // What is named in its place is meant for no node of a placing.
          if (stalled !== undefined && aim.isMeant(node, stalled))
            tallyOf(tallies, stalled).stalled += 1
        }
        if (!aim.isMeant(node, reference)) continue
        const known = best.get(reference)
        if (known !== undefined && rank[known.verdict] >= rank[verdict]) continue
        best.set(reference, { verdict, failure: pod.failures.get(place) })
      }
    }
    for (const [reference, { verdict, failure }] of best) {
      const tally = tallyOf(tallies, reference)
      if (holds(verdict)) tally.held += 1
      // What a lost node said last is history.
      if (lost.has(node)) continue
      if (verdict === 'unstartable') tally.unstartable += 1
      if (failure !== undefined && verdict === 'failed') tally.failures.push({ node, ...failure })
    }
  }
  for (const [images, { shared, whole }] of lists) {
    for (const { node, count } of whole.values()) {
      for (const [place, reference] of images.entries()) {
        if (shared.has(place) || !aim.isMeant(node, reference)) continue
        tallyOf(tallies, reference).held += count
      }
    }
  }
  return { tallies, blocked }
}

const rank: Readonly<Record<Verdict, number>> = {
  pending: 0,
  failed: 1,
  unstartable: 2,
  started: 3,
}

/** Which image keeps a pod that is to hold for good from getting on; one that cannot be pulled is counted by its node. */
function stalledAt(
  pod: PodView,
  place: number,
  verdict: Verdict,
  meantAt: NonNullable<TallyOptions['meantAt']>,
): string | undefined {
  if (verdict !== 'failed' && verdict !== 'unstartable') return undefined
  const meant = meantAt(pod, place)
  if (meant !== undefined) return meant
  return verdict === 'unstartable' ? pod.images[place] : undefined
}

function listsOf(nodes: Iterable<readonly PodView[]>): ReadonlyMap<readonly string[], List> {
  const all = new Set<readonly string[]>()
  for (const pods of nodes) for (const { images } of pods) all.add(images)
  const owners = new Map<string, number>()
  for (const images of all) {
    for (const reference of images) owners.set(reference, (owners.get(reference) ?? 0) + 1)
  }
  const lists = new Map<readonly string[], List>()
  for (const images of all) {
    const shared = [...images.keys()].filter((place) => owners.get(images[place] ?? '') !== 1)
    lists.set(images, { shared: new Set(shared), whole: new Map() })
  }
  return lists
}

function isAlone(pod: PodView, pods: readonly PodView[]): boolean {
  return pods.every((other) => other === pod || other.images !== pod.images)
}

function hasStartedAll({ images, verdicts }: PodView): boolean {
  return verdicts.length === images.length && verdicts.every((verdict) => verdict === 'started')
}

function countNode({ whole }: List, node: string, aim: Aim): void {
  const kind = aim.kindOf(node)
  const known = whole.get(kind)
  if (known === undefined) whole.set(kind, { node, count: 1 })
  else known.count += 1
}

function tallyOf(tallies: Map<string, Tally>, reference: string): Tally {
  const known = tallies.get(reference)
  if (known !== undefined) return known
  const tally: Tally = { held: 0, unstartable: 0, stalled: 0, failures: [] }
  tallies.set(reference, tally)
  return tally
}
