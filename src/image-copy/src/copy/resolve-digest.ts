import { RegistryError } from '../errors.ts'
import type { ImageReference } from '../reference.ts'
import { formatReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { quietContext } from '../registry/context.ts'
import { getManifest, headManifest } from '../registry/manifests.ts'
import { repositoryOf } from '../registry/repository.ts'

/** What a reference stands for now. */
export interface ResolvedImage {
  readonly digest: string
  readonly mediaType: string
  /** Of the manifest, in bytes. */
  readonly size: number
}

/**
 * Asks what digest a reference stands for. One HEAD, which Docker Hub does not count as a pull; a GET only where a registry
 * tells no digest by HEAD.
 *
 * @throws RegistryError `COPY_NOT_FOUND` when there is no such image
 */
export async function resolveDigest(
  client: RegistryClient,
  reference: ImageReference,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ResolvedImage> {
  const name = formatReference(reference)
  const context = quietContext(options.signal, name)
  const repository = repositoryOf(internalsOf(client), reference, 'pull')
  const wanted = reference.digest ?? reference.tag ?? 'latest'
  const head = await headManifest(repository, wanted, context)
  if (head === undefined) {
    throw new RegistryError('COPY_NOT_FOUND', `${name}: there is no such image`, {
      ...repository.party,
      status: 404,
    })
  }
  const digest = reference.digest ?? head.digest
  if (digest !== undefined && head.size !== undefined && head.mediaType !== '') {
    return { digest, mediaType: head.mediaType, size: head.size }
  }
  const found = await getManifest(repository, wanted, context)
  return { digest: found.digest, mediaType: found.mediaType, size: found.bytes.length }
}
