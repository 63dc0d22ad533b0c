import { printable, RegistryError } from '../errors.ts'
import { basicAuthorization, type Credential } from './credential.ts'
import type { Realm } from './realm.ts'

/** A token server's answer, as the rest uses it. */
export interface Token {
  readonly value: string
  /** From now, in milliseconds. */
  readonly lifeMs: number
}

/** What to ask a token server. */
export interface TokenQuestion {
  readonly realm: Realm
  readonly service: string | undefined
  readonly scopes: readonly string[]
  readonly credential: Credential | undefined
}

/** A request to a token server, not yet sent. */
export interface TokenRequest {
  readonly method: 'GET' | 'POST'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer
}

/** Token answers are a few KiB; a megabyte holds the largest JWT with certificate chains. */
export const maxTokenAnswerBytes: number = 1024 * 1024

/** What a token lives without an `expires_in`, by the specification. */
const defaultLifeSeconds = 60

const clientId = 'image-copy'

/**
 * Writes the request for a token: GET with the scopes in the query, or with an identity token the OAuth2 form.
 * https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/
 */
export function tokenRequest({ realm, service, scopes, credential }: TokenQuestion): TokenRequest {
  const shown = realm.showCredential ? credential : undefined
  const accept = { Accept: 'application/json' }
  if (shown !== undefined && 'identityToken' in shown) {
    const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: clientId })
    if (service !== undefined) form.set('service', service)
    form.set('scope', scopes.join(' '))
    form.set('refresh_token', shown.identityToken)
    const headers = { ...accept, 'Content-Type': 'application/x-www-form-urlencoded' }
    return { method: 'POST', url: realm.url, headers, body: Buffer.from(form.toString()) }
  }
  const url = new URL(realm.url)
  if (service !== undefined) url.searchParams.set('service', service)
  for (const scope of scopes) url.searchParams.append('scope', scope)
  if (shown === undefined) return { method: 'GET', url, headers: accept }
  const authorization = basicAuthorization(shown)
  if (authorization === undefined) return { method: 'GET', url, headers: accept }
  url.searchParams.set('client_id', clientId)
  if ('username' in shown) url.searchParams.set('account', shown.username)
  return { method: 'GET', url, headers: { ...accept, Authorization: authorization } }
}

/** Reads a token server's answer. @throws RegistryError `COPY_PROTOCOL` */
export function readToken(body: Uint8Array, host: string): Token {
  const fail = (why: string): RegistryError =>
    new RegistryError('COPY_PROTOCOL', `token server ${printable(host)}: ${why}`, { host })
  let answer: unknown
  try {
    answer = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8'))
  } catch {
    throw fail('its answer is not JSON')
  }
  const { token, access_token, expires_in } = (answer ?? {}) as Record<string, unknown>
  const value = token || access_token
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value))
    throw fail('its answer holds no usable token')
  const seconds = typeof expires_in === 'number' && expires_in > 0 ? expires_in : defaultLifeSeconds
  // A day at most: a server's slip of units must not keep a token for years.
  return { value, lifeMs: Math.min(seconds, 86_400) * 1000 }
}
