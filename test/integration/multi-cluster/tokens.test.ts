import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { clientCredentials } from '../../../src/kube/client-credentials.ts'
import { type Authority, openAuthority } from '../../cluster/pki.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../../support/openid-provider.ts'

describe('tokens by client credentials', () => {
  let folder: string
  let authority: Authority

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-tokens-'))
    authority = await openAuthority(folder)
  })
  after(() => rm(folder, { recursive: true }))

  const source = (provider: OpenIdProvider, more: { now?: () => number; secret?: string } = {}) =>
    clientCredentials({
      url: `${provider.issuer}/token`,
      clientId: provider.clientId,
      clientSecret: more.secret ?? provider.clientSecret,
      ca: authority.certificate,
      ...(more.now && { now: more.now }),
    })

  for (const authMethod of ['client_secret_post', 'client_secret_basic'] as const) {
    it(`come from a provider that wants ${authMethod}, once for all who ask, anew before they end`, async () => {
      const provider = await startOpenIdProvider({ authority, tokenSeconds: 100, authMethod })
      let time = 0
      const tokens = source(provider, { now: () => time })
      try {
        const [first, second] = await Promise.all([tokens.token(), tokens.token()])
        assert.equal(first, second)
        assert.equal(provider.given(), 1)
        time = 79_000
        assert.equal(await tokens.token(), first)
        time = 81_000
        const next = await tokens.token()
        assert.notEqual(next, first)
        assert.notEqual(await tokens.token(next), next, 'a refused one is not kept')
        assert.equal(provider.given(), 3)
      } finally {
        await tokens.close()
        await provider.close()
      }
    })
  }

  it('last while the provider is away, and no longer', async () => {
    const provider = await startOpenIdProvider({
      authority,
      tokenSeconds: 100,
      authMethod: 'client_secret_post',
    })
    let time = 0
    const tokens = source(provider, { now: () => time })
    try {
      const first = await tokens.token()
      await provider.close()
      time = 90_000
      assert.equal(await tokens.token(), first)
      time = 101_000
      await assert.rejects(tokens.token(), { code: 'KIP_KUBE_CONFIG' })
    } finally {
      await tokens.close()
    }
  })

  it('are refused to a wrong secret, which is not repeated', async () => {
    const provider = await startOpenIdProvider({
      authority,
      tokenSeconds: 100,
      authMethod: 'client_secret_post',
    })
    const tokens = source(provider, { secret: 'wr0ng' })
    try {
      await assert.rejects(tokens.token(), (error: Error) => {
        assert.match(error.message, /\/token: no token: 401 invalid_client$/)
        assert.ok(!error.message.includes('wr0ng'))
        return true
      })
    } finally {
      await tokens.close()
      await provider.close()
    }
  })
})
