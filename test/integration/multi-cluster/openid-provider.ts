import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'
import type { Authority } from '../../cluster/pki.ts'

export interface OpenIdProvider {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** Audience of its tokens. */
  readonly audience: string
  /** Tokens given so far. */
  given(): number
  close(): Promise<void>
}

/**
 * A real OpenID provider on this machine's loopback, TLS, which gives one client signed tokens.
 *
 * @param options.authMethod how the client is to prove itself
 */
export async function startOpenIdProvider(options: {
  readonly authority: Authority
  readonly tokenSeconds: number
  readonly authMethod: 'client_secret_post' | 'client_secret_basic'
}): Promise<OpenIdProvider> {
  const { authority, tokenSeconds, authMethod } = options
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
    ],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:kubernetes',
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
  provider.on('client_credentials.issued', () => {
    given += 1
  })
  server.on('request', provider.callback())
  return {
    issuer,
    clientId,
    clientSecret,
    audience,
    given: () => given,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
