import { RegistryError } from '../errors.ts'
import type { CopyEvent } from '../events.ts'
import { formatReference, type ImageReference, isTag } from '../reference.ts'
import { internalsOf, type RegistryClient } from '../registry/client.ts'
import { quietContext } from '../registry/context.ts'
import { failureOfAnswer } from '../registry/failure.ts'
import { headManifest } from '../registry/manifests.ts'
import { repositoryOf } from '../registry/repository.ts'
import type { RegistryAnswer } from '../registry/requests.ts'

/** Options of {@link deleteTag}. */
export interface DeleteTagOptions {
  readonly signal?: AbortSignal | undefined
  /** Told of retries. */
  readonly onEvent?: ((event: CopyEvent) => void) | undefined
}

/** The specification has 202; some say that there is nothing to wait for. */
const done: ReadonlySet<number> = new Set([200, 202, 204])
/** What a registry answers that deletes no tags, by the specification 400 or 405; 404 may also be a tag that is gone. */
const undone: readonly number[] = [400, 404, 405]

/**
 * Takes a tag away, and nothing else: the image stays under its digest and its other tags. A tag that is not there is no error:
 * it is gone, by whomever, maybe by an earlier try of the same call. Of the credentials it takes the right `delete`, which is
 * asked for here and by no copy.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#deleting-tags
 *
 * @param reference names the tag, and no digest: with its image, other tags would go
 * @throws RegistryError `COPY_REFUSED` when the registry deletes no tags; TypeError when `reference` names something else
 */
export async function deleteTag(
  client: RegistryClient,
  reference: ImageReference,
  options: DeleteTagOptions = {},
): Promise<void> {
  const { tag, digest } = reference
  const name = formatReference(reference)
  if (tag === undefined || digest !== undefined || !isTag(tag))
    throw new TypeError(`${name} names no tag alone`)
  const context = quietContext(options.signal, name, options.onEvent)
  // Some registries know no right to delete, and then it comes with that to push.
  const repository = repositoryOf(internalsOf(client), reference, 'pull,push,delete')
  const { endpoint, path, scopes } = repository.write
  const answer = await endpoint.fetch(
    {
      method: 'DELETE',
      url: `/v2/${path}/manifests/${tag}`,
      repository: path,
      scopes,
      expect: [...done, ...undone],
    },
    context,
  )
  if (done.has(answer.status)) return
  if (answer.status === 404 && !(await headManifest(repository, tag, context))) return
  throw cannotDelete(answer)
}

function cannotDelete(answer: RegistryAnswer): RegistryError {
  const { status, resource } = answer
  const { message } = failureOfAnswer('DELETE', resource, answer)
  const advice =
    'the registry deletes no tags; distribution does from version 3 on, where deletion is enabled, as do others: delete it there, or by its own rules of retention'
  return new RegistryError('COPY_REFUSED', `${message}; ${advice}`, { ...resource.party, status })
}
