import { replacedMembers } from './altered-images.ts'
import type { ObservedShard } from './daemon-set.ts'
import type { PodView } from './pod-view.ts'
import { isResident, labelValue, standsSideBySide } from './shard.ts'
import type { Failure } from './strategies/strategy.ts'
import { type Aim, type Tally, tallyPods } from './tallies.ts'
import { holds, type Verdict } from './verdict.ts'

/** Where things stand on the nodes. */
export interface Survey {
  readonly shards: readonly ObservedShard[]
  /** Most nodes that any shard is meant for: all shards go to the same nodes. */
  readonly nodes: number
  /** Nodes of which nothing is to be heard; nobody waits for them. */
  readonly lost: ReadonlySet<string>
  /** Nodes where kip's own containers fail, so that no image can be asked for. */
  readonly blocked: ReadonlyMap<string, Failure>
  /** Nodes that are to have an image. */
  desired(reference: string): number
  isMeant(node: string, reference: string): boolean
  tally(reference: string): Tally
  podsOf(shard: ObservedShard): readonly PodView[]
  /**
   * Every node that answers has a pod of the shard's present template, and no older one that is to go. Where images stand
   * side by side, one that fails keeps the older pod there for ever, and what else the younger one has is there all the same.
   */
  isRolledOut(shard: ObservedShard): boolean
  /** Rolled out, and all its pods are ready. */
  isSettled(shard: ObservedShard): boolean
  /** Text that changes whenever a shard gets anywhere. */
  progress(shard: ObservedShard): string
  /** Whether another shard's pod on the same node has the image. */
  isHeldBeside(pod: PodView, reference: string): boolean
  isHeldOn(node: string, reference: string): boolean
  /** undefined: the pod does not have the image to care for. */
  verdict(pod: PodView, reference: string): Verdict | undefined
}

/** Which nodes are to have an image, and which shards are for these. */
export interface Scope extends Aim {
  /** Whether a shard has its pods on the nodes that are to have an image, and on no others. */
  isFor(shard: ObservedShard, reference: string): boolean
}

const everywhere: Scope = { isMeant: () => true, kindOf: () => undefined, isFor: () => true }

const nothing: Tally = Object.freeze({ held: 0, unstartable: 0, stalled: 0, failures: [] })

/** Looks at all shards and pods once. */
export function survey(
  observed: readonly ObservedShard[],
  pods: Iterable<PodView>,
  scope: Scope = everywhere,
): Survey {
  const byShard = new Map<string, PodView[]>()
  const byNode = new Map<string, PodView[]>()
  const lost = new Set<string>()
  for (const pod of pods) {
    push(byShard, pod.shard, pod)
    push(byNode, pod.node, pod)
    if (pod.lost) lost.add(pod.node)
  }
  const places = new Map<readonly string[], ReadonlyMap<string, number>>()
  const verdict = (pod: PodView, reference: string): Verdict | undefined => {
    let index = places.get(pod.images)
    if (index === undefined) {
      index = new Map(pod.images.map((image, place) => [image, place]))
      places.set(pod.images, index)
    }
    const place = index.get(reference)
    return place === undefined ? undefined : (pod.verdicts[place] ?? 'pending')
  }
  const isHeldOn = (node: string, reference: string, except?: string): boolean =>
    (byNode.get(node) ?? []).some(
      (pod) => pod.shard !== except && holds(verdict(pod, reference) ?? 'pending'),
    )
  const podsOf = (shard: ObservedShard): readonly PodView[] =>
    byShard.get(labelValue(shard.name)) ?? []
  const answering = (shard: ObservedShard): readonly PodView[] =>
    podsOf(shard).filter(({ node }) => !lost.has(node))
  const isRolledOut = (shard: ObservedShard): boolean => {
    if (shard.deleting || shard.observedGeneration < shard.generation) return false
    const alive = answering(shard)
    const present = alive.filter(({ template }) => template === shard.template)
    const ended = new Set(
      standsSideBySide(shard.kind) ? present.filter(isAsFarAsItGets).map(({ node }) => node) : [],
    )
    if (alive.some(({ template, node }) => template !== shard.template && !ended.has(node))) {
      return false
    }
    return new Set(alive.map(({ node }) => node)).size + lost.size >= shard.desired
  }
  const resident = new Set(
    observed.filter(({ kind }) => isResident(kind)).map(({ name }) => labelValue(name)),
  )
  const { tallies, blocked } = tallyPods(byNode, {
    ...{ lost, resident, aim: scope },
    meantAt: replacedMembers(observed),
  })
  const nodes = Math.max(0, ...observed.map(({ desired }) => desired))
  return {
    shards: observed,
    nodes,
    desired: (reference) => {
      const own = observed.filter((shard) => scope.isFor(shard, reference))
      return own.length === 0 ? nodes : Math.max(...own.map(({ desired }) => desired))
    },
    isMeant: (node, reference) => scope.isMeant(node, reference),
    lost,
    blocked,
    tally: (reference) => tallies.get(reference) ?? nothing,
    podsOf,
    isRolledOut,
    isSettled: (shard) => isRolledOut(shard) && answering(shard).every(({ ready }) => ready),
    progress: (shard) => {
      const alive = podsOf(shard)
      const present = alive.filter(({ template }) => template === shard.template)
      const held = present.reduce((sum, pod) => sum + pod.verdicts.filter(holds).length, 0)
      const ready = present.filter((pod) => pod.ready).length
      return [shard.template, shard.desired, alive.length, present.length, ready, held].join('/')
    },
    isHeldBeside: (pod, reference) => isHeldOn(pod.node, reference, pod.shard),
    isHeldOn: (node, reference) => isHeldOn(node, reference),
    verdict,
  }
}

/** Whether a pod has asked for all its images, and one that fails keeps it from ever being ready. */
function isAsFarAsItGets({ verdicts }: PodView): boolean {
  return !verdicts.includes('pending') && verdicts.some((verdict) => verdict !== 'started')
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}
