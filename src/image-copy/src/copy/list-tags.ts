import type { CopyEvent } from '../events.ts'
import { formatReference, type ImageReference } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { quietContext } from '../registry/context.ts'
import { repositoryOf } from '../registry/repository.ts'
import { readTags } from '../registry/tag-pages.ts'

/** Options of {@link listTags}. */
export interface ListTagsOptions {
  readonly signal?: AbortSignal | undefined
  /** Told of retries and of pulls that are left; their `image` is the repository. */
  readonly onEvent?: ((event: CopyEvent) => void) | undefined
}

/**
 * Lists the tags of a repository, page by page as they are taken, each once and in the registry's order. The registry itself
 * is asked, and no mirror of it.
 *
 * @param repository a tag or digest in it does not matter
 * @throws RegistryError `COPY_NOT_FOUND` when there is no such repository
 */
export async function* listTags(
  client: RegistryClient,
  repository: Pick<ImageReference, 'registry' | 'repository'>,
  options: ListTagsOptions = {},
): AsyncGenerator<string, void> {
  const { registry, repository: name } = repository
  const image = formatReference({ registry, repository: name })
  const context = quietContext(options.signal, image, options.onEvent)
  yield* readTags(repositoryOf(internalsOf(client), repository, 'pull'), context)
}
