import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { clientCredentials } from '../../../src/kube/client-credentials.ts'
import { HttpKubeClient } from '../../../src/kube/http-client.ts'
import { impersonatedAccess } from '../../../src/kube/impersonation.ts'
import { type Authority, openAuthority } from '../../cluster/pki.ts'
import { startFakeKube } from '../../support/fake-kube.ts'
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

  it('stay with the others when one user is refused and the provider is away', async () => {
    const provider = await startOpenIdProvider({
      authority,
      tokenSeconds: 100,
      authMethod: 'client_secret_post',
    })
    const kube = await startFakeKube()
    const tokens = source(provider)
    const clients = ['refused', 'other'].map((user) => {
      const access = { server: kube.url, namespace: 'default', user, tokens, ca: '' }
      return new HttpKubeClient({ access: impersonatedAccess(access) })
    })
    const [refused, other] = clients.map((client) => () => {
      const { signal } = new AbortController()
      return client.request({ method: 'GET', path: '/api/v1/nodes', signal })
    })
    kube.fault = ({ headers }) =>
      headers['impersonate-user'] === 'refused'
        ? { status: 401, reason: 'Unauthorized' }
        : undefined
    try {
      await other?.()
      await provider.close()
      await assert.rejects(async () => await refused?.(), { reason: 'Unauthorized' })
      await other?.()
      assert.equal(provider.given(), 1)
    } finally {
      await Promise.all(clients.map((client) => client.close()))
      await tokens.close()
      await kube.stop()
    }
  })

  it('are not asked for with each request of a user who is always refused', async () => {
    const provider = await startOpenIdProvider({
      authority,
      tokenSeconds: 100,
      authMethod: 'client_secret_post',
    })
    let time = 0
    const tokens = source(provider, { now: () => time })
    try {
      const first = await tokens.token()
      const [second, same] = await Promise.all([tokens.token(first), tokens.token(first)])
      assert.notEqual(second, first)
      assert.equal(same, second)
      assert.equal(await tokens.token(first), second)
      assert.equal(await tokens.token(second), second)
      time = 4_999
      assert.equal(await tokens.token(second), second)
      assert.equal(provider.given(), 2)
      time = 5_000
      assert.notEqual(await tokens.token(second), second)
      assert.equal(provider.given(), 3)
    } finally {
      await tokens.close()
      await provider.close()
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
