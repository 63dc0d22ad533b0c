import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { createServer } from 'node:tls'
import { bundleOf } from '../../../certs/identity.ts'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { readCertificate } from '../../../certs/pem.ts'
import { secretOf } from '../../../certs/secret.ts'
import { secretName, servingNames } from '../../../certs/secret-source.ts'
import { configurations, webhookName } from '../../../certs/trusted-bundle.ts'
import { parseCertsArguments } from '../../../src/cli/certs/arguments.ts'
import { reportOnCertificate } from '../../../src/cli/certs/show.ts'
import { certsText } from '../../../src/cli/certs/text.ts'
import { certs } from '../../../src/cli/certs.ts'
import { UsageError } from '../../../src/cli/errors.ts'
import type { Invocation } from '../../../src/cli/invocation.ts'
import { defaultSettings } from '../../../src/config/leaves.ts'
import { FakeKube, type FakeObject } from '../../support/fake-kube.ts'

const { namespace } = defaultSettings
const { signal } = new AbortController()
const names = servingNames({ ...defaultSettings.admission, namespace })

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-certs-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

async function call(...argv: readonly string[]) {
  const printed: string[] = []
  const complaints: string[] = []
  const invocation: Invocation = {
    argv,
    env: {},
    readFile: () => assert.fail('no file is read'),
    readInput: () => assert.fail('no input is read'),
    print: (text) => printed.push(text),
    complain: (text) => complaints.push(text),
    program: '',
    version: '0',
    onCrash: () => assert.fail('nothing is left uncaught'),
    signal,
  }
  const code = await certs(invocation)
  return { code, printed: printed.join('\n'), complaints: complaints.join('\n') }
}

describe('kip certs issue', () => {
  test('makes an authority once, and a certificate of it each time', async (t) => {
    const folder = await folderOf(t)
    const read = (file: string) => readFile(join(folder, file), 'utf8')
    const first = await call('issue', '--out', folder, '--namespace', 'elsewhere')
    assert.equal(first.code, 0)
    assert.match(first.printed, /kubectl -n elsewhere create secret generic kip-webhook-certs /)
    assert.doesNotMatch(first.printed, /from-file=\S*ca\.key/)
    const [authority, before] = [await read('ca.crt'), await read('tls.crt')]
    const leaf = readCertificate(before, 'tls.crt')
    assert.ok(leaf.checkHost('kip-webhook.elsewhere.svc'))
    assert.ok(leaf.verify(readCertificate(authority, 'ca.crt').publicKey))
    for (const key of ['tls.key', 'ca.key']) {
      assert.equal((await stat(join(folder, key))).mode & 0o777, 0o600)
    }
    const again = await call('issue', '--out', folder, '--name', '10.0.0.1', '--days', '7')
    assert.equal(again.code, 0)
    assert.equal(await read('ca.crt'), authority)
    const other = readCertificate(await read('tls.crt'), 'tls.crt')
    assert.ok(other.checkIP('10.0.0.1'))
    assert.ok(other.validToDate.getTime() < Date.now() + 8 * 86_400_000)
  })

  test('half an authority is not made up for', async (t) => {
    const folder = await folderOf(t)
    await writeFile(join(folder, 'ca.crt'), 'x')
    const { code, complaints } = await call('issue', '--out', folder)
    assert.equal(code, 1)
    assert.match(complaints, /half an authority, no ca\.key/)
  })

  test('a folder that cannot take all files gets none of them', async (t) => {
    const folder = await folderOf(t)
    // In the place of the last file that is written.
    await mkdir(join(folder, 'tls.crt.new'))
    const { code, complaints } = await call('issue', '--out', folder)
    assert.deepEqual(
      [code, complaints],
      [1, `kip certs: ${folder}/tls.crt cannot be written (EISDIR)`],
    )
    assert.deepEqual(await readdir(folder), ['tls.crt.new'])
    await rmdir(join(folder, 'tls.crt.new'))
    assert.equal((await call('issue', '--out', folder)).code, 0)
    assert.deepEqual((await readdir(folder)).sort(), ['ca.crt', 'ca.key', 'tls.crt', 'tls.key'])
  })

  test('what lies where a key is written first opens the key to nobody', async (t) => {
    const folder = await folderOf(t)
    await writeFile(join(folder, 'tls.key.new'), '', { mode: 0o644 })
    assert.equal((await call('issue', '--out', folder)).code, 0)
    assert.equal((await stat(join(folder, 'tls.key'))).mode & 0o777, 0o600)
  })

  test('a folder is made with those above it', async (t) => {
    const folder = join(await folderOf(t), 'made', 'on', 'the', 'way')
    assert.equal((await call('issue', '--out', folder)).code, 0)
    assert.equal((await stat(folder)).mode & 0o777, 0o700)
  })

  const places = { '/proc/x/y': /cannot be made \(ENOENT\)/, '/dev/null/x': /\(ENOTDIR\)/ }
  for (const [place, said] of Object.entries(places)) {
    test(`a folder that cannot be made is named: ${place}`, { timeout: 10_000 }, async () => {
      const { code, complaints } = await call('issue', '--out', place)
      assert.equal(code, 1)
      assert.match(complaints, said)
    })
  }

  test('arguments that do not fit are told, all at once', async () => {
    const faulty = ['shew', '--output', 'xml', '--connect', 'x', '--days', '0', '--out', '']
    assert.throws(
      () => parseCertsArguments(faulty),
      (error) => error instanceof UsageError && error.faults.length === 4,
    )
    const { code, complaints } = await call('issue')
    assert.equal(code, 2)
    assert.match(complaints, /--out: name a folder/)
    assert.equal((await call('--namespace', 'NOT-A-NAME')).code, 2)
    assert.match((await call('--help')).printed, /Usage: kip certs/)
  })
})

describe('kip certs', () => {
  async function setUp(t: TestContext) {
    const kube = await new FakeKube().start()
    const client = kube.client()
    t.after(async () => {
      await client.close()
      await kube.stop()
    })
    const now = Date.now()
    const context = { now, lifetimes: defaultLifetimes, names }
    const signer = await issueAuthority(context)
    const own = { signer, retired: [], serving: await issueServing(signer, context) }
    const secrets = { group: '', version: 'v1', plural: 'secrets', namespace }
    const store = (): void => {
      kube.put(secrets, secretOf(own, { namespace, name: secretName }) as FakeObject)
    }
    const trust = (bundle: string): void => {
      const webhooks = [{ name: webhookName, clientConfig: { caBundle: btoa(bundle) } }]
      kube.put(configurations, { metadata: { name: 'kip' }, webhooks })
    }
    const report = (more: { connect?: string; certificate?: 'own' | 'secret' } = {}) => {
      const { certificate = 'own', connect } = more
      const admission = { ...defaultSettings.admission, certificate }
      const settings = { namespace, admission }
      return reportOnCertificate({ settings, client, connect, now, signal })
    }
    return { kube, own, store, trust, report }
  }

  test('shows what is in the Secret, and whether API servers trust it', async (t) => {
    const { own, store, trust, report } = await setUp(t)
    await assert.rejects(report(), { message: /kip-webhook-certs is missing or empty/ })
    store()
    assert.equal((await report()).registered, 'no')
    trust(bundleOf(own))
    const good = await report()
    assert.deepEqual([good.keptBy, good.registered, good.faults], ['kip', 'yes', []])
    const text = certsText(good)
    assert.match(text, /^secret k8s-image-puller\/kip-webhook-certs: kip makes and replaces it/)
    assert.match(text, /served +kip-webhook\.k8s-image-puller\.svc,/)
    assert.match(text, /signs what is served/)
    assert.match(text, /nothing is wrong$/)
    trust((await issueAuthority({ now: Date.now(), lifetimes: defaultLifetimes })).certificate)
    assert.match(certsText(await report()), /WRONG: the webhook configuration does not trust/)
    assert.equal((await report({ certificate: 'secret' })).keptBy, 'others')
  })

  test('without the right to read the configuration it says so', async (t) => {
    const { kube, store, report } = await setUp(t)
    store()
    kube.fault = ({ path }) =>
      path.includes('webhook') && !path.includes('secrets') ? { status: 403 } : undefined
    const { registered, faults } = await report()
    assert.deepEqual([registered, faults], ['unknown', []])
  })

  test('asks a server what it serves', async (t) => {
    const { own, store, report } = await setUp(t)
    store()
    const { certificate: cert, key } = own.serving
    const server = createServer({ cert, key }, (socket) => socket.on('error', () => {}))
    t.after(() => server.close())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    assert.ok(typeof address === 'object' && address !== null)
    const connect = `127.0.0.1:${address.port}`
    assert.deepEqual((await report({ connect })).faults, [])
    const context = { now: Date.now(), lifetimes: defaultLifetimes, names }
    const other = await issueServing(own.signer, context)
    server.setSecureContext({ cert: other.certificate, key: other.key })
    assert.match((await report({ connect })).faults.join(), /serves another certificate, SHA-256/)
  })
})
