import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import {
  createRegistryClient,
  type RegistryClientOptions,
  RegistryError,
  resolveDigest,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'

describe('a fault of TLS says what to do about it', () => {
  const lifetimes = defaultLifetimes
  let ca: string
  let sound: { cert: string; key: string; ca: string }
  let expired: { cert: string; key: string; ca: string }

  before(async () => {
    const now = Date.now()
    const authority = await issueAuthority({ now: now - lifetimes.servingMs * 2, lifetimes })
    ca = authority.certificate
    const identity = async (at: number) => {
      const pair = await issueServing(authority, { now: at, lifetimes, names: ['localhost'] })
      return { cert: pair.certificate, key: pair.key, ca }
    }
    sound = await identity(now)
    expired = await identity(now - lifetimes.servingMs * 2)
  })

  async function faultAt(registry: string, options: RegistryClientOptions): Promise<RegistryError> {
    const client = createRegistryClient(options)
    try {
      await resolveDigest(client, { registry, repository: 'a/b', tag: 'v1' })
    } catch (error) {
      assert.ok(error instanceof RegistryError, String(error))
      assert.deepEqual([error.code, error.retryable], ['COPY_TLS', false], error.message)
      return error
    } finally {
      await client.close()
    }
    return assert.fail('nothing was wrong')
  }

  test('an authority that is not trusted is asked for, not plain http', async () => {
    await using registry = await FakeRegistry.start({ tls: sound })
    const host = `localhost:${registry.port}`
    const { message } = await faultAt(host, {})
    assert.ok(
      message.endsWith(`not from an authority that is trusted here; give the CA of ${host}`),
    )
  })

  test('a certificate that expired is no reason for an authority, nor for plain http', async () => {
    await using registry = await FakeRegistry.start({ tls: expired })
    const { message } = await faultAt(`localhost:${registry.port}`, { ca })
    assert.match(message, /certificate has expired; renew it there, or set the clock here$/)
  })

  test('a certificate of another name is no reason for an authority, nor for plain http', async () => {
    await using registry = await FakeRegistry.start({ tls: sound })
    const { message } = await faultAt(registry.host, { ca })
    assert.match(message, /127\.0\.0\.1 is not in the cert's list.*; use a name that it has$/)
  })

  test('a proxy that does not speak TLS is not taken for the registry', async () => {
    await using proxy = await FakeRegistry.start()
    const { message } = await faultAt('registry.test', { proxy: () => `https://${proxy.host}` })
    const said = `${proxy.host}: what it answers is not TLS; write http:// in the proxy's URL, `
    assert.ok(message.includes(said), message)
  })

  test('what is not TLS is told as such, with the host that http may be allowed for', async () => {
    await using registry = await FakeRegistry.start()
    const { message } = await faultAt(registry.host, {})
    const said = `what it answers is not TLS; allow plain http for ${registry.host}, if `
    assert.ok(message.includes(said), message)
  })
})
