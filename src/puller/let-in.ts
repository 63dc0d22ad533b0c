import type { ObservedShard } from './daemon-set.ts'
import type { Draft } from './draft.ts'
import { isWithin } from './ground.ts'
import { sorted } from './order.ts'
import { isChangeable, isChangeableInNeed, residentKind, type Scene } from './placement.ts'
import { isResident, type Where } from './shard.ts'
import type { Wanted } from './wanted.ts'

/** Shards of images on their way: two, so that what comes while one is pulling need not wait for it. */
const mostShards = 2

/** Images of a place that no shard has yet, and the leaving of those that have gone on. */
export function letIn(draft: Draft, where: Where): void {
  const { scene } = draft
  let waiting = gathered(draft, where)
  const capacity = draft.capacity('fresh', where)
  const shards = draft.ofKind('fresh', where)
  const crowding = draft.isCrowded ? crowdingOf(scene, shards) : []
  for (const shard of shards) {
    if (draft.isChanged(shard)) continue
    if (!isChangeable(scene, shard)) {
      draft.deleteWhenEmpty(shard)
      if (!draft.isChanged(shard)) draft.hurry(shard)
      continue
    }
    const gone = draft.departures.along(shard)
    const room = draft.roomIn(shard, gone)
    const candidates = shard === shards[0] ? [...crowding, ...waiting] : waiting
    const entering = candidates.slice(0, Math.max(0, room))
    waiting = waiting.filter((item) => !entering.includes(item))
    // What has gone on may stay beside the others till they go too: their pulls are not begun anew for it.
    if (entering.length > 0 || draft.isDrifted(shard) || shard.first !== undefined) {
      draft.change(shard, entering)
    } else draft.deleteWhenEmpty(shard)
  }
  if (waiting.length === 0) return
  if (draft.hasRoom('fresh', where)) {
    if (shards.length >= mostShards) return
    const entering = waiting.slice(0, capacity)
    draft.create('fresh', where, entering, draft.firstOf(where, entering))
    return
  }
  const elsewhere = letInElsewhere(draft, where, waiting)
  const rest = elsewhere.length === 0 ? [] : letInTogether(draft, where, elsewhere)
  for (const { reference } of rest) draft.waiting.add(reference)
}

/** New images, once the first of them has waited for those that come with it. */
function gathered(draft: Draft, where: Where): readonly Wanted[] {
  const { memory, pace, now, wake } = draft.scene
  const fresh = draft
    .wantedAt(where, 'fresh')
    .filter(({ reference }) => memory.newSince.has(reference))
  const first = Math.min(...fresh.map(({ reference }) => memory.newSince.get(reference) ?? now))
  wake(first + pace.gatherMs)
  return now < first + pace.gatherMs ? [] : sorted(fresh)
}

/** What later fresh shards hold and the first does not: it makes room by moving there. */
function crowdingOf(scene: Scene, [first, ...others]: readonly ObservedShard[]): readonly Wanted[] {
  const there = new Set(first?.members.map(({ reference }) => reference))
  return others
    .flatMap(({ members }) => members.map(({ reference }) => reference))
    .filter((reference) => !there.has(reference) && !scene.altered.has(reference))
    .flatMap((reference) => scene.wanted.get(reference) ?? [])
}

/**
 * Where nodes may have no more pods: beside what cannot be started, among those that fail, or beside what is on its way to
 * more nodes. All stand side by side there too. Gives those for which that is full, or cannot be changed now.
 */
function letInElsewhere(draft: Draft, where: Where, waiting: readonly Wanted[]): readonly Wanted[] {
  let rest = waiting
  for (const shard of draft.besideAt(where)) {
    if (draft.isChanged(shard) || !isChangeableInNeed(draft.scene, shard)) continue
    const room = Math.max(0, draft.roomIn(shard, draft.departures.along(shard)))
    if (room > 0) draft.change(shard, rest.slice(0, room))
    rest = rest.slice(room)
  }
  return rest
}

/**
 * Where the last pod is that of what only some nodes are to have, and which can be held for good nowhere: it goes on in one
 * shard for all nodes, with what waits, and that is one pod too many till it has. Gives those for which that is full.
 */
function letInTogether(draft: Draft, where: Where, waiting: readonly Wanted[]): readonly Wanted[] {
  const { shards, ground } = draft.scene
  if (draft.ofKind('fresh', '').length > 0 || !isWithin(where, '', ground)) return waiting
  const stranded = shards.filter((shard) => isStranded(draft, shard))
  if (stranded.length === 0 || !draft.fits('fresh', '', stranded)) return waiting
  const moving = stranded.flatMap((shard) => draft.onTheirWay(shard))
  const entering = [...moving, ...waiting].slice(0, draft.capacity('fresh', ''))
  if (entering.length > moving.length) draft.create('fresh', '', entering)
  return waiting.filter((item) => !entering.includes(item))
}

/** Whether a shard of some nodes has what will stay there, since all that nodes may hold for good is taken. */
function isStranded(draft: Draft, shard: ObservedShard): boolean {
  const { shards, ground } = draft.scene
  const { kind, where = '' } = shard
  if (kind !== 'fresh' || where === '' || !isWithin(where, '', ground)) return false
  const others = shards.filter((one) => !isResident(one.kind))
  return draft.onTheirWay(shard).every((item) => {
    if (draft.isPlace(item, 'apart')) return true
    const home = residentKind(item)
    const place = item.where ?? ''
    return (
      draft.isPlace(item, 'proven') &&
      draft.ofKind(home, place).every((one) => draft.isFull(one)) &&
      !draft.fits(home, place, others)
    )
  })
}
