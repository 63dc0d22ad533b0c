import type { BlobOutcome } from '../blob/blob-outcome.ts'
import type { DryRun } from '../blob/dry-run.ts'
import { type Outlook, placeBlob } from '../blob/place-blob.ts'
import type { Verifier } from '../blob/running-hash.ts'
import { partyOf, RegistryError } from '../errors.ts'
import { type Descriptor, isForeign, type Manifest, parseManifest } from '../image/manifest.ts'
import { isManifestEntry } from '../image/media-types.ts'
import type { Platform } from '../image/platform.ts'
import type { Client } from '../registry/client.ts'
import type { Context } from '../registry/context.ts'
import type { ForeignLayers } from '../registry/foreign-layers.ts'
import {
  getManifest,
  headManifest,
  type ManifestBytes,
  putManifest,
} from '../registry/manifests.ts'
import { addReferrer } from '../registry/referrers.ts'
import type { Repository } from '../registry/repository.ts'
import { concurrently } from './concurrently.ts'
import { placesOfPlatforms, requirePlatform, selectPlatforms } from './platforms.ts'

/** What was moved and what was not. Blobs and bytes count once per image. */
export interface Tally {
  /** Bytes of blobs and manifests that were sent to the target. */
  bytes: number
  /** Blobs that were sent. */
  blobs: number
  /** Blobs that the target held already, and foreign layers. */
  skipped: number
  /** Blobs that the target took from another of its repositories. */
  mounted: number
}

export interface ImageCopierOptions {
  readonly client: Client
  readonly source: Repository
  readonly target: Repository
  /** Empty: all. */
  readonly platforms: readonly Platform[]
  /** Undefined: foreign layers stay where their URLs point. */
  readonly foreign: ForeignLayers | undefined
  /** Look at every part of a manifest that the target has too. */
  readonly recheck: boolean
  /** Who verifies the blobs that are sent. */
  readonly verify: Verifier
  /** Given: nothing is written, and what would be is counted. */
  readonly dryRun: DryRun | undefined
}

/** A manifest that is in the target now, as what comes around it needs it. */
export interface CopiedManifest {
  readonly digest: string
  readonly kind: Manifest['kind']
}

/** Whether a manifest had to be written, or was in the target. */
export type Brought = 'copied' | 'present'

/** Indexes within indexes: an index of images is one level. */
const maxDepth = 3
const maxManifests = 10_000
/** Images of one index under way at a time, as many as an official image has platforms; hosts' windows bound their blobs. */
const imagesAtATime = 8
/** Of one image. Only those in a host's window move, of 16 by default; the others are there to take a place that gets free. */
const blobsAtATime = 64

/**
 * Copies manifests with all they refer to, from one repository to another, each once. What a manifest refers to is there
 * before it is written, and nothing is tagged here but by {@link ImageCopier.put}.
 */
export class ImageCopier {
  readonly tally: Tally = { bytes: 0, blobs: 0, skipped: 0, mounted: 0 }
  readonly #options: ImageCopierOptions
  readonly #outlook: Outlook = { lacksBlobs: false }
  readonly #done = new Map<string, Promise<Brought>>()
  readonly #copied: CopiedManifest[] = []

  constructor(options: ImageCopierOptions) {
    this.#options = options
  }

  /** Every manifest that was copied or found in the target, in the order it was finished. */
  get copied(): readonly CopiedManifest[] {
    return this.#copied
  }

  /** Says that the target most likely holds nothing of the image. */
  expectMissing(): void {
    this.#outlook.lacksBlobs = true
  }

  /** Brings a manifest and all below it into the target, by digest. */
  ensure(entry: Descriptor, depth: number, context: Context): Promise<Brought> {
    let pending = this.#done.get(entry.digest)
    if (pending === undefined) {
      if (this.#done.size >= maxManifests)
        throw this.#invalid(entry.digest, `more than ${maxManifests} manifests`)
      pending = this.#ensure(entry, depth, context)
      this.#done.set(entry.digest, pending)
    }
    return pending
  }

  /** Brings all that a manifest refers to into the target, but not the manifest itself. */
  async below(
    found: ManifestBytes,
    manifest: Manifest,
    depth: number,
    context: Context,
  ): Promise<void> {
    const { source, platforms } = this.#options
    if (manifest.kind === 'index') {
      if (depth >= maxDepth)
        throw this.#invalid(found.digest, `indexes are nested deeper than ${maxDepth}`)
      const entries =
        platforms.length === 0 || depth > 0
          ? manifest.manifests
          : await selectPlatforms(source, manifest.manifests, platforms, context)
      await this.#blobs(
        entries.filter(({ mediaType }) => !isManifestEntry(mediaType)),
        context,
      )
      const manifests = entries.filter(({ mediaType }) => isManifestEntry(mediaType))
      await concurrently(manifests, imagesAtATime, context, async (entry, inner) => {
        await this.ensure(entry, depth + 1, inner)
      })
      return
    }
    if (platforms.length > 0 && depth === 0)
      await requirePlatform(source, manifest, platforms, context)
    await this.#blobs(manifest.blobs, context)
  }

  /**
   * Writes a manifest under a tag or digest. Parts that the target turns out to lack, against what was known, are sent once
   * more.
   */
  async put(
    found: ManifestBytes,
    manifest: Manifest,
    reference: string,
    depth: number,
    context: Context,
  ): Promise<void> {
    const { client, target, platforms, dryRun } = this.#options
    if (dryRun !== undefined) {
      this.#written(found, manifest, depth, context)
      return
    }
    const send = () =>
      putManifest(target, reference, { ...found, mediaType: manifest.mediaType }, context)
    let answer: Awaited<ReturnType<typeof send>>
    try {
      answer = await send()
    } catch (error) {
      if (!(error instanceof RegistryError) || error.status === undefined) throw error
      if (!/BLOB_UNKNOWN|MANIFEST_UNKNOWN/.test(error.message)) throw error
      if (error.status >= 500) throw this.#explain(error, manifest)
      if (manifest.kind === 'index') {
        throw platforms.length === 0 ? error : this.#sparse(error, manifest)
      }
      for (const blob of manifest.blobs)
        client.ledger.of(target.route.main.host, blob.digest).forget()
      await this.#blobs(manifest.blobs, context)
      answer = await send().catch((again) => {
        throw this.#explain(again, manifest)
      })
    }
    if (manifest.subject !== undefined && !answer.keepsReferrers) {
      await addReferrer({
        client,
        target,
        subject: manifest.subject.digest,
        manifest,
        found,
        context,
      })
    } else if (answer.keepsReferrers) target.route.main.learned.referrers.set(target.name, 'api')
    this.#written(found, manifest, depth, context)
  }

  #written(
    { digest, bytes }: ManifestBytes,
    { kind, mediaType }: Manifest,
    depth: number,
    context: Context,
  ): void {
    this.tally.bytes += bytes.length
    if (depth > 0) this.#copied.push({ digest, kind })
    context.emit({
      type: 'manifest-done',
      image: context.image,
      digest,
      mediaType,
      bytes: bytes.length,
      how: 'copied',
    })
  }

  /** By the digests that are named, images are copied alone, and no index is written. */
  #sparse(
    error: RegistryError,
    { manifests }: Manifest & { readonly kind: 'index' },
  ): RegistryError {
    const { source, target, platforms } = this.#options
    const places = placesOfPlatforms(source, manifests, platforms)
    return new RegistryError(
      'COPY_SPARSE_INDEX_REFUSED',
      `${target.registry} takes no index of which some platforms are missing; copy all platforms, or a single platform by its digest${places && `: ${places}`} (${error.message})`,
      { ...partyOf(error), status: error.status, cause: error },
    )
  }

  /** distribution takes foreign layers only from URLs that its configuration allows, and says so by an unknown error. */
  #explain(error: unknown, manifest: Manifest): unknown {
    if (!(error instanceof RegistryError) || !/BLOB_UNKNOWN/.test(error.message)) return error
    if (manifest.kind === 'index' || !manifest.blobs.some(isForeign)) return error
    const { registry } = this.#options.target
    return new RegistryError(
      'COPY_REFUSED',
      `${registry} takes no image with foreign layers: their URLs must be allowed there (validation.manifests.urls of distribution) (${error.message})`,
      { ...partyOf(error), status: error.status, cause: error },
    )
  }

  async #ensure(entry: Descriptor, depth: number, context: Context): Promise<Brought> {
    const { source, target, recheck } = this.#options
    const head = headManifest(target, entry.digest, context)
    head.catch(() => {})
    // Docker Hub counts each GET of a manifest as a pull, and no HEAD: there the target is asked first.
    const spare = source.registry === 'docker.io' && !recheck
    if (spare && (await head) !== undefined) return this.#present(entry, context)
    const found = await getManifest(source, entry.digest, context)
    const present = (await head) !== undefined
    if (present && !recheck) return this.#present(entry, context)
    if (found.bytes.length !== entry.size) {
      throw this.#invalid(
        entry.digest,
        `has ${found.bytes.length} bytes, and its descriptor says ${entry.size}`,
      )
    }
    const manifest = parseManifest(
      found.bytes,
      entry.mediaType || found.mediaType,
      entry.digest,
      source.party,
    )
    await this.below(found, manifest, depth, context)
    if (present) return this.#present(entry, context)
    await this.put(found, manifest, found.digest, depth, context)
    return 'copied'
  }

  #present(entry: Descriptor, context: Context): 'present' {
    this.#copied.push({
      digest: entry.digest,
      kind: /index|list/.test(entry.mediaType) ? 'index' : 'image',
    })
    context.emit({
      type: 'manifest-done',
      image: context.image,
      digest: entry.digest,
      mediaType: entry.mediaType,
      bytes: entry.size,
      how: 'present',
    })
    return 'present'
  }

  async #blobs(blobs: readonly Descriptor[], context: Context): Promise<void> {
    const unique = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()]
    for (const { digest, size } of unique)
      context.emit({ type: 'blob-found', image: context.image, digest, bytes: size })
    await concurrently(unique, blobsAtATime, context, async (blob, inner) => {
      const how = await this.#place(blob, inner)
      this.#count(blob, how)
      context.emit({
        type: 'blob-done',
        image: context.image,
        digest: blob.digest,
        bytes: blob.size,
        how,
      })
    })
  }

  #place(blob: Descriptor, context: Context): Promise<BlobOutcome> {
    const { client, source, target, foreign, verify, dryRun } = this.#options
    return placeBlob({
      source,
      target,
      blob,
      verify,
      foreign,
      known: client.ledger.of(target.route.main.host, blob.digest),
      outlook: this.#outlook,
      context,
      dryRun,
    })
  }

  #count(blob: Descriptor, how: BlobOutcome): void {
    const { client, dryRun } = this.#options
    if (dryRun === undefined) client.counts.blob(how, blob.size)
    if (how === 'copied') {
      this.tally.blobs += 1
      this.tally.bytes += blob.size
    } else if (how === 'mounted') this.tally.mounted += 1
    else this.tally.skipped += 1
  }

  #invalid(digest: string, why: string): RegistryError {
    const { party } = this.#options.source
    return new RegistryError('COPY_MANIFEST_INVALID', `manifest ${digest}: ${why}`, party)
  }
}
