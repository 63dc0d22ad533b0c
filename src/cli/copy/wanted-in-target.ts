import { type ImageReference, serverOf } from '@containers/image-copy'
import { UsageError } from '../errors.ts'
import type { Dated } from './created-since.ts'
import type { CopyEntry, CopyPair } from './items.ts'
import type { Outcome } from './outcome.ts'

/** What a run wants of a repository into which it copies selected tags, as far as it has been told. */
export interface WantedInTarget {
  /** The repository. */
  readonly target: ImageReference
  readonly tags: ReadonlySet<string>
  /** A selection gave nothing, or what it gives could not be found out: other tags may be wanted too. */
  readonly known: boolean
  /** Every image that is wanted is there. */
  readonly arrived: boolean
}

/**
 * What is wanted of each target repository of which some entry selects tags, from what is told of images: by all entries
 * together, however their host is written.
 */
export class WantedInTargets {
  readonly #http: readonly string[]
  readonly #all = new Map<string, Mutable>()

  /** @param http - registries that are spoken to by plain http, whose usual port is another */
  constructor(entries: readonly CopyEntry[], http: readonly string[]) {
    this.#http = http
    for (const { target, selection } of entries) {
      if (selection === undefined || this.#all.has(this.#key(target))) continue
      const tags = new Set<string>()
      this.#all.set(this.#key(target), { target, tags, known: true, arrived: true })
    }
  }

  get all(): readonly WantedInTarget[] {
    return [...this.#all.values()]
  }

  /** Takes in what an entry selects. */
  selected({ source, target }: CopyPair, tags: readonly string[]): void {
    // What is copied on from there is wanted there, also where another entry brings its like to the target.
    for (const place of [source, target]) {
      const wanted = this.#all.get(this.#key(place))
      if (wanted !== undefined) for (const tag of tags) wanted.tags.add(tag)
    }
  }

  /** Takes in what became of an image, or of a selection that gave none. */
  outcome(pair: CopyPair, { status }: Outcome): void {
    const { source, target } = pair
    const failed = status === 'failed' || status === 'stopped'
    const isImage = source.tag !== undefined || source.digest !== undefined
    if (failed && !isImage) this.#unknown(pair)
    // What is copied on from there is wanted there.
    if (source.tag !== undefined) this.#all.get(this.#key(source))?.tags.add(source.tag)
    const wanted = this.#all.get(this.#key(target))
    if (wanted === undefined) return
    if (failed) wanted.arrived = false
    if (target.tag !== undefined) wanted.tags.add(target.tag)
  }

  /** Takes in that of a selection by age. */
  dated(pair: CopyPair, { selected }: Dated): void {
    if (selected === 0) this.#unknown(pair)
  }

  /** What a selection would have brought from one to the other may be wanted in both. */
  #unknown({ source, target }: CopyPair): void {
    for (const place of [source, target]) {
      const wanted = this.#all.get(this.#key(place))
      if (wanted !== undefined) wanted.known = false
    }
  }

  #key({ registry, repository }: ImageReference): string {
    return repositoryKey(registry, repository, this.#http)
  }
}

type Mutable = { -readonly [P in keyof WantedInTarget]: WantedInTarget[P] } & {
  readonly tags: Set<string>
}

function repositoryKey(registry: string, repository: string, http: readonly string[]): string {
  return `${serverOf(registry, http.includes(registry)).host}/${repository}`
}

/**
 * Makes sure that extra tags can be told from others.
 *
 * @throws UsageError when no entry selects tags, or one would have those of its source deleted
 */
export function requireExtraTags(entries: readonly CopyEntry[], http: readonly string[]): void {
  const selecting = entries.filter(({ selection }) => selection !== undefined)
  if (selecting.length === 0)
    throw new UsageError(['--extra: say which tags are wanted, by --tags, or tags= in a list'])
  const faults = selecting.flatMap(({ source, target }) => {
    const from = repositoryKey(source.registry, source.repository, http)
    const same = from === repositoryKey(target.registry, target.repository, http)
    return same ? [`--extra: ${from} is its own source: what is not selected is no extra`] : []
  })
  if (faults.length > 0) throw new UsageError(faults)
}
