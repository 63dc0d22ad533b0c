import { type Destination, resolveLocation } from './location.ts'
import type { RegistryAnswer } from './requests.ts'

/**
 * Where a list goes on, by the Link header of one of its pages; undefined when this was the last.
 *
 * @throws RegistryError `COPY_REDIRECT_REFUSED` where nothing may lead
 */
export function nextPage({ headers, resource }: RegistryAnswer): Destination | undefined {
  const link = /<([^<>]{1,2000})>\s*;[^,]*\brel="?next"?/.exec(headers.get('link') ?? '')?.[1]
  return link === undefined ? undefined : resolveLocation(resource, link)
}
