import type { CopyEvent } from '../events.ts'
import { createdIn, parseCreated } from '../image/created.ts'
import { type Descriptor, parseManifest } from '../image/manifest.ts'
import { isManifestEntry } from '../image/media-types.ts'
import { type Platform, parsePlatform } from '../image/platform.ts'
import { formatReference, type ImageReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { type Context, quietContext } from '../registry/context.ts'
import { getManifest } from '../registry/manifests.ts'
import { type Repository, repositoryOf } from '../registry/repository.ts'
import { readImageConfig } from './image-config.ts'
import { isAttestation, selectPlatforms } from './platforms.ts'

/** Options of {@link createdAt}. */
export interface CreatedAtOptions {
  /** Of an index, only the images for these count: `linux/amd64`. Default: all. */
  readonly platforms?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
  /** Told of retries and of pulls that are left. */
  readonly onEvent?: ((event: CopyEvent) => void) | undefined
}

/** As deep as images themselves are read. */
const maxDepth = 3

/**
 * Asks when an image was made. `created` of its configuration says so, which costs a GET of the manifest and one of a blob. For
 * what has no configuration that says it, the annotation `org.opencontainers.image.created` does: of an artifact's manifest; of
 * an index, or the newest of its entries' (Docker's official images have it there), for one GET; else an index is as old as the
 * first of its images, since those of an index are mostly made together and each costs a pull.
 *
 * @returns undefined when nothing says it, or only that it was before 2013: reproducible builds write 1970 for no time
 * @throws RegistryError, `COPY_PLATFORM_MISSING` when an index lacks one of `platforms`; TypeError for a platform that is none
 */
export async function createdAt(
  client: RegistryClient,
  reference: ImageReference,
  options: CreatedAtOptions = {},
): Promise<Date | undefined> {
  const context = quietContext(options.signal, formatReference(reference), options.onEvent)
  const repository = repositoryOf(internalsOf(client), reference, 'pull')
  const platforms = (options.platforms ?? []).map(parsePlatform)
  const wanted = reference.digest ?? reference.tag ?? 'latest'
  return createdOf(repository, { reference: wanted, platforms, depth: maxDepth }, context)
}

/** A manifest to look at. */
interface Place {
  readonly reference: string
  /** Media type of the descriptor that led here. */
  readonly announced?: string
  readonly platforms: readonly Platform[]
  /** How many indexes may yet be below one another. */
  readonly depth: number
}

async function createdOf(
  repository: Repository,
  { reference, announced, platforms, depth }: Place,
  context: Context,
): Promise<Date | undefined> {
  const { bytes, mediaType, digest } = await getManifest(repository, reference, context)
  const manifest = parseManifest(bytes, announced || mediaType, digest, repository.party)
  if (manifest.kind === 'image') {
    const config = await readImageConfig(repository, manifest, context)
    return parseCreated(config?.created) ?? createdIn(manifest.annotations)
  }
  const own = createdIn(manifest.annotations)
  if (own !== undefined) return own
  const images = await imagesIn(repository, manifest.manifests, platforms, context)
  const newest = Math.max(
    ...images.map(({ annotations }) => createdIn(annotations)?.getTime() ?? 0),
  )
  if (newest > 0) return new Date(newest)
  const [first] = images
  if (first === undefined || depth <= 1) return undefined
  const below = { reference: first.digest, announced: first.mediaType }
  return createdOf(repository, { ...below, platforms: [], depth: depth - 1 }, context)
}

async function imagesIn(
  repository: Repository,
  entries: readonly Descriptor[],
  platforms: readonly Platform[],
  context: Context,
): Promise<readonly Descriptor[]> {
  const wanted =
    platforms.length === 0
      ? entries
      : await selectPlatforms(repository, entries, platforms, context)
  return wanted.filter((entry) => isManifestEntry(entry.mediaType) && !isAttestation(entry))
}
