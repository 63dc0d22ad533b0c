/** Why an identity cannot be read or made. */
export type CertificateErrorCode =
  | 'KIP_CERTS_INVALID'
  | 'KIP_CERTS_MISMATCH'
  | 'KIP_CERTS_NAMES'
  | 'KIP_CERTS_FILES'

/** A certificate, key or bundle is not what it must be; the message never holds key material. */
export class CertificateError extends Error {
  readonly code: CertificateErrorCode

  constructor(code: CertificateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CertificateError'
    this.code = code
  }
}
