import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { after, describe, test } from 'node:test'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { readCertificates } from '../../../certs/pem.ts'
import { createSecretSource, servingNames } from '../../../certs/secret-source.ts'
import type { CertificateSource } from '../../../certs/source.ts'
import type { Secret } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { FakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const day = 86_400_000
const start = Date.UTC(2027, 0, 1)
const secrets = { group: '', version: 'v1', plural: 'secrets', namespace: 'k8s-image-puller' }
const name = 'kip-webhook-certs'
const { signal } = new AbortController()
const cleanUps: (() => Promise<void>)[] = []
after(async () => {
  for (const cleanUp of cleanUps) await cleanUp()
})

async function fakeKube(): Promise<FakeKube> {
  const kube = await new FakeKube().start()
  cleanUps.push(() => kube.stop())
  return kube
}

function replica(kube: FakeKube, clock = new ManualClock(), url = '') {
  const client = kube.client()
  cleanUps.unshift(() => client.close())
  const log = silentLog()
  const metrics = createMetrics({ processMetrics: false })
  const source = createSecretSource({
    client,
    namespace: 'k8s-image-puller',
    names: servingNames({ service: 'kip-webhook', namespace: 'k8s-image-puller', url }),
    log,
    metrics,
    clock,
    now: () => start + clock.now(),
  })
  return { kube, clock, log, metrics, source }
}

async function setUp() {
  return replica(await fakeKube())
}

function writes(kube: FakeKube): number {
  return kube.requests.filter(({ method }) => method !== 'GET').length
}

function secretIn(kube: FakeKube): Secret {
  return kube.store.get('/v1/secrets', `k8s-image-puller/${name}`) as Secret
}

function servedBy(source: CertificateSource): string {
  return new X509Certificate(source.current()?.certificate ?? '').fingerprint256
}

function authorities(source: CertificateSource): number {
  return readCertificates(source.current()?.bundle ?? '', 'bundle').length
}

function edit(kube: FakeKube, changes: Partial<Secret>): void {
  const previous = secretIn(kube) as Secret | undefined
  kube.put(secrets, { metadata: { name, namespace: secrets.namespace }, ...previous, ...changes })
}

function remove(kube: FakeKube): void {
  kube.store.delete('/v1/secrets', `k8s-image-puller/${name}`)
}

describe('the identity in a Secret', () => {
  test('who comes first makes it; who comes later reads it', async () => {
    const { kube, source } = await setUp()
    assert.equal(source.current(), undefined)
    await source.refresh(signal)
    await source.loaded
    const second = replica(kube).source
    await second.refresh(signal)
    assert.equal(servedBy(second), servedBy(source))
    assert.equal(writes(kube), 1)
    const leaf = new X509Certificate(source.current()?.certificate ?? '')
    assert.ok(leaf.checkHost('kip-webhook.k8s-image-puller.svc'))
    assert.ok(leaf.checkHost('kip-webhook.k8s-image-puller.svc.cluster.local'))
  })

  test('ten replicas at once end with one identity', async () => {
    const kube = await fakeKube()
    const sources = Array.from({ length: 10 }, () => replica(kube).source)
    await Promise.all(sources.map((source) => source.refresh(signal)))
    assert.equal(new Set(sources.map(servedBy)).size, 1)
    assert.ok(writes(kube) > 1, 'they did race')
  })

  test('replicas that replace it at once end with one identity', async () => {
    const kube = await fakeKube()
    const clock = new ManualClock()
    const sources = [replica(kube, clock).source, replica(kube, clock).source]
    for (const source of sources) await source.refresh(signal)
    const [before] = sources.map(servedBy)
    clock.advance(60 * day)
    await Promise.all(sources.map((source) => source.refresh(signal)))
    assert.equal(new Set(sources.map(servedBy)).size, 1)
    assert.notEqual(servedBy(sources[0] ?? assert.fail()), before)
  })

  test('replicas that are called by different names end with one identity for all of them', async () => {
    const kube = await fakeKube()
    const hosts = ['before.example', 'after.example']
    const sources = hosts.map((host) => replica(kube, undefined, `https://${host}`).source)
    for (let round = 0; round < 5; round++) {
      for (const source of sources) await source.refresh(signal)
    }
    assert.equal(new Set(sources.map(servedBy)).size, 1)
    assert.equal(writes(kube), 2)
    const leaf = new X509Certificate(sources[0]?.current()?.certificate ?? '')
    for (const host of [...hosts, 'kip-webhook.k8s-image-puller.svc']) {
      assert.ok(leaf.checkHost(host), host)
    }
  })

  test('an unchanged Secret is neither written nor told of again', async () => {
    const { kube, source } = await setUp()
    let told = 0
    source.onChange(() => told++)
    for (let i = 0; i < 3; i++) await source.refresh(signal)
    assert.equal(told, 1)
    assert.equal(writes(kube), 1)
  })

  test('an empty Secret is filled, and what else stands on it is kept', async () => {
    const { kube, source } = await setUp()
    const metadata = {
      name,
      namespace: secrets.namespace,
      annotations: { a: 'b' },
      labels: { c: 'd' },
    }
    edit(kube, { metadata, type: 'Opaque' })
    await source.refresh(signal)
    const secret = secretIn(kube)
    assert.equal(secret.type, 'Opaque')
    assert.deepEqual(secret.metadata?.annotations, { a: 'b' })
    assert.equal(secret.metadata?.labels?.c, 'd')
  })

  test('a deleted Secret comes back with the same identity', async () => {
    const { kube, source } = await setUp()
    await source.refresh(signal)
    const before = source.current()
    remove(kube)
    await source.refresh(signal)
    assert.deepEqual(source.current(), before)
    assert.ok(secretIn(kube))
  })

  for (const key of ['tls.crt', 'tls.key', 'ca.crt', 'ca.key']) {
    test(`a damaged ${key} is written again from memory; a newcomer waits for that`, async () => {
      const { kube, source, log } = await setUp()
      await source.refresh(signal)
      const before = servedBy(source)
      const { data } = secretIn(kube)
      edit(kube, { data: { ...data, [key]: Buffer.from('garbage').toString('base64') } })

      const newcomer = replica(kube)
      await assert.rejects(
        newcomer.source.refresh(signal),
        /of secret k8s-image-puller\/kip-webhook/,
      )
      assert.equal(newcomer.source.current(), undefined)

      await source.refresh(signal)
      assert.equal(servedBy(source), before)
      assert.ok(log.lines.some(({ level }) => level === 'warn'))
      await newcomer.source.refresh(signal)
      assert.equal(servedBy(newcomer.source), before)
    })
  }

  test('a pair that somebody else provides is served, never written', async () => {
    const { kube, source, clock } = await setUp()
    const context = { now: start, lifetimes: defaultLifetimes, names: ['webhook.example'] }
    const ca = await issueAuthority(context)
    const pair = await issueServing(ca, context)
    const base64 = (text: string): string => Buffer.from(text).toString('base64')
    const data = {
      'tls.crt': base64(pair.certificate),
      'tls.key': base64(pair.key),
      'ca.crt': base64(ca.certificate),
    }
    edit(kube, { data })
    await source.refresh(signal)
    assert.equal(source.current()?.bundle, ca.certificate.trim())
    clock.advance(80 * day)
    await source.refresh(signal)
    remove(kube)
    await assert.rejects(source.refresh(signal), { code: 'KIP_CERTS_INVALID' })
    assert.ok(source.current())
    assert.equal(writes(kube), 0)
  })

  test('an API server that does not answer costs nothing that is held; the log hears it once', async () => {
    const { kube, source, log, metrics } = await setUp()
    await source.refresh(signal)
    const before = source.current()
    kube.fault = () => ({ status: 503, reason: 'ServiceUnavailable' })
    for (let i = 0; i < 3; i++) await assert.rejects(source.refresh(signal), { status: 503 })
    assert.equal(source.current(), before)
    assert.equal(log.lines.filter(({ level }) => level === 'warn').length, 1)
    assert.match(await metrics.render(), /kip_certificate_reads_total\{result="error"\} 3/)
  })

  test('no private key reaches the log', async () => {
    const { kube, source, log } = await setUp()
    await source.refresh(signal)
    const { data } = secretIn(kube)
    edit(kube, {
      data: { ...data, 'tls.key': Buffer.from('-----BEGIN PRIVATE KEY-----x').toString('base64') },
    })
    await source.refresh(signal)
    assert.ok(log.lines.length > 0)
    assert.doesNotMatch(JSON.stringify(log.lines), /PRIVATE KEY/)
  })
})

describe('a change of authority, seen by two replicas', () => {
  test('the new one signs only 60 s after its bundle was read back; the old one stays trusted', async () => {
    const kube = await fakeKube()
    const clock = new ManualClock()
    const leader = replica(kube, clock).source
    const other = replica(kube, clock).source
    for (const at of [0, 50, 100, 150, 200]) {
      clock.advance(at * day - clock.now())
      await leader.refresh(signal)
    }
    const old = servedBy(leader)
    clock.advance(20 * day)
    await other.refresh(signal)
    await leader.refresh(signal)
    assert.equal(authorities(leader), 2)
    assert.equal(servedBy(leader), old)

    clock.advance(10 * day)
    await leader.refresh(signal)
    assert.equal(servedBy(leader), old, 'nobody read the bundle back')

    leader.trusted(leader.current()?.bundle ?? '')
    clock.advance(59_000)
    leader.trusted(leader.current()?.bundle ?? '')
    await leader.refresh(signal)
    await other.refresh(signal)
    assert.equal(servedBy(leader), old)

    clock.advance(1_000)
    await leader.refresh(signal)
    assert.notEqual(servedBy(leader), old)
    assert.equal(servedBy(other), old, 'a replica may still serve the old one')
    assert.equal(authorities(leader), 2)
    await other.refresh(signal)
    assert.equal(servedBy(other), servedBy(leader))

    clock.advance(day)
    await other.refresh(signal)
    assert.equal(authorities(other), 1)
  })

  test('a bundle without the new authority, read back later, takes the trust away', async () => {
    const { clock, source } = await setUp()
    await source.refresh(signal)
    const first = source.current()?.bundle ?? ''
    for (const at of [50, 100, 150, 200, 220]) {
      clock.advance(at * day - clock.now())
      await source.refresh(signal)
    }
    const old = servedBy(source)
    source.trusted(source.current()?.bundle ?? '')
    clock.advance(30_000)
    source.trusted(first)
    clock.advance(40_000)
    await source.refresh(signal)
    assert.equal(servedBy(source), old)
  })
})

test('run reads every ten seconds and stops with the signal', async () => {
  const { kube, clock, source } = await setUp()
  const stop = new AbortController()
  const running = source.run(stop.signal)
  await source.loaded
  const reads = (): number => kube.requests.filter(({ method }) => method === 'GET').length
  for (let expected = 2; expected < 5; expected++) {
    await waitUntil('the source waits', () => clock.pending > 0)
    clock.advance(10_000)
    await waitUntil(`read ${expected}`, () => reads() >= expected)
  }
  stop.abort()
  await running
  assert.equal(clock.pending, 0)
})

test('names are those of the Service and of the URL', () => {
  const service = { service: 'kip-webhook', namespace: 'ns' }
  assert.deepEqual(servingNames({ ...service, url: 'https://[fd00::1]:8443/x' }).at(-1), 'fd00::1')
  assert.deepEqual(servingNames({ ...service, url: 'https://kip.example/x' }).at(-1), 'kip.example')
  assert.deepEqual(servingNames(service), [
    'kip-webhook.ns.svc',
    'kip-webhook.ns.svc.cluster.local',
    'kip-webhook.ns',
  ])
})
