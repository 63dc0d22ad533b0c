import { headBlob } from '../blob/small-blob.ts'
import { RegistryError } from '../errors.ts'
import { parsePlatform } from '../image/platform.ts'
import { formatReference, type ImageReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { quietContext } from '../registry/context.ts'
import { headManifest } from '../registry/manifests.ts'
import { repositoryOf } from '../registry/repository.ts'
import { concurrently } from './concurrently.ts'
import { readTree } from './image-tree.ts'

/** Options of {@link verifyImage}. */
export interface VerifyOptions {
  /** Platforms that must be there; default all. */
  readonly platforms?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
}

/** As many as a host's window takes by default. */
const blobsAtATime = 16

/**
 * Makes sure that an image is whole: its tag stands for `digest`, every manifest is there with the bytes of its digest, and
 * every blob is there with its size. Blobs are not read; registries verify them when they take them.
 *
 * @throws RegistryError `COPY_DIGEST_MISMATCH` when the tag stands for another digest, `COPY_NOT_FOUND` naming the first part
 *   that is missing
 */
export async function verifyImage(
  client: RegistryClient,
  image: ImageReference,
  digest: string,
  options: VerifyOptions = {},
): Promise<void> {
  const name = formatReference(image)
  const context = quietContext(options.signal, name)
  const repository = repositoryOf(internalsOf(client), image, 'pull', true)
  const platforms = (options.platforms ?? []).map(parsePlatform)
  const missing = (what: string): RegistryError =>
    new RegistryError('COPY_NOT_FOUND', `${name}: ${what} is missing`, {
      ...repository.party,
      status: 404,
    })
  if (image.tag !== undefined) {
    const head = await headManifest(repository, image.tag, context)
    if (head === undefined) throw missing(`tag ${image.tag}`)
    if (head.digest !== undefined && head.digest !== digest) {
      throw new RegistryError(
        'COPY_DIGEST_MISMATCH',
        `${name}: the tag stands for ${head.digest}, not ${digest}`,
        repository.party,
      )
    }
  }
  const tree = await readTree(repository, digest, platforms, context)
  await concurrently([...tree.blobs.values()], blobsAtATime, context, async (blob, inner) => {
    if (!(await headBlob(repository, blob, inner))) throw missing(`blob ${blob.digest}`)
  })
}
