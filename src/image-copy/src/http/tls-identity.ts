import type { SecureContext } from 'node:tls'
import { cryptoModule } from '../crypto-module.ts'
import type { TlsIdentity } from './origin.ts'
import { tlsModule } from './tls-module.ts'

/** Whom to trust besides the public authorities, and who to be. PEM texts. */
export interface TlsMaterial {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

/**
 * Names a TLS configuration, and makes its context when it is first needed. Without any material it is Node's own, which
 * costs nothing to share.
 */
export function tlsIdentity({ ca, cert, key }: TlsMaterial): TlsIdentity | undefined {
  if (ca === undefined && cert === undefined && key === undefined) return undefined
  let context: SecureContext | undefined
  return {
    key: cryptoModule().hash('sha256', JSON.stringify([ca, cert, key]), 'base64url'),
    context: () => {
      const { createSecureContext, getCACertificates } = tlsModule()
      context ??= createSecureContext({
        ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
      })
      return context
    },
  }
}
