import { readFile } from 'node:fs/promises'
import type { TokenSource } from './client-credentials.ts'
import { KubeConfigError } from './errors.ts'
import { findTokenEndpoint, providerAgent, requestToken } from './token-endpoint.ts'

/** What a kubeconfig says under `auth-provider` of a user whose tokens come from an OpenID provider. */
export type OidcConfig = Readonly<Partial<Record<string, string>>>

/** So long before its end a token is replaced: kubectl's 10 s, and the minute for which a kubeconfig's credentials are kept. */
const earlyMs = 70_000

/**
 * The ID token of a kubeconfig's `auth-provider: oidc`, and when it ends or is refused another one for the refresh token.
 *
 * The library's way knows no client secret and no certificate authority of the provider's own, and loses a refresh token that the
 * provider does not give anew. Nothing is written back: a provider that lets a refresh token be used once wants another login when
 * this process has ended.
 *
 * @param name - of the kubeconfig, for errors
 * @param now - milliseconds since 1970. Default `Date.now`
 * @see https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-kubectl
 */
export function oidcTokens(
  config: OidcConfig,
  name: string,
  now: () => number = Date.now,
): Pick<TokenSource, 'token'> {
  let idToken = config['id-token'] ?? ''
  let refreshToken = config['refresh-token'] ?? ''
  let refreshing: Promise<string> | undefined

  async function refresh(): Promise<string> {
    const { 'idp-issuer-url': issuer = '', 'client-id': clientId = '' } = config
    const { 'client-secret': clientSecret = '' } = config
    const needed = {
      'idp-issuer-url': issuer,
      'client-id': clientId,
      'refresh-token': refreshToken,
    }
    const missing = Object.entries(needed).flatMap(([key, value]) => (value === '' ? key : []))
    if (missing.length > 0)
      throw new KubeConfigError(
        `kubeconfig ${name}: the OIDC token has ended or was refused, and for another ${missing.join(' and ')} would be needed; log in again`,
      )
    const agent = providerAgent(await authorityOf(config))
    try {
      const url = await findTokenEndpoint(agent, issuer)
      const grant = { grant_type: 'refresh_token', refresh_token: refreshToken }
      const answer = await requestToken(agent, url, { clientId, clientSecret }, grant)
      if (typeof answer.id_token !== 'string')
        throw new KubeConfigError(
          `POST ${url}: the answer holds no id_token; log in with the scope openid`,
        )
      idToken = answer.id_token
      if (typeof answer.refresh_token === 'string') refreshToken = answer.refresh_token
      return idToken
    } finally {
      await agent.destroy()
    }
  }

  return {
    async token(refused) {
      if (idToken !== '' && idToken !== refused && endOf(idToken) - earlyMs > now()) return idToken
      refreshing ??= refresh().finally(() => {
        refreshing = undefined
      })
      return await refreshing
    },
  }
}

async function authorityOf(config: OidcConfig): Promise<string> {
  const data = config['idp-certificate-authority-data'] ?? ''
  if (data !== '') return Buffer.from(data, 'base64').toString()
  const file = config['idp-certificate-authority'] ?? ''
  return file === '' ? '' : await readFile(file, 'utf8')
}

/** Milliseconds since 1970 at which a token ends by its own words; 0: it has none. */
function endOf(token: string): number {
  try {
    const [, payload = ''] = token.split('.')
    const { exp }: { exp?: unknown } = JSON.parse(Buffer.from(payload, 'base64url').toString())
    return typeof exp === 'number' ? exp * 1000 : 0
  } catch {
    return 0
  }
}
