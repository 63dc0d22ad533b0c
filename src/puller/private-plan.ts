import { type HeldCredential, repositoryOf } from './credentials.ts'

/** One image that needs credentials, and those of its users that may be tried now. */
export interface PrivateImage {
  readonly reference: string
  /** How many pods use it: what is used most goes first. */
  readonly uses: number
  readonly credentials: readonly HeldCredential[]
}

export interface PrivateMember {
  readonly reference: string
  readonly credential: HeldCredential
}

export interface PrivatePlan {
  /** By shard, the first first: with which credential each pulls its images. */
  readonly layers: readonly (readonly PrivateMember[])[]
  /** References of which some credential finds no place. */
  readonly waiting: ReadonlySet<string>
}

/**
 * Spreads images that need credentials over shards. A pod pulls an image with one credential, and a kubelet lets in who
 * shows one with which it was pulled: so a shard holds an image once, and an image with two credentials stands in two
 * shards. Of one repository a shard has one credential, since a docker configuration names repositories, not tags.
 *
 * First every image gets its first credential a place, then those that have a second one get that, and so on. Pure.
 *
 * @param layers most shards
 * @param capacity most images of a shard
 */
export function planPrivate(
  images: Iterable<PrivateImage>,
  { layers, capacity }: { readonly layers: number; readonly capacity: number },
): PrivatePlan {
  const sorted = [...images].sort((a, b) => b.uses - a.uses || (a.reference < b.reference ? -1 : 1))
  const made: { readonly members: Map<string, PrivateMember>; readonly by: Map<string, string> }[] =
    []
  const waiting = new Set<string>()
  const most = Math.max(0, ...sorted.map(({ credentials }) => credentials.length))
  for (let turn = 0; turn < most; turn++) {
    for (const { reference, credentials } of sorted) {
      const credential = credentials[turn]
      if (credential === undefined) continue
      const repository = repositoryOf(reference)
      const fits = ({ members, by }: (typeof made)[number]): boolean =>
        !members.has(reference) &&
        members.size < capacity &&
        (by.get(repository) ?? credential.id) === credential.id
      let layer = made.find(fits)
      if (layer === undefined && made.length < layers) {
        layer = { members: new Map(), by: new Map() }
        made.push(layer)
      }
      if (layer === undefined) {
        waiting.add(reference)
        continue
      }
      layer.members.set(reference, { reference, credential })
      layer.by.set(repository, credential.id)
    }
  }
  return {
    layers: made.map(({ members }) =>
      [...members.values()].sort((a, b) => (a.reference < b.reference ? -1 : 1)),
    ),
    waiting,
  }
}
