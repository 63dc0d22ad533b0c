import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { openAuthority } from '../../cluster/pki.ts'
import { type CopyRun, kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

describe('authorities of kip copy', { timeout: 120_000 }, () => {
  const image = sampleImage({ layers: [noise('authorities', 3000)] })
  let folder: string
  let certificateFile: string
  let source: FakeRegistry
  let target: FakeRegistry

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-authorities-'))
    const authority = await openAuthority(folder)
    certificateFile = authority.certificateFile
    const hosts = ['127.0.0.1']
    const { certificate, key } = await authority.issue({ commonName: 'registry', hosts })
    const tls = { cert: certificate, key, ca: authority.certificate }
    source = await FakeRegistry.start({ tls })
    target = await FakeRegistry.start()
    await source.client.push(image, 'a/b', 'v1')
  })
  after(async () => {
    await source?.close()
    await target?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const kip = (to: string, env: Readonly<Record<string, string>>): Promise<CopyRun> => {
    const pair = [`${source.host}/a/b:v1`, `${target.host}/${to}:v1`]
    return kipCopy(['--http', target.host, ...pair], { env, byScript: true })
  }

  test('are those of the operating system too, as npm run kip starts it', async () => {
    // By it OpenSSL, and so Node, finds what the system trusts.
    const run = await kip('system', { SSL_CERT_FILE: certificateFile })
    assert.equal(run.code, 0, run.stderr)
    assert.equal(target.repository('system').tags.get('v1'), image.digest)
  })

  test('are not those of the operating system where whoever starts it says so', async () => {
    const run = await kip('own', { SSL_CERT_FILE: certificateFile, NODE_USE_SYSTEM_CA: '0' })
    assert.equal(run.code, 1)
    assert.match(run.stderr, /COPY_TLS/)
  })
})
