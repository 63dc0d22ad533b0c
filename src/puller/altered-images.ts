import type { ObservedShard } from './daemon-set.ts'
import type { PodView } from './pod-view.ts'
import { isResident, labelValue, type Member } from './shard.ts'

/** References that something else at the API server changed, each with what it made of it. */
export type Alterations = ReadonlyMap<string, string>

/** What was altered once is asked for again after ten minutes, then four times as late each time, up to a day. */
const firstMs = 600_000
const lastMs = 86_400_000

/** Which members of a shard the API server stored under other references than it was given. Pure. */
export function alteredMembers(given: readonly Member[], stored: readonly Member[]): Alterations {
  const kept = new Map(stored.map(({ container, reference }) => [container, reference]))
  const altered = new Map<string, string>()
  for (const { container, reference } of given) {
    const becomes = kept.get(container)
    if (becomes !== undefined && becomes !== reference) altered.set(reference, becomes)
  }
  return altered
}

/** Which members of shards the pods that were made of their present templates do not name. Pure. */
export function alteredInPods(
  shards: readonly ObservedShard[],
  pods: Iterable<PodView>,
): Alterations {
  const members = membersByTemplate(shards)
  // Pods of one template that name the same share their lists, and no others do.
  const lists = new Map<readonly string[], PodView>()
  for (const pod of pods) lists.set(pod.images, pod)
  const altered = new Map<string, string>()
  for (const { shard, template, images, containers } of lists.values()) {
    // Of a pod without a template it is not known what it was to name.
    const own = template === '' ? undefined : members.get(`${shard} ${template}`)
    if (own === undefined) continue
    const named = new Map(containers.map((container, place) => [container, images[place]]))
    for (const [container, reference] of own) {
      const becomes = named.get(container) ?? ''
      if (becomes !== reference) altered.set(reference, becomes)
    }
  }
  return altered
}

/** What another mutator changes. */
export interface AlteredNow {
  /** Asked for in vain, and not to be asked for again yet. */
  readonly inVain: Alterations
  /** These, and what some pod that holds for good does not name. */
  readonly all: Alterations
}

/**
 * Tells which member of its shard a pod of the present template names something else in place of. Pure.
 *
 * @returns a function that gives undefined where a pod names what it is to
 */
export function replacedMembers(
  shards: readonly ObservedShard[],
): (pod: PodView, place: number) => string | undefined {
  const members = membersByTemplate(shards)
  return ({ shard, template, images, containers }, place) => {
    const meant = members.get(`${shard} ${template}`)?.get(containers[place] ?? '')
    return meant === images[place] ? undefined : meant
  }
}

/** By shard label and template: what each container is to pull. */
function membersByTemplate(
  shards: readonly ObservedShard[],
): ReadonlyMap<string, ReadonlyMap<string, string>> {
  return new Map(
    shards.map(({ name, template, members }) => [
      `${labelValue(name)} ${template}`,
      new Map(members.map(({ container, reference }) => [container, reference])),
    ]),
  )
}

/**
 * Images whose references another mutator changes, in kip's DaemonSets or in their pods: whatever kip writes, no node is
 * asked for them by their names. They are asked for nowhere anew, so that they take no room from others, and tried again
 * now and then.
 *
 * Pods that hold for good live long, and tell what admission once did: of these only what they are now is told.
 */
export class AlteredImages {
  readonly #known = new Map<string, { becomes: string; until: number; count: number }>()

  /** Takes note of what was altered; what is known already counts when it was tried again. */
  note(altered: Alterations, now: number): void {
    for (const [reference, becomes] of altered) {
      const before = this.#known.get(reference)
      if (before !== undefined && now < before.until) continue
      const count = (before?.count ?? 0) + 1
      const until = now + Math.min(firstMs * 4 ** (count - 1), lastMs)
      this.#known.set(reference, { becomes, until, count })
    }
    // One that was not altered again for this long is no longer.
    for (const [reference, { until }] of this.#known) {
      if (now >= until + lastMs) this.#known.delete(reference)
    }
  }

  /** Looks at the pods: those of shards on their way tell what becomes of what is asked for now. */
  look(
    shards: readonly ObservedShard[],
    pods: readonly PodView[],
    wanted: ReadonlyMap<string, unknown>,
    now: number,
  ): AlteredNow {
    const { resident = [], asking = [] } = Object.groupBy(shards, ({ kind }) =>
      isResident(kind) ? 'resident' : 'asking',
    )
    this.note(alteredInPods(asking, pods), now)
    const inVain = this.among(wanted, now)
    const held = [...alteredInPods(resident, pods)].filter(([reference]) => wanted.has(reference))
    return { inVain, all: new Map([...held, ...inVain]) }
  }

  /** Those of the wanted that are altered, as far as that is not to be tried again. */
  among(wanted: ReadonlyMap<string, unknown>, now: number): Alterations {
    return new Map(
      [...this.#known]
        .filter(([reference, { until }]) => now < until && wanted.has(reference))
        .map(([reference, { becomes }]) => [reference, becomes]),
    )
  }

  /** When the next one is to be tried again. */
  wakeAt(now: number): number {
    const untils = [...this.#known.values()].map(({ until }) => until)
    return Math.min(...untils.filter((until) => until > now), Number.POSITIVE_INFINITY)
  }
}
