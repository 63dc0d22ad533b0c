import { RegistryError } from '@containers/image-copy'

/** Why something was not done, or was not begun or ended when the run was stopped. */
export interface Failure {
  readonly status: 'failed' | 'stopped'
  readonly code: string
  readonly message: string
}

/** What an image came to that was not copied; of a run that was stopped, whatever its error is. */
export function outcomeOfFailure(error: unknown, signal: AbortSignal): Failure {
  if (signal.aborted) return { status: 'stopped', code: 'KIP_STOPPED', message: reasonOf(signal) }
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'KIP_INTERNAL'
  const options = error instanceof RegistryError ? optionsFor(error) : ''
  return { status: 'failed', code, message: `${message}${options}` }
}

function reasonOf({ reason }: AbortSignal): string {
  return reason instanceof Error ? reason.message : String(reason)
}

/** What a server answers that does not speak TLS. */
const NOT_TLS = 'ERR_SSL_WRONG_VERSION_NUMBER'
/** Certificates that are from nobody who is trusted here. */
const UNTRUSTED = /^UNABLE_TO_|SELF_SIGNED|^CERT_(?:UNTRUSTED|SIGNATURE_FAILURE)$/

/** The library says what to do; how that is written here is said by the command. */
function optionsFor({ code, host, registry, untrustedRealm, cause }: RegistryError): string {
  if (untrustedRealm !== undefined) return ` (--trust-realm ${untrustedRealm})`
  if (code !== 'COPY_TLS') return ''
  const reason = rootOf(cause)
  if (UNTRUSTED.test(reason.code)) return ' (--ca FILE)'
  // A certificate, and plain http, are for a registry only, never where its answers lead.
  if (host !== registry || reason.isProxy) return ''
  if (reason.code === NOT_TLS) return ` (--http ${registry})`
  return reason.names.has('ClientCertificateError')
    ? ` (--client-cert ${registry}=CERTFILE,KEYFILE)`
    : ''
}

interface Reason {
  /** That Node gave what lies at the bottom. */
  readonly code: string
  /** Of all errors above it. */
  readonly names: ReadonlySet<string>
  /** It was a proxy that failed. */
  readonly isProxy: boolean
}

function rootOf(cause: unknown): Reason {
  const names = new Set<string>()
  let code = ''
  let isProxy = false
  for (let error = cause; error instanceof Error; error = error.cause) {
    names.add(error.name)
    if ('code' in error) code = String(error.code)
    if ('proxy' in error) isProxy ||= error.proxy === true
  }
  return { code, names, isProxy }
}
