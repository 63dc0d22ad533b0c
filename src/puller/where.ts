import type { Where } from './shard.ts'

/** What a {@link Where} is put together of. */
export interface WhereParts {
  /** Id of a placing; '': all nodes that the settings admit. */
  readonly placing: string
  /** Of the nodes that can run the images, in order; none: all. */
  readonly architectures: readonly string[]
}

/** No architecture is called that. */
const placingId = /^at[0-9a-f]{8}$/

/** Takes a place apart. */
export function partsOf(where: Where): WhereParts {
  const parts = where === '' ? [] : where.split('-')
  const [first = ''] = parts
  return placingId.test(first)
    ? { placing: first, architectures: parts.slice(1) }
    : { placing: '', architectures: parts }
}

/** Puts a place together; the same parts give the same text. */
export function whereFrom({ placing, architectures }: WhereParts): Where {
  return [...(placing === '' ? [] : [placing]), ...architectures].join('-')
}
