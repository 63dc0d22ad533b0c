import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'
import type { Authority } from '../cluster/pki.ts'

export interface OpenIdProvider {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** Audience of its tokens. */
  readonly audience: string
  /** Tokens given so far. */
  given(): number
  /** A refresh token of a person who has logged in, for the client that is called as the {@link audience}. */
  login(account: string): Promise<string>
  close(): Promise<void>
}

/**
 * A real OpenID provider on this machine's loopback, TLS, which gives one client signed tokens, and another ID tokens of people.
 *
 * @param options.authMethod how the clients are to prove themselves
 * @param options.rotate whether a refresh token may be used once, and another comes with the answer
 */
export async function startOpenIdProvider(options: {
  readonly authority: Authority
  readonly tokenSeconds: number
  readonly authMethod: 'client_secret_post' | 'client_secret_basic'
  readonly rotate?: boolean
}): Promise<OpenIdProvider> {
  const { authority, tokenSeconds, authMethod, rotate = false } = options
  const identity = await authority.issue({ commonName: 'openid', hosts: ['127.0.0.1'] })
  const server = createServer({ cert: identity.certificate, key: identity.key })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const clientId = 'kip'
  const clientSecret = 'a secret: with %, + and &'
  const audience = 'kubernetes'
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: authMethod,
      },
      {
        client_id: audience,
        client_secret: clientSecret,
        grant_types: ['authorization_code', 'refresh_token'],
        redirect_uris: [`${issuer}/callback`],
        token_endpoint_auth_method: authMethod,
      },
    ],
    ttl: { IdToken: tokenSeconds },
    rotateRefreshToken: rotate,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_context: unknown, client: { readonly clientId: string }) =>
          client.clientId === clientId ? 'urn:kubernetes' : [],
        getResourceServerInfo: () => ({
          scope: '',
          audience,
          accessTokenTTL: tokenSeconds,
          accessTokenFormat: 'jwt',
        }),
      },
    },
  })
  let given = 0
  provider.on('grant.success', () => {
    given += 1
  })
  server.on('request', provider.callback())
  return {
    issuer,
    clientId,
    clientSecret,
    audience,
    given: () => given,
    login: async (accountId) => {
      const scope = 'openid offline_access'
      const grant = new provider.Grant({ accountId, clientId: audience })
      grant.addOIDCScope(scope)
      const client = await provider.Client.find(audience)
      const grantId = await grant.save()
      return await new provider.RefreshToken({ accountId, client, grantId, scope }).save()
    },
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
