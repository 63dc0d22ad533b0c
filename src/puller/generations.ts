import type { ObservedShard } from './daemon-set.ts'

/** What the DaemonSets of all shards come to. */
export interface Generations {
  /** The newest of each shard; those on their way out; and of shards that vanished, the last. */
  readonly shards: readonly ObservedShard[]
  /** By shard: those that a newer one is to take the place of. */
  readonly older: ReadonlyMap<string, readonly ObservedShard[]>
}

/** Sorts DaemonSets into shards: of several of one shard the newest counts, and the others only hold on. */
export function mergeGenerations(observed: readonly ObservedShard[]): Generations {
  const groups = new Map<string, ObservedShard[]>()
  for (const shard of observed) {
    const group = groups.get(shard.name)
    if (group === undefined) groups.set(shard.name, [shard])
    else group.push(shard)
  }
  const shards: ObservedShard[] = []
  const older = new Map<string, readonly ObservedShard[]>()
  for (const [name, group] of groups) {
    shards.push(...group.filter(({ deleting }) => deleting))
    const alive = group.filter(({ deleting, uid }) => !deleting && uid !== '').sort(newestFirst)
    const gone = group.filter(({ deleting, uid }) => !deleting && uid === '').sort(newestFirst)
    const [current = gone[0], ...rest] = alive
    if (current === undefined) continue
    // A new one has no count of its nodes yet; all of one shard are meant for the same.
    shards.push({ ...current, desired: Math.max(...[current, ...rest].map((one) => one.desired)) })
    if (rest.length > 0) older.set(name, rest)
  }
  return { shards, older }
}

/** Whether every node that is to have a pod of it has one that is ready. */
function isReadyEverywhere(shard: ObservedShard, desired = shard.desired): boolean {
  const { observedGeneration, generation, ready, updated } = shard
  return observedGeneration >= generation && updated >= desired && ready >= desired
}

/**
 * The DaemonSets of one shard that may go: all before the newest that is ready everywhere; and of those that never were,
 * all but the one that most nodes are ready with, which holds on until then.
 *
 * @param older those that a newer one is to take the place of
 * @param patient false: nobody waits for nodes any longer on which the newest is not ready, if it is on as many as before
 */
export function superseded(
  current: ObservedShard,
  older: readonly ObservedShard[],
  patient: boolean,
): readonly ObservedShard[] {
  const desired = Math.max(current.desired, ...older.map((one) => one.desired))
  if (isReadyEverywhere(current, desired)) return older
  const most = Math.max(...older.map(({ ready }) => ready))
  if (!patient && current.ready > 0 && current.ready >= most) return older
  const holding =
    older.find((one) => isReadyEverywhere(one, desired)) ??
    older.toSorted((a, b) => b.ready - a.ready || newestFirst(a, b))[0]
  return older.filter((one) => one !== holding)
}

function newestFirst(a: ObservedShard, b: ObservedShard): number {
  return b.revision - a.revision || (a.created < b.created ? 1 : -1)
}
