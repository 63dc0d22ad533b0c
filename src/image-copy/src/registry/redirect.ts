import { RegistryError } from '../errors.ts'
import type { ResponseHead } from '../http/response-parser.ts'
import { resolveLocation } from './location.ts'
import type { Resource } from './resource.ts'

const maxRedirects = 5
/** Only these are redirected, and only of these do registries count how many are left. */
export const reads: ReadonlySet<string> = new Set(['GET', 'HEAD'])
/** Statuses of answers that say that something is elsewhere. */
export const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/**
 * Where a redirect leads.
 *
 * @param hops redirects before it
 * @throws RegistryError when it is not followed
 */
export function requireRedirect(
  method: string,
  resource: Resource,
  { status, headers }: ResponseHead,
  hops: number,
): ReturnType<typeof resolveLocation> {
  if (hops < maxRedirects && reads.has(method))
    return resolveLocation(resource, headers.get('location'))
  const why =
    hops >= maxRedirects
      ? `more than ${maxRedirects} redirects`
      : 'is redirected, which is followed for reads only'
  throw new RegistryError('COPY_REDIRECT_REFUSED', `${method} ${resource.host}: ${why}`, {
    ...resource.party,
    status,
  })
}
