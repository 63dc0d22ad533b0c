import { RegistryError } from '../errors.ts'
import { type Descriptor, isForeign, type Manifest, parseManifest } from '../image/manifest.ts'
import { isManifestEntry } from '../image/media-types.ts'
import type { Platform } from '../image/platform.ts'
import type { Context } from '../registry/context.ts'
import { getManifest, type ManifestBytes } from '../registry/manifests.ts'
import { describeRepository, type Repository } from '../registry/repository.ts'
import { concurrently } from './concurrently.ts'
import { selectPlatforms } from './platforms.ts'

/** All manifests of an image, read and verified, and the blobs they refer to. */
export interface ImageTree {
  readonly root: ManifestBytes
  readonly manifest: Manifest
  readonly manifests: ReadonlyMap<string, Manifest>
  /** Each once, without foreign layers. */
  readonly blobs: ReadonlyMap<string, Descriptor>
}

const maxDepth = 3
const maxManifests = 10_000
/** Of all of them; those of the largest images known take some hundred kilobytes. */
const maxTreeBytes = 16 * 1024 * 1024
const atATime = 8

/** Reads an image's manifests, of the given platforms or of all. @throws RegistryError */
export async function readTree(
  repository: Repository,
  reference: string,
  platforms: readonly Platform[],
  context: Context,
): Promise<ImageTree> {
  const manifests = new Map<string, Manifest>()
  const blobs = new Map<string, Descriptor>()
  let bytes = 0
  const invalid = (digest: string, why: string): RegistryError =>
    new RegistryError('COPY_MANIFEST_INVALID', `manifest ${digest}: ${why}`, repository.party)

  const take = async (
    found: ManifestBytes,
    announced: string,
    depth: number,
    inner: Context,
  ): Promise<Manifest> => {
    bytes += found.bytes.length
    if (bytes > maxTreeBytes) throw tooLarge(reference, repository)
    const manifest = parseManifest(
      found.bytes,
      announced || found.mediaType,
      found.digest,
      repository.party,
    )
    manifests.set(found.digest, manifest)
    if (manifest.kind === 'image') {
      for (const blob of manifest.blobs) if (!isForeign(blob)) blobs.set(blob.digest, blob)
      return manifest
    }
    if (depth >= maxDepth) throw invalid(found.digest, `indexes are nested deeper than ${maxDepth}`)
    const chosen =
      depth === 0 && platforms.length > 0
        ? await selectPlatforms(repository, manifest.manifests, platforms, inner)
        : manifest.manifests
    await concurrently(chosen, atATime, inner, async (entry, deeper) => {
      if (!isManifestEntry(entry.mediaType)) blobs.set(entry.digest, entry)
      if (manifests.has(entry.digest) || blobs.has(entry.digest)) return
      if (manifests.size >= maxManifests)
        throw invalid(entry.digest, `more than ${maxManifests} manifests`)
      const below = await getManifest(repository, entry.digest, deeper)
      if (below.bytes.length !== entry.size) {
        throw invalid(
          entry.digest,
          `has ${below.bytes.length} bytes, and its descriptor says ${entry.size}`,
        )
      }
      await take(below, entry.mediaType, depth + 1, deeper)
    })
    return manifest
  }

  const root = await getManifest(repository, reference, context)
  const manifest = await take(root, '', 0, context)
  return { root, manifest, manifests, blobs }
}

function tooLarge(reference: string, repository: Repository): RegistryError {
  return new RegistryError(
    'COPY_TOO_LARGE',
    `${describeRepository(repository)} ${reference}: its manifests have more than ${maxTreeBytes} bytes together`,
    repository.party,
  )
}
