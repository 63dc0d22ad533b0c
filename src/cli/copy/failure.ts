import { RegistryError } from '@containers/image-copy'
import type { Outcome } from './outcome.ts'

/** What an image came to that was not copied; of a run that was stopped, whatever its error is. */
export function outcomeOfFailure(error: unknown, signal: AbortSignal): Outcome {
  if (signal.aborted) return { status: 'stopped', code: 'KIP_STOPPED', message: reasonOf(signal) }
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'KIP_INTERNAL'
  const options = error instanceof RegistryError ? optionsFor(error) : ''
  return { status: 'failed', code, message: `${message}${options}` }
}

function reasonOf({ reason }: AbortSignal): string {
  return reason instanceof Error ? reason.message : String(reason)
}

/** The library says what to do; how that is written here is said by the command. */
function optionsFor({ code, host, registry, untrustedRealm, cause }: RegistryError): string {
  if (untrustedRealm !== undefined) return ` (--trust-realm ${untrustedRealm})`
  if (code !== 'COPY_TLS') return ''
  // A certificate, and plain http, are for a registry only, never where its answers lead.
  const own = host === registry
  if (cause instanceof Error && cause.name === 'ClientCertificateError')
    return own ? ` (--client-cert ${registry}=CERTFILE,KEYFILE)` : ''
  return own ? ` (--ca FILE or --http ${registry})` : ' (--ca FILE)'
}
