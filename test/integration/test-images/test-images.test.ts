import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { zstdDecompressSync } from 'node:zlib'
import { type TestImageName, type TestImages, testImages } from '../../cluster/images/catalogue.ts'
import type { Image } from '../../cluster/images/image.ts'
import { reportToStderr } from '../../cluster/progress.ts'
import { sleepProgram } from '../../cluster/sleep-program.ts'

const missing =
  process.getuid?.() !== 0
    ? 'probe failed: root (chroot)'
    : spawnSync('dpkg-deb', ['--version']).error && 'probe failed: dpkg-deb --version'

describe('the test images', { skip: missing ?? false }, () => {
  let folder = ''
  let images: TestImages

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kip-test-images-'))
    const program = await sleepProgram({ report: reportToStderr })
    images = await testImages({ sleepProgram: program, report: reportToStderr })
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** Unpacks an image (of an index the first one) as a node would. */
  const unpack = async (name: TestImageName): Promise<string> => {
    const root = join(folder, name)
    mkdirSync(root)
    const whole: Image = images[name]
    const image = whole.children[0] ?? whole
    for (const layer of image.blobs.slice(1)) {
      const bytes = await layer.read()
      const isZstd = bytes.readUInt32LE() === 0xfd2fb528
      const archive = join(folder, 'layer.tar')
      writeFileSync(archive, isZstd ? zstdDecompressSync(bytes) : bytes)
      execFileSync('tar', ['-xpf', archive], { cwd: root })
    }
    return root
  }

  const runIn = (root: string, ...command: string[]) =>
    execFileSync('chroot', [root, ...command], {
      encoding: 'utf8',
      env: { PATH: '/bin:/usr/sbin' },
      timeout: 20_000,
    })

  for (const name of ['busybox', 'multi-platform', 'docker', 'docker-list', 'zstd'] as const)
    it(`${name} runs a shell`, async () => {
      const root = await unpack(name)
      assert.equal(runIn(root, '/bin/sh', '-c', 'echo hello | tr a-z A-Z'), 'HELLO\n')
    })

  it('nginx finds its libraries and takes its configuration', async () => {
    const root = await unpack('nginx')
    mkdirSync(join(root, 'dev'))
    for (const device of ['null', 'stderr', 'stdout']) writeFileSync(join(root, 'dev', device), '')
    runIn(root, '/usr/sbin/nginx', '-t')
  })

  it('redis is a server', async () => {
    const root = await unpack('redis')
    assert.match(runIn(root, '/usr/bin/redis-server', '--version'), /^Redis server v=7\./)
  })

  for (const [name, program] of [
    ['scratch', '/sleep'],
    ['pause', '/pause'],
  ] as const)
    it(`${name} holds one static program`, async () => {
      const root = await unpack(name)
      assert.deepEqual(
        execFileSync('find', ['.', '-type', 'f'], { cwd: root, encoding: 'utf8' }),
        `.${program}\n`,
      )
      assert.equal(runIn(root, program, '0s'), '')
    })

  it('content holds files only', async () => {
    const root = await unpack('content')
    assert.equal(readFileSync(join(root, 'greeting'), 'utf8'), 'hello\n')
    assert.ok(!existsSync(join(root, 'bin')))
  })

  it('are small, and nginx and redis share a layer', () => {
    for (const [name, image] of Object.entries(images)) {
      const size = [image, ...image.children].flatMap(({ blobs }) => blobs)
      const total = size.reduce((sum, blob) => sum + blob.size, 0)
      assert.ok(total < 15e6, `${name}: ${total} bytes`)
    }
    assert.equal(images.nginx.blobs[1]?.digest, images.redis.blobs[1]?.digest)
  })
})
