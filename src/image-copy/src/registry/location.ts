import { printable, RegistryError } from '../errors.ts'
import { sameOrigin } from '../http/origin.ts'
import { describeUrl } from './failure.ts'

/** Where an answer sends us, and whether that is still the same server. */
export interface Destination {
  readonly url: URL
  /** Scheme, host and port are those of the URL that answered: credentials may go along. */
  readonly same: boolean
}

/**
 * Resolves a Location header against the URL that answered with it (the final one, after redirects).
 *
 * Never from https to http, never with user information; on another server credentials stay behind, which is for the
 * caller to see to by `same`. A location that differs from the registry only by having lost its https (a registry behind a
 * TLS proxy that does not know it) is taken as meant.
 *
 * @throws RegistryError `COPY_REDIRECT_REFUSED`, `COPY_PROTOCOL` when there is no location
 */
export function resolveLocation(from: URL, location: string | undefined): Destination {
  const refuse = (why: string): RegistryError =>
    new RegistryError(
      'COPY_REDIRECT_REFUSED',
      `${describeUrl(from)}: sends to "${describeText(location ?? '')}", which ${why}`,
      {
        host: from.host,
      },
    )
  if (location === undefined || location === '') {
    throw new RegistryError('COPY_PROTOCOL', `${describeUrl(from)}: the answer has no Location`, {
      host: from.host,
    })
  }
  let url = URL.parse(location, from.href)
  if (url === null) throw refuse('is no URL')
  if (from.protocol === 'https:' && url.protocol === 'http:' && url.hostname === from.hostname) {
    url = new URL(url.pathname + url.search, from)
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw refuse('is neither https nor http')
  if (from.protocol === 'https:' && url.protocol === 'http:') throw refuse('leaves https')
  if (url.username !== '' || url.password !== '') throw refuse('holds user information')
  return { url, same: sameOrigin(from, url) }
}

function describeText(location: string): string {
  return printable(location.replace(/\?.*$/s, '?…'), 200)
}
