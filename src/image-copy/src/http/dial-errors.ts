/** An address behind a name may not be dialled. */
export class AddressRefusedError extends Error {
  override readonly name = 'AddressRefusedError'
  readonly address: string

  constructor(host: string, address: string) {
    super(`${host} is at ${address}, which may not be dialled`)
    this.address = address
  }
}

/** The peer refuses our client certificate, or that there is none; or it cannot be used at all. */
export class ClientCertificateError extends Error {
  override readonly name = 'ClientCertificateError'

  constructor(message: string, cause: unknown) {
    super(message, { cause })
  }
}

/** What a {@link DialError} knows besides its message. */
export interface DialErrorDetails {
  /** The handshake was refused, and not the way to it. */
  readonly tls?: boolean
  /** Trying again does not help. Default: it does unless the handshake was refused. */
  readonly lasting?: boolean
  /** What to do about it, as the rest of a sentence. */
  readonly advice?: string | undefined
  /** It was the proxy that could not be reached, or did not answer as one. */
  readonly proxy?: boolean
  readonly cause?: unknown
}

/** A connection could not be made. */
export class DialError extends Error {
  override readonly name = 'DialError'
  readonly tls: boolean
  readonly lasting: boolean
  readonly advice: string | undefined
  readonly proxy: boolean

  constructor(
    message: string,
    { tls = false, lasting = tls, advice, proxy = false, cause }: DialErrorDetails = {},
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.tls = tls
    this.lasting = lasting
    this.advice = advice
    this.proxy = proxy
  }

  /** The same, of a peer that was reached before: trying again helps, if it was not the handshake that failed. */
  passing(): DialError {
    return this.lasting && !this.tls ? new DialError(this.message, { cause: this.cause }) : this
  }

  /** The same, of the proxy on the way. @param advice in place of what would help of a registry */
  ofProxy(advice: string | undefined): DialError {
    const { tls, lasting, cause } = this
    return new DialError(this.message, { tls, lasting, advice, proxy: true, cause })
  }
}
