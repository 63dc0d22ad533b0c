import { printable, RegistryError } from '../errors.ts'
import { sameOrigin } from '../http/origin.ts'
import { describeUrl } from './failure.ts'
import type { Resource } from './resource.ts'

/** Where an answer sends us, and whether that is still the same server. */
export interface Destination {
  /** As a {@link RegistryRequest} takes it. */
  readonly place: string | URL
  /** Scheme, host and port are those of what answered: credentials may go along. */
  readonly same: boolean
}

/** Path and query that mean the same whether a URL was made of them or not: no fragment, no other host, no backslash. */
const plainPath = /^\/(?!\/)[\x21\x22\x24-\x5b\x5d-\x7e]*$/

/**
 * Resolves a Location header against what answered with it (the last one, after redirects).
 *
 * Never from https to http, never with user information; on another server credentials stay behind, which is for the
 * caller to see to by `same`. A location that differs from the registry only by having lost its https (a registry behind a
 * TLS proxy that does not know it) is taken as meant.
 *
 * @throws RegistryError `COPY_REDIRECT_REFUSED`, `COPY_PROTOCOL` when there is no location
 */
export function resolveLocation(from: Resource, location: string | undefined): Destination {
  const refuse = (why: string): RegistryError =>
    new RegistryError(
      'COPY_REDIRECT_REFUSED',
      `${describeUrl(from.url)}: sends to "${describeText(location ?? '')}", which ${why}`,
      from.party,
    )
  if (location === undefined || location === '') {
    throw new RegistryError(
      'COPY_PROTOCOL',
      `${describeUrl(from.url)}: the answer has no Location`,
      from.party,
    )
  }
  if (from.own) {
    const front = from.base.href
    const place = location.startsWith(front) ? location.slice(front.length - 1) : location
    if (plainPath.test(place)) return { place, same: true }
  }
  const url = URL.parse(location, from.url.href)
  if (url === null) throw refuse('is no URL')
  const { protocol } = url
  if (protocol !== 'https:' && protocol !== 'http:') throw refuse('is neither https nor http')
  if (url.username !== '' || url.password !== '') throw refuse('holds user information')
  if (protocol === 'https:' || from.origin.protocol === 'http:')
    return { place: url, same: sameOrigin(from.origin, url) }
  if (url.hostname !== from.origin.hostname) throw refuse('leaves https')
  return { place: new URL(url.pathname + url.search, from.origin), same: true }
}

function describeText(location: string): string {
  return printable(location.replace(/\?.*$/s, '?…'), 200)
}
