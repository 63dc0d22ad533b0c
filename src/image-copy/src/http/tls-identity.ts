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
      if (context !== undefined) return context
      const material = {
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
      }
      context = tlsModule().createSecureContext(material)
      // Besides Node's own authorities. As its option `ca`, with all of those spelt out, it takes 20 ms and 2 MiB more.
      if (ca !== undefined) context.context.addCACert(ca)
      return context
    },
  }
}
