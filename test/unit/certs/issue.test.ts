import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer } from 'node:tls'
import type { ServingPair } from '../../../certs/identity.ts'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'

const names = ['kip-webhook.k8s-image-puller.svc', '127.0.0.1', 'fd00::1']
const now = Date.now()
const options = { now, lifetimes: defaultLifetimes }

test('a serving certificate is signed by its authority, for its names, back-dated', async () => {
  const authority = await issueAuthority(options)
  const pair = await issueServing(authority, { ...options, names })
  const ca = new X509Certificate(authority.certificate)
  const leaf = new X509Certificate(pair.certificate)

  assert.equal(ca.ca, true)
  assert.equal(leaf.ca, false)
  assert.equal(leaf.checkIssued(ca), true)
  assert.equal(leaf.verify(ca.publicKey), true)
  assert.equal(ca.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  assert.equal(leaf.checkHost(names[0] ?? ''), names[0])
  assert.equal(leaf.checkIP('127.0.0.1'), '127.0.0.1')
  assert.ok(leaf.checkIP('fd00::1'))
  assert.equal(leaf.checkHost('other.svc'), undefined)
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1'])
  for (const certificate of [ca, leaf]) {
    const skew = now - certificate.validFromDate.getTime()
    assert.ok(skew >= defaultLifetimes.backdateMs && skew < defaultLifetimes.backdateMs + 1000)
  }
  assert.ok(leaf.validToDate <= new Date(now + defaultLifetimes.servingMs))
})

test('a serving certificate never outlives its authority', async () => {
  const lifetimes = { ...defaultLifetimes, authorityMs: 3_600_000 }
  const authority = await issueAuthority({ now, lifetimes })
  const pair = await issueServing(authority, { now, lifetimes, names })
  assert.equal(
    new X509Certificate(pair.certificate).validTo,
    new X509Certificate(authority.certificate).validTo,
  )
})

test('a certificate without names is refused', async () => {
  const authority = await issueAuthority(options)
  await assert.rejects(issueServing(authority, { ...options, names: [] }), {
    code: 'KIP_CERTS_NAMES',
  })
})

test('a TLS client that trusts two authorities is served by either, and by no third', async () => {
  const authorities = await Promise.all([1, 2, 3].map(() => issueAuthority(options)))
  const trusted = authorities.slice(0, 2).map(({ certificate }) => certificate)
  const outcomes: string[] = []
  for (const signer of authorities) {
    outcomes.push(await handshake(await issueServing(signer, { ...options, names }), trusted))
  }
  assert.deepEqual(outcomes, ['authorized', 'authorized', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'])
})

async function handshake(pair: ServingPair, ca: string[]): Promise<string> {
  const server = createServer({ cert: pair.certificate, key: pair.key })
  server.on('tlsClientError', () => {})
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect({ host: '127.0.0.1', port, servername: names[0] ?? '', ca })
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(10_000) })
    return socket.authorized ? 'authorized' : 'not authorized'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'no code'
  } finally {
    socket.destroy()
    server.close()
  }
}
