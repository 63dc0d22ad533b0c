import { containerName } from './container-names.ts'
import type { Wanted } from './wanted.ts'

/** `IMAGES` as kubernetes-image-puller reads it. */
export interface ExternalImages {
  /** `name=image;name=image` */
  readonly text: string
  readonly references: ReadonlySet<string>
  /** What had no room. */
  readonly leftOut: readonly string[]
}

/** Linux starts no program with a longer variable (MAX_ARG_STRLEN is 131,072 with name and final zero). */
const longest = 130_000

/**
 * Writes what is wanted as KIP's `IMAGES`, the same set always as the same text. Best-effort names are left out: KIP's
 * DaemonSet is never ready while one of its images fails.
 */
export function externalImages(wanted: Iterable<Wanted>): ExternalImages {
  const taken = new Set<string>()
  const references = new Set<string>()
  const leftOut: string[] = []
  const items: string[] = []
  let length = 0
  const sorted = [...wanted]
    .filter(({ bestEffort }) => !bestEffort)
    .sort((a, b) => (a.reference < b.reference ? -1 : 1))
  for (const { reference, name } of sorted) {
    const container = containerName(reference, name, taken)
    const item = `${container}=${reference}`
    if (length + item.length + 1 > longest) {
      leftOut.push(reference)
      continue
    }
    taken.add(container)
    references.add(reference)
    items.push(item)
    length += item.length + 1
  }
  return { text: items.join(';'), references, leftOut }
}

/** The references in an `IMAGES` text, whoever wrote it. */
export function referencesIn(text: string): ReadonlySet<string> {
  const items = text.split(';').map((item) => item.trim().split('='))
  return new Set(items.flatMap(([, reference]) => (reference === undefined ? [] : [reference])))
}
