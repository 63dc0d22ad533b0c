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

/** There is no such name. A name server that does not answer has another code: EAI_AGAIN. */
const unknownName = /^ENOTFOUND$/

/** What Node says of a peer that does not speak TLS. */
export const notTlsCode = 'ERR_SSL_WRONG_VERSION_NUMBER'

/** What to do about faults that are known, and what to call them where their own text is not fit for who reads it. */
const faults: readonly {
  readonly code: RegExp
  readonly said?: string
  readonly advice: (host: string) => string
}[] = [
  { code: unknownName, advice: () => 'check the name' },
  {
    code: new RegExp(`^${notTlsCode}$`),
    said: 'what it answers is not TLS',
    advice: (host) => `allow plain http for ${host}, if that is what it speaks`,
  },
  {
    // Node has no issuer for it; its text goes on about an option of its own.
    code: /^UNABLE_TO_(?:GET_ISSUER_CERT|GET_ISSUER_CERT_LOCALLY|VERIFY_LEAF_SIGNATURE)$/,
    said: 'its certificate is not from an authority that is trusted here',
    advice: giveAuthority,
  },
  {
    code: /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|CERT_UNTRUSTED|CERT_SIGNATURE_FAILURE)$/,
    advice: giveAuthority,
  },
  {
    code: /^CERT_(?:HAS_EXPIRED|NOT_YET_VALID)$/,
    advice: () => 'renew it there, or set the clock here',
  },
  {
    code: /^(?:ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)$/,
    advice: () => 'use a name that it has',
  },
]

function giveAuthority(host: string): string {
  return `give the CA of ${host}`
}

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
  const { code = '', reason = error.message } = error as SocketError
  const tls = tlsCodes.test(code) && !alteredCodes.test(code)
  const { said, advice } = faults.find((fault) => fault.code.test(code)) ?? {}
  const text = `cannot connect to ${hostOf(peer)}: ${said || reason || code || 'no reason given'}`
  const lasting = tls || unknownName.test(code)
  return new DialError(text, { tls, lasting, advice: advice?.(hostOf(peer)), cause: error })
}
