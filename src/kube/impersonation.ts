import { rootCertificates } from 'node:tls'
import type { ClusterAccess, Credentials } from './access.ts'
import type { TokenSource } from './client-credentials.ts'

export interface ImpersonationOptions {
  /** API server, or a proxy that leads each user to the user's cluster; https. */
  readonly server: string
  readonly namespace: string
  readonly user: string
  readonly tokens: TokenSource
  /** PEM certificates that are trusted besides the public ones; empty: none. */
  readonly ca: string
}

/** Access with a token of one's own in the name of somebody else. */
export function impersonatedAccess(options: ImpersonationOptions): ClusterAccess {
  const { server, namespace, user, tokens, ca } = options
  const tls = ca === '' ? {} : { ca: [...rootCertificates, ca].join('\n') }
  let current: { readonly token: string; readonly credentials: Credentials } | undefined
  return {
    server,
    namespace,
    async credentials(refused) {
      const isRefused = refused !== undefined && refused === current?.credentials
      const token = await tokens.token(isRefused ? current?.token : undefined)
      if (current?.token !== token) {
        const headers = { authorization: `Bearer ${token}`, 'impersonate-user': user }
        current = { token, credentials: { headers, tls } }
      }
      return current.credentials
    },
  }
}
