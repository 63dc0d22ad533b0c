import type { StopSignal } from '../abortable.ts'
import { askedOf, printable, RegistryError, type RegistryErrorCode } from '../errors.ts'
import { AddressRefusedError, ClientCertificateError, DialError } from '../http/dial-errors.ts'
import { type Answer, AnswerTooLargeError } from '../http/exchange.ts'
import { ConnectionLostError, ProtocolError, StalledError } from '../http/protocol-error.ts'
import type { Resource } from './resource.ts'
import { parseRetryAfter } from './retry.ts'

/** Answers that may be different the next time, besides 429. 499, 522 and 524 are what CDNs say of their own origin. */
const passing = new Set([408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524])

/** Of a host in a message; names in DNS have 253 characters at most. */
const maxHost = 260

/** What an exchange was about; a token server is asked for no repository, and does not know its registry's name. */
type Failing = Pick<Resource, 'url' | 'party'>

/** A URL fit for messages: queries carry signatures and upload state. */
export function describeUrl(url: URL): string {
  return printable(
    `${url.protocol}//${url.host}${url.pathname}${url.search === '' ? '' : '?…'}`,
    400,
  )
}

/**
 * The error that an answer of the wrong status stands for.
 *
 * @param realm the token server that was asked as nobody, though there are credentials
 */
export function failureOfAnswer(
  method: string,
  { url, party }: Failing,
  { status, headers, body }: Pick<Answer, 'status' | 'headers' | 'body'>,
  realm?: URL,
): RegistryError {
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), Date.now())
  const said = errorsIn(body)
  const what = `${method} ${describeUrl(url)}: ${status}${said === '' ? '' : ` ${said}`}`
  const untrustedRealm =
    realm && (status === 401 || status === 403) ? printable(realm.host, maxHost) : undefined
  const make = (code: RegistryErrorCode, advice: string, retryable = false): RegistryError =>
    new RegistryError(code, `${what}${advice}`, {
      ...party,
      ...{ status, retryAfterMs, retryable, untrustedRealm },
    })
  if (status === 429 || /TOOMANYREQUESTS/.test(said)) {
    return make('COPY_RATE_LIMITED', '; the registry limits requests: log in, or try later', true)
  }
  if (status === 401 || status === 403) {
    const code = status === 401 ? 'COPY_UNAUTHORIZED' : 'COPY_DENIED'
    return make(code, untrustedRealm === undefined ? refusals[code] : withheldFrom(untrustedRealm))
  }
  if (status === 404) return make('COPY_NOT_FOUND', '')
  const passes = passing.has(status)
  if (passes || status >= 500)
    return make('COPY_SERVER_ERROR', "; the registry's own log says why: a full disk, say", passes)
  if (status >= 400) return make('COPY_REFUSED', '')
  return make('COPY_PROTOCOL', '; no such answer was expected')
}

const refusals = {
  COPY_UNAUTHORIZED: '; check the credentials, and that the repository exists',
  COPY_DENIED: '; the credentials do not allow this',
} as const

function withheldFrom(realm: string): string {
  return `; the credentials were not shown to the token server ${realm}, of which nothing says that it is the registry's: if it is, list it in trustedRealms`
}

/** The error that a broken exchange stands for. Aborts pass through as they are. */
export function failureOfExchange(
  error: unknown,
  method: string,
  { url, party }: Failing,
  signal: StopSignal,
): unknown {
  if (error instanceof RegistryError) {
    const { registry } = party
    const known = registry === undefined || error.registry === registry || signal.aborted
    // A token server, or who gives a credential, was asked for this registry; what stopped the exchange may be of another.
    return known ? error : askedOf(error, registry)
  }
  if (signal.aborted) return signal.reason
  const what = `${method} ${describeUrl(url)}`
  const make = (code: RegistryErrorCode, text: string, retryable: boolean): RegistryError =>
    new RegistryError(code, `${what}: ${text}`, { ...party, retryable, cause: error })
  if (error instanceof AddressRefusedError) {
    return make('COPY_ADDRESS_REFUSED', `${error.message}; allow the address if it is meant`, false)
  }
  if (error instanceof DialError) {
    const advice = error.advice === undefined ? '' : `; ${printable(error.advice)}`
    const text = `${printable(error.message)}${advice}`
    return make(error.tls ? 'COPY_TLS' : 'COPY_UNREACHABLE', text, !error.lasting)
  }
  if (error instanceof ClientCertificateError)
    return make(
      'COPY_TLS',
      `${printable(error.message)}; check the cert and key given for it`,
      false,
    )
  if (error instanceof StalledError) return make('COPY_TIMEOUT', error.message, true)
  if (error instanceof ProtocolError)
    return make('COPY_PROTOCOL', `malformed answer: ${error.message}`, true)
  if (error instanceof ConnectionLostError) return make('COPY_UNREACHABLE', error.message, true)
  if (error instanceof AnswerTooLargeError) return make('COPY_TOO_LARGE', error.message, false)
  return error
}

/** Codes and messages of a distribution error body, bounded and made printable. */
function errorsIn(body: Uint8Array): string {
  const text = Buffer.from(body.buffer, body.byteOffset, Math.min(body.length, 8192)).toString(
    'utf8',
  )
  try {
    const { errors } = JSON.parse(text) as { errors?: unknown }
    if (!Array.isArray(errors)) return ''
    const parts = errors.slice(0, 3).map((entry: { code?: unknown; message?: unknown } | null) => {
      const code = typeof entry?.code === 'string' ? entry.code : ''
      const message = typeof entry?.message === 'string' ? entry.message : ''
      return `${code} ${message}`.trim()
    })
    const more = errors.length > 3 ? ` and ${errors.length - 3} more` : ''
    return printable(parts.join('; ') + more, 300)
  } catch {
    return ''
  }
}
