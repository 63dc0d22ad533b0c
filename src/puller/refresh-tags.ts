import { type Draft, named } from './draft.ts'
import { hasMoved } from './moved-tags.ts'
import { sorted } from './order.ts'
import { isChangeable, isMissing, isStuck } from './placement.ts'
import { isResident, type Where } from './shard.ts'

/**
 * Tags that moved: a shard whose pods ask the registry whatever is there (those that hold do not) has the nodes pull what
 * they are now; then their holding shards follow, and it goes. It is made when nothing but what fails is on its way, and makes way for what
 * finds no room: the registry may keep it waiting for long.
 */
export function refreshTags(draft: Draft, where: Where): void {
  const { scene } = draft
  const [shard, ...others] = draft.ofKind('refresh', where)
  for (const other of others) draft.delete(other)
  const moved = sorted(draft.wantedAt(where).filter((item) => hasMoved(scene, item)))
  const most = draft.capacity('refresh', where)
  if (shard === undefined) {
    if (moved.length === 0 || draft.changes.length > 0 || isArriving(draft, where)) return
    if (!draft.fits('refresh', where)) return
    draft.create('refresh', where, moved.slice(0, most))
    return
  }
  if (isMissing(shard)) {
    draft.write(shard, named([], moved.slice(0, shard.members.length)), shard)
    return
  }
  // It goes when those that hold have followed and are ready: till then only it keeps what it pulled.
  const following = scene.shards.some((one) => isResident(one.kind) && !scene.seen.isSettled(one))
  if (moved.length === 0) {
    if (!following || isStuck(scene, shard)) draft.delete(shard)
    return
  }
  const rolling = scene.shards.some(
    (one) => isResident(one.kind) && !scene.seen.isRolledOut(one) && !isStuck(scene, one),
  )
  if (!rolling && draft.isInTheWay(shard)) {
    draft.delete(shard)
    return
  }
  const asked = new Map(shard.members.map(({ reference, digest }) => [reference, digest]))
  const late = moved.filter(({ reference, digest }) => asked.get(reference) !== digest)
  if (late.length === 0 || following || !isChangeable(scene, shard)) return
  draft.write(shard, named([], moved.slice(0, most)), shard)
}

/** Whether anything is on its way there; what fails may be so for ever, and keeps no tag from being followed. */
function isArriving(draft: Draft, where: Where): boolean {
  const members = draft.ofKind('fresh', where).flatMap((shard) => shard.members)
  return members.some(({ reference }) => {
    const item = draft.scene.wanted.get(reference)
    return item !== undefined && (draft.isPlace(item, 'fresh') || draft.isPlace(item, 'proven'))
  })
}
