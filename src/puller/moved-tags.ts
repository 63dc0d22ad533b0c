import { isPulled, type Scene } from './placement.ts'
import { isResident, type Member } from './shard.ts'
import type { Wanted } from './wanted.ts'

/** Whether a tag that is held for good is something else by now. */
export function hasMoved({ homes }: Scene, { reference, digest }: Wanted): boolean {
  if (digest === undefined) return false
  return (homes.get(reference) ?? []).some(
    ({ kind, members }) =>
      isResident(kind) &&
      members.some(
        (member) =>
          member.reference === reference && member.digest !== undefined && member.digest !== digest,
      ),
  )
}

/** A member as it is to be: what nodes are known to have pulled since its tag moved makes its pods anew. */
export function upToDate(scene: Scene, member: Member): Member {
  const item = scene.wanted.get(member.reference)
  if (item?.digest === undefined || member.digest === item.digest) return member
  if (member.digest === undefined) return { ...member, digest: item.digest }
  const pulled = (scene.homes.get(member.reference) ?? []).some(
    (home) =>
      home.kind === 'refresh' &&
      home.members.some(
        ({ reference, digest }) => reference === item.reference && digest === item.digest,
      ) &&
      isPulled(scene, home, item.reference),
  )
  return pulled ? { ...member, digest: item.digest, moved: item.digest } : member
}

/** So that pods are made anew when a tag moves once more. */
export function asMoved(member: Member): Member {
  return member.digest === undefined ? member : { ...member, moved: member.digest }
}
