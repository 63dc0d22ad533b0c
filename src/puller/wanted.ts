import { formatReference, parseReference } from '@containers/image-copy'
import type { Settings } from '../config/settings.ts'
import { decide } from '../decide/decide.ts'
import type { Mapping } from '../images/mapping.ts'
import type { ImageState } from '../state/cached-image.ts'
import type { ImageStore } from '../state/store.ts'
import { type Architectures, unknownArchitectures, whereOf } from './architectures.ts'
import type { Where } from './shard.ts'

/** One name that the nodes are to hold. */
export interface Wanted {
  /** Exactly as a kubelet is asked for it. */
  readonly reference: string
  /** The name that the user gave the image in `IMAGES`. */
  readonly name?: string
  /** Its failure is no failure of an image. */
  readonly bestEffort: boolean
  /** Which nodes can run it; absent: all. */
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
  /** Milliseconds since the epoch when the set changes by itself, if it does. */
  readonly recheckAt?: number
}

export interface WantedOptions {
  readonly store: ImageStore
  readonly settings: Settings
  readonly mapping: Mapping
  /** Of the nodes that the puller serves; default: not known. */
  readonly architectures?: Architectures
  /** Whether moved tags are followed. Default false: nothing is said of what a tag is. */
  readonly followTags?: boolean
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
  const { store, settings, mapping, architectures = unknownArchitectures, now, before } = options
  const given = staticNames(settings)
  const references = new Map<string, Wanted>()
  const images = new Map<string, readonly string[]>()
  let recheckAt = Number.POSITIVE_INFINITY
  const want = (
    reference: string,
    bestEffort: boolean,
    name: string | undefined,
    image: ImageState | undefined,
  ): void => {
    const where = whereOf(image?.source?.platforms, architectures)
    if (where === undefined) return
    const known = references.get(reference)
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
      ...(known?.name !== undefined ? { name: known.name } : name === undefined ? {} : { name }),
    })
  }
  for (const image of store.list()) {
    const name = given.get(image.reference)
    const { cache } = decide({ reference: image.reference, image, mapping, settings, now })
    if (cache.act) {
      const runs = whereOf(image.source?.platforms, architectures) !== undefined
      const names = cache.references.filter(({ bestEffort }) => !bestEffort)
      images.set(image.reference, runs ? names.map(({ reference }) => reference) : [])
      for (const { reference, bestEffort } of cache.references) {
        want(reference, bestEffort, bestEffort ? undefined : name, image)
      }
    } else if (cache.recheckAt !== undefined) {
      recheckAt = Math.min(recheckAt, cache.recheckAt)
      for (const reference of before?.images.get(image.reference) ?? [])
        want(reference, false, name, image)
    }
  }
  for (const [reference, name] of given) {
    if (!isKnown(store.get(reference))) want(reference, false, name, undefined)
  }
  return { references, images, ...(Number.isFinite(recheckAt) ? { recheckAt } : {}) }
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
