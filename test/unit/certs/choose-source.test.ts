import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { createCertificateSource } from '../../../certs/choose-source.ts'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { secretName } from '../../../certs/secret-source.ts'
import { defaultSettings } from '../../../src/config/leaves.ts'
import type { AdmissionSettings } from '../../../src/config/settings.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { FakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'

const { namespace } = defaultSettings
const place = { group: '', version: 'v1', plural: 'secrets', namespace }
const { signal } = new AbortController()

async function setUp(t: TestContext, admission: Partial<AdmissionSettings>) {
  const kube = await new FakeKube().start()
  const client = kube.client()
  t.after(async () => {
    await client.close()
    await kube.stop()
  })
  const settings = { namespace, admission: { ...defaultSettings.admission, ...admission } }
  const metrics = createMetrics({ processMetrics: false })
  const source = createCertificateSource({ settings, client, log: silentLog(), metrics })
  const writes = () => kube.requests.filter(({ method }) => method !== 'GET').length
  return { kube, source, writes }
}

async function issued() {
  const context = { now: Date.now(), lifetimes: defaultLifetimes, names: ['webhook.example'] }
  const authority = await issueAuthority(context)
  return { authority, pair: await issueServing(authority, context) }
}

function put(kube: FakeKube, data: Readonly<Record<string, string>>): void {
  const encoded = Object.entries(data).map(([key, text]) => [key, btoa(text)])
  kube.put(place, {
    metadata: { name: secretName, namespace },
    data: Object.fromEntries(encoded),
  })
}

describe('the certificate comes from where the settings say', () => {
  test('own: kip makes it, in its Secret', async (t) => {
    const { source, writes, kube } = await setUp(t, {})
    await source.refresh(signal)
    assert.equal(writes(), 1)
    assert.ok(kube.store.get('/v1/secrets', `${namespace}/${secretName}`))
  })

  test('secret: it is waited for, served as it is, and never written', async (t) => {
    const { source, writes, kube } = await setUp(t, { certificate: 'secret' })
    await assert.rejects(source.refresh(signal), { message: /missing or empty: fill it/ })
    put(kube, { 'tls.crt': '', 'tls.key': '' })
    await assert.rejects(source.refresh(signal), { message: /missing or empty: fill it/ })
    const { pair, authority } = await issued()
    // The key of an authority is left from when kip filled it: it belongs to nothing any more.
    put(kube, {
      'tls.crt': pair.certificate,
      'tls.key': pair.key,
      'ca.crt': authority.certificate,
      'ca.key': (await issued()).authority.key,
    })
    await source.refresh(signal)
    assert.equal(source.current()?.certificate, pair.certificate)
    assert.equal(source.current()?.bundle, authority.certificate)
    assert.equal(writes(), 0)
  })

  test('files: it is read from the folder, and the API server is not asked', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'kip-certs-'))
    t.after(() => rm(folder, { recursive: true }))
    const { source, kube } = await setUp(t, { certificate: 'files', certificateFolder: folder })
    const { pair } = await issued()
    await writeFile(join(folder, 'tls.crt'), pair.certificate)
    await writeFile(join(folder, 'tls.key'), pair.key)
    await source.refresh(signal)
    assert.equal(source.current()?.certificate, pair.certificate)
    assert.equal(kube.requests.length, 0)
  })
})
