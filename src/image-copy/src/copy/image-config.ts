import { getSmallBlob } from '../blob/small-blob.ts'
import { RegistryError } from '../errors.ts'
import { type Manifest, maxManifestBytes } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import type { Repository } from '../registry/repository.ts'

/** Of OCI and of Docker. */
const imageConfig = /\.(?:container\.image|image\.config)\.v1\+json$/

/**
 * Reads an image's configuration; undefined for artifacts and indexes, which have none. Whether it has what it should is not
 * known.
 *
 * @throws RegistryError, `COPY_MANIFEST_INVALID` when it is not JSON
 */
export async function readImageConfig(
  source: Repository,
  manifest: Manifest,
  context: Context,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (manifest.kind !== 'image' || manifest.config === undefined || manifest.config.size < 3)
    return undefined
  if (!imageConfig.test(manifest.config.mediaType)) return undefined
  const bytes = await getSmallBlob(source, manifest.config, maxManifestBytes, context)
  try {
    const config = JSON.parse(bytes.toString('utf8')) as Record<string, unknown> | null
    return config ?? {}
  } catch (cause) {
    throw new RegistryError(
      'COPY_MANIFEST_INVALID',
      `config ${manifest.config.digest}: is not JSON`,
      { ...source.party, cause },
    )
  }
}
