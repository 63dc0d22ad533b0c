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

/** A connection could not be made; `tls` tells the handshake from the way to it. */
export class DialError extends Error {
  override readonly name = 'DialError'
  readonly tls: boolean

  constructor(message: string, tls: boolean, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.tls = tls
  }
}
