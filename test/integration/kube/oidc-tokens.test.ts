import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type OidcConfig, oidcTokens } from '../../../src/kube/oidc-tokens.ts'
import { type Authority, openAuthority } from '../../cluster/pki.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../../support/openid-provider.ts'

const tokenSeconds = 3600

describe("tokens of a kubeconfig's OIDC login", () => {
  let folder: string
  let authority: Authority

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-oidc-'))
    authority = await openAuthority(folder)
  })
  after(() => rm(folder, { recursive: true }))

  const ended = `x.${Buffer.from(JSON.stringify({ exp: 1 })).toString('base64url')}.x`
  const configOf = (provider: OpenIdProvider, refreshToken: string): OidcConfig => ({
    'client-id': provider.audience,
    'client-secret': provider.clientSecret,
    'id-token': ended,
    'idp-issuer-url': provider.issuer,
    'idp-certificate-authority': authority.certificateFile,
    'refresh-token': refreshToken,
  })
  const claimsOf = (token: string): { sub?: string; aud?: string; exp?: number } =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

  for (const rotate of [false, true])
    it(`are refreshed when they end, ${rotate ? 'by the refresh token that came last' : 'by the same refresh token'}`, async () => {
      const authMethod = rotate ? 'client_secret_basic' : 'client_secret_post'
      const provider = await startOpenIdProvider({ authority, tokenSeconds, authMethod, rotate })
      try {
        let time = Date.now()
        const config = configOf(provider, await provider.login('alice'))
        const tokens = oidcTokens(config, 'config', () => time)
        const [first, same] = await Promise.all([tokens.token(), tokens.token()])
        assert.equal(first, same)
        assert.equal(provider.given(), 1, 'once for all who ask')
        assert.equal(claimsOf(first).sub, 'alice')
        assert.equal(claimsOf(first).aud, provider.audience)
        assert.equal(await tokens.token(), first)
        time += (tokenSeconds - 60) * 1000
        await tokens.token()
        assert.equal(provider.given(), 2, 'before it ends')
        time = Date.now()
        const third = await tokens.token()
        assert.equal(provider.given(), 2)
        await tokens.token(third)
        assert.equal(provider.given(), 3, 'a refused one is not given again')
      } finally {
        await provider.close()
      }
    })

  it('say what is missing, and why the provider refused, without the secret', async () => {
    const provider = await startOpenIdProvider({
      ...{ authority, tokenSeconds, authMethod: 'client_secret_post' },
    })
    try {
      const config = configOf(provider, 'sp3nt')
      await assert.rejects(oidcTokens({ ...config, 'refresh-token': '' }, 'my config').token(), {
        name: 'KubeConfigError',
        message: /my config: .* refresh-token would be needed; log in again/,
      })
      await assert.rejects(oidcTokens(config, 'my config').token(), (error: Error) => {
        assert.match(error.message, /\/token: no token: 400 invalid_grant$/)
        return !error.message.includes('sp3nt') && !error.message.includes(provider.clientSecret)
      })
      const untrusting = { ...config, 'idp-certificate-authority': '' }
      await assert.rejects(
        oidcTokens(untrusting, 'my config').token(),
        /unable to verify|self.signed/,
      )
    } finally {
      await provider.close()
    }
  })
})
