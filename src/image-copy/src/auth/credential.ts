import { cryptoModule } from '../crypto-module.ts'

/** Who to be at a registry. */
export type Credential =
  | { readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, as `docker login` stores it for registries that issue one. */
  | { readonly identityToken: string }
  /** A bearer token for the registry itself, sent as it is. */
  | { readonly registryToken: string }

/** Gives the credentials to try at a registry for a repository, best first. None: anonymous. */
export type CredentialSource = (host: string, repository: string) => Promise<readonly Credential[]>

/** Names an identity without keeping its secret, so that no token is ever reused under another. */
export function identityKey(credential: Credential | undefined, salt: Uint8Array): string {
  if (credential === undefined) return 'anonymous'
  return cryptoModule()
    .createHmac('sha256', salt)
    .update(JSON.stringify(credential))
    .digest('base64url')
}

/** Value of an Authorization header that shows the credential itself. */
export function basicAuthorization(credential: Credential): string | undefined {
  if (!('username' in credential)) return undefined
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`
}
