import { formatPlatform } from '../image/platform.ts'
import { formatReference, type ImageReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { quietContext } from '../registry/context.ts'
import { repositoryOf } from '../registry/repository.ts'
import { readTree } from './image-tree.ts'
import { isAttestation, platformOfManifest } from './platforms.ts'

/** What an image consists of. */
export interface ImageDescription {
  readonly digest: string
  readonly mediaType: string
  /** `linux/amd64`, in the order of the index; each once. */
  readonly platforms: readonly string[]
  /** All blobs once, of all platforms; without foreign layers. */
  readonly sizeBytes: number
}

/** Reads an image's manifests and says what it is for and how large it is. @throws RegistryError */
export async function describeImage(
  client: RegistryClient,
  reference: ImageReference,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ImageDescription> {
  const context = quietContext(options.signal, formatReference(reference))
  const repository = repositoryOf(internalsOf(client), reference, 'pull')
  const tree = await readTree(
    repository,
    reference.digest ?? reference.tag ?? 'latest',
    [],
    context,
  )
  const platforms = new Set<string>()
  for (const manifest of tree.manifests.values()) {
    if (manifest.kind !== 'index') continue
    for (const entry of manifest.manifests) {
      if (isAttestation(entry)) continue
      const below = tree.manifests.get(entry.digest)
      const platform =
        entry.platform ?? (below && (await platformOfManifest(repository, below, context)))
      if (platform !== undefined) platforms.add(formatPlatform(platform))
    }
  }
  if (tree.manifest.kind === 'image') {
    const platform = await platformOfManifest(repository, tree.manifest, context)
    if (platform !== undefined) platforms.add(formatPlatform(platform))
  }
  let sizeBytes = 0
  for (const { size } of tree.blobs.values()) sizeBytes += size
  return {
    digest: tree.root.digest,
    mediaType: tree.manifest.mediaType,
    platforms: [...platforms],
    sizeBytes,
  }
}
