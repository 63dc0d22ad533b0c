/** What went wrong, as a word that programs may rely on. */
export type RegistryErrorCode =
  /** The manifest, tag, blob or repository is not there (404). */
  | 'COPY_NOT_FOUND'
  /** No credential was given, or each one was turned down (401). */
  | 'COPY_UNAUTHORIZED'
  /** The credential is known and may not do this (403). */
  | 'COPY_DENIED'
  /** The registry asks for fewer requests (429); `retryAfterMs` says when it will answer again. */
  | 'COPY_RATE_LIMITED'
  /** No connection, or it broke, and retries did not help. */
  | 'COPY_UNREACHABLE'
  /** The TLS handshake or the certificate was refused. */
  | 'COPY_TLS'
  /** Connected, but no byte moved for too long. */
  | 'COPY_TIMEOUT'
  /** The answer breaks HTTP/1.1 or the distribution protocol. */
  | 'COPY_PROTOCOL'
  /** The registry failed by its own account (5xx), and retries did not help. */
  | 'COPY_SERVER_ERROR'
  /** The bytes are not those that the digest names. */
  | 'COPY_DIGEST_MISMATCH'
  /** A manifest is malformed, contradicts itself, or exceeds a bound. */
  | 'COPY_MANIFEST_INVALID'
  /** A manifest of a kind that is not copied (Docker schema 1, unknown media types). */
  | 'COPY_MANIFEST_UNSUPPORTED'
  /** An answer is larger than its kind may be. */
  | 'COPY_TOO_LARGE'
  /** The address behind a host name may not be dialled. */
  | 'COPY_ADDRESS_REFUSED'
  /** A redirect or upload location leads where it may not lead. */
  | 'COPY_REDIRECT_REFUSED'
  /** The token realm that the registry named may not be used. */
  | 'COPY_REALM_REFUSED'
  /** A platform that was asked for is not in the image. */
  | 'COPY_PLATFORM_MISSING'
  /** The target takes no index of which some manifests are missing. */
  | 'COPY_SPARSE_INDEX_REFUSED'
  /** The target turned down a manifest, blob or upload (4xx), or deletes no tags. */
  | 'COPY_REFUSED'
  /** A credential helper failed. */
  | 'COPY_CREDENTIAL_HELPER'

/** What a {@link RegistryError} knows besides its message. */
export interface RegistryErrorDetails {
  /** The registry, token server or redirect target that was spoken to, as `host[:port]`. */
  readonly host: string
  /** The registry that was asked, as it stands in references. Default: `host`. */
  readonly registry?: string | undefined
  /** The repository there, when it was asked for a part of one: a token server is not. */
  readonly repository?: string | undefined
  /** HTTP status, when there was an answer. */
  readonly status?: number | undefined
  /** How long the registry asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined
  /** Whether the same call may succeed later without any change. */
  readonly retryable?: boolean | undefined
  /**
   * The token server, as `host[:port]`, that the credentials were not shown to, since nothing says that it is the registry's.
   * `trustedRealms` may say so.
   */
  readonly untrustedRealm?: string | undefined
  readonly cause?: unknown
}

/** Whom an error is about. */
export type Party = Pick<RegistryErrorDetails, 'host' | 'registry' | 'repository'>

/**
 * A registry, or the way to it, did not do what was asked.
 *
 * Messages name the request, the host, what was wrong and what to do. They never carry credentials, tokens, signed query
 * strings or control characters that came from outside.
 */
export class RegistryError extends Error {
  override readonly name = 'RegistryError'
  readonly code: RegistryErrorCode
  readonly host: string
  readonly registry: string
  readonly repository: string | undefined
  readonly status: number | undefined
  readonly retryAfterMs: number | undefined
  readonly retryable: boolean
  readonly untrustedRealm: string | undefined

  constructor(code: RegistryErrorCode, message: string, details: RegistryErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.host = details.host
    this.registry = details.registry ?? details.host
    this.repository = details.repository
    this.status = details.status
    this.retryAfterMs = details.retryAfterMs
    this.retryable = details.retryable ?? false
    this.untrustedRealm = details.untrustedRealm
  }
}

/** Whom an error is about, for another that it leads to. */
export function partyOf({ host, registry, repository }: RegistryError): Party {
  return { host, registry, repository }
}

/** The same error, of which it turned out whom it came of asking. */
export function askedOf(error: RegistryError, registry: string): RegistryError {
  const { code, message, cause } = error
  return new RegistryError(code, message, { ...error, registry, cause })
}

/** A text is no image reference; the message says which part and why. */
export class ImageReferenceError extends Error {
  override readonly name = 'ImageReferenceError'
  readonly code = 'COPY_REFERENCE_INVALID'
}

/** A docker configuration or credential cannot be read; the message never holds its content. */
export class CredentialConfigError extends Error {
  override readonly name = 'CredentialConfigError'
  readonly code = 'COPY_CREDENTIALS_INVALID'
}

/** Text from outside made fit for a message: one line, no control characters, at most `limit` characters. */
export function printable(text: string, limit = 300): string {
  let out = ''
  for (const char of text.slice(0, limit)) {
    const code = char.codePointAt(0) ?? 0
    const hidden =
      code < 0x20 || (code >= 0x7f && code < 0xa0) || code === 0x2028 || code === 0x2029
    const bidi = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)
    out += hidden || bidi ? `\\u${code.toString(16).padStart(4, '0')}` : char
  }
  return text.length > limit ? `${out}…` : out
}
