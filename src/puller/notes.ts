import type { Member } from './shard.ts'
import { shortHash } from './short-hash.ts'

/** Something of each member, by container, as an annotation; nothing where none has it. */
export function noted(
  annotation: string,
  members: readonly Member[],
  noteOf: (member: Member) => string | undefined,
): Readonly<Record<string, string>> {
  const values = members.flatMap((member) => {
    const value = noteOf(member)
    return value === undefined ? [] : [[member.container, value]]
  })
  return values.length === 0 ? {} : { [annotation]: JSON.stringify(Object.fromEntries(values)) }
}

/** An annotation as the words that it is a list of. */
export function wordsOf(text = ''): readonly string[] {
  return text.split(' ').filter((word) => word !== '')
}

/** 64 bits of a SHA-256 over JSON whose keys stand in one order, whatever order settings came in. */
export function contentHash(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  )
  return shortHash(text, 16)
}
