import type { Socket } from 'node:net'
import { offAbort, onAbort, type StopSignal } from '../abortable.ts'
import { AddressRefusedError, ClientCertificateError, DialError } from './dial-errors.ts'
import { hostOf, type Origin, type ProxyServer } from './origin.ts'

/** Waits for a socket's event; an abort or an error destroys it. */
export async function settled(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  peer: Origin | ProxyServer,
  signal: StopSignal,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const done = (): void => {
      socket.off(event, done)
      socket.off('error', fail)
      socket.off('close', closed)
      offAbort(signal, aborted)
    }
    const fail = (error: Error): void => {
      done()
      socket.on('error', () => {})
      socket.destroy()
      reject(error instanceof AddressRefusedError ? error : describe(error, peer))
    }
    const closed = (): void => fail(new Error('the peer closed the connection'))
    const aborted = (): void => fail(signal.reason as Error)
    socket.once(event, () => {
      done()
      resolve()
    })
    socket.once('error', fail)
    socket.once('close', closed)
    onAbort(signal, aborted)
    if (signal.aborted) aborted()
  })
}

/** Codes of OpenSSL and of Node's own checks, which no retry changes; a connection cut inside the handshake is not among them. */
const tlsCodes =
  /^(?:ERR_SSL|ERR_TLS|ERR_OSSL|EPROTO$|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|CRL_|INVALID_CA|PATH_LENGTH|HOSTNAME_MISMATCH)/

/** Bytes of a handshake were altered on the way; the next may come whole. */
const alteredCodes = /BAD_RECORD_MAC|DECRYPT_ERROR/

/** Alerts by which a peer says what it thinks of the certificate that it was shown. */
const certificateAlerts = /_ALERT_(?:.*CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/

/** What OpenSSL says of itself; its message is that among function names and line numbers. */
type SocketError = NodeJS.ErrnoException & { readonly reason?: string }

/**
 * The error for a socket that ended because of our client certificate. Under TLS 1.3 the peer says so when to us the handshake
 * is over, and a request may be on its way.
 */
export function certificateRefusal(error: Error): ClientCertificateError | undefined {
  const { code = '', reason = code } = error as SocketError
  if (!certificateAlerts.test(code)) return undefined
  return new ClientCertificateError(
    `the client certificate is refused, or lacking: ${reason}`,
    error,
  )
}

/** The error of a socket in words that name its peer. */
export function describe(error: Error, peer: Origin | ProxyServer): Error {
  if (error instanceof DialError) return error
  const refusal = certificateRefusal(error)
  if (refusal !== undefined) return refusal
  const { code = '', reason: said } = error as SocketError
  const reason =
    code === 'ERR_SSL_WRONG_VERSION_NUMBER'
      ? 'what it answers is not TLS'
      : said || error.message || code || 'no reason given'
  const lasting = tlsCodes.test(code) && !alteredCodes.test(code)
  return new DialError(`cannot connect to ${hostOf(peer)}: ${reason}`, lasting, error)
}
