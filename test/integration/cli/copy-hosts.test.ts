import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { type Authority, openAuthority } from '../../cluster/pki.ts'
import { kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

/** A registry with TLS, and whom it trusts with a certificate. */
async function secureRegistry(authority: Authority, mutual = false): Promise<FakeRegistry> {
  const hosts = ['127.0.0.1']
  const { certificate: cert, key } = await authority.issue({ commonName: 'registry', hosts })
  const ca = authority.certificate
  return FakeRegistry.start({ tls: { cert, key, ca, clientCa: ca, mutual } })
}

describe('what kip copy is told of single registries', { timeout: 120_000 }, () => {
  const image = sampleImage({ layers: [noise('hosts', 3000)] })
  let folder: string
  let ours: Authority
  let theirs: Authority

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-hosts-'))
    ours = await openAuthority(join(folder, 'ours'))
    theirs = await openAuthority(join(folder, 'theirs'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  const write = async (name: string, ...texts: readonly string[]): Promise<string> => {
    await writeFile(join(folder, name), texts.join(''))
    return join(folder, name)
  }

  test('a client certificate is shown to the registry that wants it, and to no other', async () => {
    await using source = await secureRegistry(ours)
    await using target = await secureRegistry(ours, true)
    await source.client.push(image, 'from', '1')
    const sourceSaw = new Set<unknown>()
    source.interceptor = ({ socket }) => {
      sourceSaw.add((socket as TLSSocket).getPeerCertificate().subject?.CN)
      return false
    }
    const { certificate, key } = await ours.issue({ commonName: 'kip' })
    const cert = await write('client.pem', certificate)
    const both = await write('both.pem', certificate, key)
    const files = `${cert},${await write('client.key', key)}`
    const pair = [`${source.host}/from:1`, `${target.host}/to:1`]
    const trust = ['--ca', ours.certificateFile]
    const without = await kipCopy([...trust, ...pair])
    const hint = ` (--client-cert ${target.host}=CERTFILE,KEYFILE) [COPY_TLS]\n`
    assert.ok(without.stderr.endsWith(hint), without.stderr)
    for (const given of [files, both]) {
      const run = await kipCopy([...trust, '--client-cert', `${target.host}=${given}`, ...pair])
      assert.equal(run.code, 0, run.stderr)
    }
    assert.equal(target.repository('to').tags.get('1'), image.digest)
    assert.deepEqual([...sourceSaw], [undefined])
  })

  test('an authority counts for the registry that it is given for', async () => {
    await using source = await secureRegistry(ours)
    await using target = await secureRegistry(theirs)
    await source.client.push(image, 'from', '1')
    const trust = (registry: FakeRegistry, { certificateFile }: Authority): string =>
      `--ca=${registry.host}=${certificateFile}`
    const pair = [`${source.host}/from:1`, `${target.host}/to:1`]
    const wrong = [trust(source, ours), trust(source, theirs)]
    const refused = await kipCopy([...wrong, ...pair])
    assert.match(refused.stderr, new RegExp(`https://${target.host}/.*COPY_TLS`))
    for (const right of [
      [trust(source, ours), trust(target, theirs)],
      ['--ca', ours.certificateFile, '--ca', theirs.certificateFile],
    ]) {
      const run = await kipCopy([...right, ...pair])
      assert.equal(run.code, 0, run.stderr)
    }
  })

  test('a mirror is read in place of a source, and no target', async () => {
    await using mirror = await FakeRegistry.start()
    await using target = await FakeRegistry.start()
    await mirror.client.push(image, 'hub/library/app', '1')
    const plain = ['--http', mirror.host, '--http', target.host]
    const mirrors = ['a.test', target.host].map((host) => `--mirror=${host}=${mirror.host}/hub`)
    const pair = ['a.test/library/app:1', `${target.host}/library/app:1`]
    const run = await kipCopy([...plain, ...mirrors, ...pair])
    assert.equal(run.code, 0, run.stderr)
    assert.equal(target.repository('library/app').tags.get('1'), image.digest)
  })

  test('files that cannot be used are told at once, without their content', async () => {
    const { certificate } = await ours.issue({ commonName: 'kip' })
    const { key } = await ours.issue({ commonName: 'another' })
    const cert = await write('one.pem', certificate)
    const run = await kipCopy([
      ...['--client-cert', `a.test=${cert},${await write('other.key', key)}`],
      ...['--client-cert', `b.test=${join(folder, 'nothing')}`],
      ...['--ca', `a.test=${await write('no.pem', key)}`],
      ...['a.test/a', 'b.test/b'],
    ])
    assert.deepEqual([run.code, run.stdout], [2, ''])
    const lines = run.stderr.split('\n')
    assert.match(lines[0] ?? '', /--ca .*no\.pem: holds no PEM certificate/)
    assert.match(lines[1] ?? '', /--client-cert a\.test: .* cannot be used: key values mismatch$/)
    assert.match(lines[2] ?? '', /--client-cert .*nothing: ENOENT/)
    assert.equal(run.stderr.includes(key.split('\n')[1] ?? ''), false)
  })
})
