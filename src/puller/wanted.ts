import { formatReference, parseReference } from '@containers/image-copy'
import type { Settings } from '../config/settings.ts'
import type { CacheReference } from '../decide/cache.ts'
import { decide } from '../decide/decide.ts'
import type { Mapping } from '../images/mapping.ts'
import type { ImageState } from '../state/cached-image.ts'
import type { ImageStore } from '../state/store.ts'
import { architecturesOf } from './architectures.ts'
import { type Ground, unknownGround } from './ground.ts'
import type { Where } from './shard.ts'
import { whereFrom } from './where.ts'
import type { Choice } from './whereabouts.ts'

/** One name that the nodes are to hold. */
export interface Wanted {
  /** Exactly as a kubelet is asked for it. */
  readonly reference: string
  /** The name that the user gave the image in `IMAGES`. */
  readonly name?: string
  /** Its failure is no failure of an image. */
  readonly bestEffort: boolean
  /** Which nodes are to have it, and can run it; absent: all. */
  readonly where?: Where
  /** What the tag is at its source now, as far as that is known; of a pinned reference nothing. */
  readonly digest?: string
  /** Compressed bytes of one platform, as far as that is known. */
  readonly sizeBytes?: number
  /** How many pods use it: what is used most goes first. Absent: none that is known. */
  readonly uses?: number
}

/** The IMAGES set. */
export interface WantedSet {
  /** By reference. */
  readonly references: ReadonlyMap<string, Wanted>
  /** By image of the store: the names of it that count for its status. */
  readonly images: ReadonlyMap<string, readonly string[]>
  /** Names that wait, since shards would be needed for too many places. */
  readonly crowded: ReadonlySet<string>
  /** Images of the store that no node is asked for, since it might be kip's own pull secrets that get them. */
  readonly maybePrivate: ReadonlySet<string>
  /** Milliseconds since the epoch when the set changes by itself, if it does. */
  readonly recheckAt?: number
}

export interface WantedOptions {
  readonly store: ImageStore
  readonly settings: Settings
  readonly mapping: Mapping
  /** Default: not known. */
  readonly ground?: Pick<Ground, 'architectures'>
  /** The placing of an image that nodes are to hold under certain names; default: all nodes. */
  readonly choose?: (
    reference: string,
    image: ImageState | undefined,
    names: readonly string[],
  ) => Choice
  /** Whether moved tags are followed. Default false: nothing is said of what a tag is. */
  readonly followTags?: boolean
  /** Whether every kubelet has a pod show credentials for what another one pulled with some. Default false. */
  readonly kubeletsCheck?: boolean
  /** Milliseconds since the epoch. */
  readonly now: number
  /** The set before: what is decided anew in a moment stays till then. */
  readonly before?: WantedSet
}

/**
 * Puts together what the nodes are to hold: what is decided for each image of the store, and the static `IMAGES`, which
 * need no store (when it knows one of them, its decision counts).
 */
export function wantedSet(options: WantedOptions): WantedSet {
  const { store, settings, mapping, ground = unknownGround, choose, now, before } = options
  const { kubeletsCheck = false } = options
  const given = staticNames(settings)
  const references = new Map<string, Wanted>()
  const images = new Map<string, readonly string[]>()
  const crowded = new Set<string>()
  const maybePrivate = new Set<string>()
  let recheckAt = Number.POSITIVE_INFINITY
  /** Whether any node is to have it. */
  const want = (
    key: string,
    image: ImageState | undefined,
    names: readonly CacheReference[],
  ): boolean => {
    const architectures = architecturesOf(image?.source?.platforms, ground)
    if (architectures === undefined) return false
    const texts = names.map(({ reference }) => reference)
    const placing = choose?.(key, image, texts) ?? everywhere
    if (placing === 'crowded') for (const text of texts) crowded.add(text)
    if (typeof placing === 'string') return placing !== 'nowhere'
    const where = whereFrom({ placing: placing.id, architectures })
    for (const { reference, bestEffort } of names) {
      const known = references.get(reference)
      const name = known?.name ?? (bestEffort ? undefined : given.get(key))
      const isTag = reference === image?.reference && !reference.includes('@')
      const digest = isTag && options.followTags === true ? image.source?.digest : undefined
      const sizeBytes = sizeOf(image)
      const uses = Math.max(known?.uses ?? 0, image?.usage?.pods ?? 0)
      references.set(reference, {
        reference,
        bestEffort: bestEffort && (known?.bestEffort ?? true),
        ...(where === '' ? {} : { where }),
        ...(digest === undefined ? {} : { digest }),
        ...(uses === 0 ? {} : { uses }),
        ...(sizeBytes === undefined ? {} : { sizeBytes }),
        ...(name === undefined ? {} : { name }),
      })
    }
    return true
  }
  for (const image of store.list()) {
    const { reference } = image
    const { cache } = decide({ reference, image, mapping, settings, now, kubeletsCheck })
    if (cache.code === 'MaybePrivate') maybePrivate.add(reference)
    if (cache.act) {
      const runs = want(reference, image, cache.references)
      const names = cache.references.filter(({ bestEffort }) => !bestEffort)
      images.set(reference, runs ? names.map((name) => name.reference) : [])
    } else if (cache.recheckAt !== undefined) {
      recheckAt = Math.min(recheckAt, cache.recheckAt)
      const kept = before?.images.get(reference) ?? []
      if (kept.length > 0) want(reference, image, kept.map(firm))
    }
  }
  for (const reference of given.keys()) {
    if (!isKnown(store.get(reference))) want(reference, undefined, [firm(reference)])
  }
  return {
    references,
    images,
    crowded,
    maybePrivate,
    ...(Number.isFinite(recheckAt) ? { recheckAt } : {}),
  }
}

const everywhere = { id: '' }

function firm(reference: string): CacheReference {
  return { reference, bestEffort: false }
}

/** Of an index all platforms are counted together, and a node pulls one. */
function sizeOf(image: ImageState | undefined): number | undefined {
  const { sizeBytes, platforms = [] } = image?.source ?? {}
  if (sizeBytes === undefined) return undefined
  const real = platforms.filter((platform) => !platform.startsWith('unknown'))
  return Math.round(sizeBytes / Math.max(1, real.length))
}

/** Whether the store tells that a static image is wanted, so that it is decided there. */
function isKnown(image: ImageState | undefined): boolean {
  return image !== undefined && (image.requested || (image.usage?.wanted.length ?? 0) > 0)
}

/** The static IMAGES, normalised as references of the store are; of two names of one image the first counts. */
function staticNames(settings: Settings): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  for (const { name, image } of settings.puller.images) {
    const reference = normalised(image)
    if (reference !== undefined && !names.has(reference)) names.set(reference, name)
  }
  return names
}

/** Malformed items were reported when the settings were read. */
function normalised(image: string): string | undefined {
  try {
    return formatReference(parseReference(image))
  } catch {
    return undefined
  }
}
