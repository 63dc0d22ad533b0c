import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { buildKipImages, kipImage } from '../../../docker/build.ts'
import { pushLayout } from '../../../docker/buildah.ts'
import manifest from '../../../package.json' with { type: 'json' }
import { readLayout } from '../../cluster/images/layout.ts'
import { ensurePackages } from '../../cluster/packages.ts'
import { reportToStderr } from '../../cluster/progress.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'

const report = reportToStderr
const missing = (await whyNoBuildah()) ?? (await whyNoRegistry())

async function whyNoBuildah(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'probe failed: root (buildah)'
  return ensurePackages(['buildah'], { report }).then(
    () => undefined,
    (error) => `probe failed: buildah (${error.message})`,
  )
}

function nameAndValue(variable: string): [string, string] {
  const at = variable.indexOf('=')
  return [variable.slice(0, at), variable.slice(at + 1)]
}

describe('the images of kip', { skip: missing ?? false }, () => {
  let folder = ''
  let registry: TestRegistry
  let images: { readonly kip: string; readonly sleep: string }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kip-docker-'))
    // Not root's alone: programs are run as another user.
    chmodSync(folder, 0o755)
    registry = await startRegistry({ tls: true })
    images = await buildKipImages({ registry, report })
  })
  after(async () => {
    await registry?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const parts = (reference: string) => {
    const match = /^([^/]+)\/([^:]+):([^@]+)@(sha256:[0-9a-f]{64})$/.exec(reference)
    assert.ok(match, reference)
    const [, host = '', repository = '', tag = '', digest = ''] = match
    return { host, repository, tag, digest }
  }

  /** What the registry holds under a reference, unpacked as a node would. */
  const unpack = async (reference: string) => {
    const { repository, tag, digest } = parts(reference)
    const found = await registry.client.manifest(repository, tag)
    assert.equal(found?.digest, digest)
    const { config, layers } = JSON.parse(found.bytes.toString())
    const root = mkdtempSync(join(folder, 'root-'))
    chmodSync(root, 0o755)
    for (const layer of layers) {
      const bytes = await registry.client.blob(repository, layer.digest)
      assert.ok(bytes)
      writeFileSync(join(folder, 'layer.tar.gz'), bytes)
      execFileSync('tar', ['-xpf', join(folder, 'layer.tar.gz')], { cwd: root })
    }
    const bytes = await registry.client.blob(repository, config.digest)
    assert.ok(bytes)
    return { root, layers, config: JSON.parse(bytes.toString()).config }
  }

  const runIn = (root: string, command: readonly string[], env: readonly string[] = []) =>
    execFileSync('chroot', ['--userspec=65532:65532', root, ...command], {
      encoding: 'utf8',
      env: { ...Object.fromEntries(env.map(nameAndValue)), PATH: '/usr/sbin' },
      timeout: 30_000,
    })

  it('are in the registry by tag and digest', () => {
    assert.match(images.kip, /^127\.0\.0\.1:\d+\/kip:[0-9a-f]{16}@sha256:/)
    assert.match(images.sleep, /^127\.0\.0\.1:\d+\/kip-sleep:1@sha256:/)
  })

  it('run kip as nobody in particular, with the pinned Node and without a shell', async () => {
    const { root, config, layers } = await unpack(images.kip)
    assert.equal(config.User, '65532:65532')
    const node = ['/usr/local/bin/node', '--max-semi-space-size=4']
    assert.deepEqual(config.Entrypoint, [...node, '/kip/main.js'])
    mkdirSync(join(root, 'dev'), { recursive: true })
    assert.equal(runIn(root, [...config.Entrypoint, 'version']), `kip ${manifest.version}\n`)
    assert.equal(runIn(root, ['/usr/local/bin/node', '--version']), `${process.version}\n`)
    assert.equal(runIn(root, ['/kip/sleep', '0s']), '')
    const program = ['chunks', 'kip.compiled', 'kip.js', 'main.js', 'package.json', 'sleep']
    assert.deepEqual(readdirSync(join(root, 'kip')).sort(), program)
    assert.throws(() => statSync(join(root, 'bin/sh')))
    assert.equal(layers.length, 3, 'base, Node, kip')
  })

  it('trust the authorities of the base image, or what is mounted over them', async () => {
    const { root, config } = await unpack(images.kip)
    const script = "tls.getCACertificates('system').length"
    const count = () => Number(runIn(root, [config.Entrypoint[0], '-p', script], config.Env))
    assert.ok(count() > 100, `${count()} authorities`)
    const file = join(root, 'etc/ssl/certs/ca-certificates.crt')
    const first = /-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/.exec(
      readFileSync(file, 'utf8'),
    )?.[0]
    writeFileSync(file, first ?? '')
    assert.equal(count(), 1)
  })

  it('hold sleep alone, in a few kilobytes', async () => {
    const { root, config, layers } = await unpack(images.sleep)
    assert.deepEqual(config.Entrypoint, ['/kip/sleep'])
    assert.equal(config.User, '65532:65532')
    assert.equal(runIn(root, ['/kip/sleep', '1ms']), '')
    const files = execFileSync('find', ['.', '-type', 'f'], { cwd: root, encoding: 'utf8' })
    assert.equal(files, './kip/sleep\n')
    assert.equal(layers.length, 1)
    assert.ok(layers[0].size < 8192, `${layers[0].size} bytes`)
  })

  it('are neither built nor sent again when nothing changed', async () => {
    const mark = await registry.accessLogEnd()
    const begin = performance.now()
    assert.deepEqual(await buildKipImages({ registry, report }), images)
    assert.ok(performance.now() - begin < 2000, `${performance.now() - begin} ms`)
    assert.ok((await registry.accessLog(mark)).every(({ method }) => method !== 'POST'))
  })

  it('can be pushed by buildah too, which checks them', async () => {
    await using plain = await startRegistry()
    const { folder: layout } = await kipImage({ report })
    await pushLayout(layout, `${plain.host}/pushed/kip:2`, { report, http: true })
    const found = await plain.client.manifest('pushed/kip', '2')
    const expected = await readLayout(layout)
    assert.deepEqual(
      JSON.parse(found?.bytes.toString() ?? '{}').config,
      JSON.parse(expected.bytes.toString()).config,
    )
  })
})
