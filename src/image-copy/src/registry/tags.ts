import { RegistryError } from '../errors.ts'
import { isTag } from '../reference.ts'
import type { Context } from './context.ts'
import type { Repository } from './repository.ts'
import type { RegistryRequest } from './requests.ts'

const maxListBytes = 4 * 1024 * 1024

/**
 * All tags of a repository when one page of `limit` holds them; undefined when there are more, or the registry does not
 * list them.
 */
export async function tagsOnOnePage(
  repository: Repository,
  limit: number,
  context: Context,
): Promise<ReadonlySet<string> | undefined> {
  const place = repository.reads.at(-1)
  if (place === undefined) return undefined
  const { endpoint, path, scopes } = place
  const request: RegistryRequest = {
    method: 'GET',
    url: `/v2/${path}/tags/list?n=${limit}`,
    repository: path,
    scopes,
    expect: [200, 400, 401, 403, 404, 405],
    maxBytes: maxListBytes,
  }
  const answer = await endpoint.fetch(request, context).catch((error: unknown) => {
    // Some registries give all tags, however many were asked for.
    if (error instanceof RegistryError && error.code === 'COPY_TOO_LARGE') return undefined
    throw error
  })
  if (answer?.status !== 200 || answer.headers.has('link')) return undefined
  try {
    const { tags } = JSON.parse(answer.body.toString('utf8')) as { tags?: unknown }
    // A full page may have another after it; more than a page is all there is.
    if (!Array.isArray(tags) || tags.length === limit) return undefined
    return new Set(tags.filter((tag): tag is string => typeof tag === 'string' && isTag(tag)))
  } catch {
    return undefined
  }
}
