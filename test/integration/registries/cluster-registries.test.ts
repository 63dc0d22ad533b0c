import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type TestImageName, testImages, testImageTags } from '../../cluster/images/catalogue.ts'
import { pushTestImages } from '../../cluster/images/fill.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { enterNamespaces, holderReady, namespaceHolder } from '../../cluster/namespaces.ts'
import { setUpControlPlaneNetwork } from '../../cluster/network.ts'
import { type Authority, openAuthority } from '../../cluster/pki.ts'
import { type ClusterLevel, pickAddresses } from '../../cluster/plan.ts'
import { Daemons } from '../../cluster/process.ts'
import { reportToStderr } from '../../cluster/progress.ts'
import { openRegistries, type Registries, startRegistries } from '../../cluster/registries.ts'
import { sleepProgram } from '../../cluster/sleep-program.ts'
import { whyNoRegistry } from '../../support/registry.ts'

const missing = await whyNoRegistry()
const notRoot = process.getuid?.() === 0 ? undefined : 'probe failed: root (network namespaces)'

for (const level of ['control-plane', 'nodes'] as const) {
  const skip = missing ?? (level === 'nodes' ? notRoot : undefined) ?? false
  describe(`the registries of a cluster, level ${level}`, { skip }, () => {
    let folder = ''
    let daemons: Daemons
    let registries: Registries
    let authority: Authority

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'kip-registries-'))
      daemons = new Daemons({ folder })
      authority = await openAuthority(join(folder, 'pki'))
      registries = openRegistries({ folder, authority, daemons, ...(await place(level, daemons)) })
      await startRegistries(registries, { report: reportToStderr })
    })
    after(async () => {
      await registries?.close()
      for (const name of daemons?.names() ?? []) await daemons.stop(name)
      rmSync(folder, { recursive: true, force: true })
    })

    it('take, list, move and delete images under their names', async () => {
      for (const registry of [registries.origin, registries.backup, registries.plain]) {
        const [first, second] = [tinyImage(1), tinyImage(2)]
        const reference = await registry.push(first, 'some/image', '1')
        assert.equal(reference, `${registry.host}/some/image:1@${first.digest}`)
        await registry.push(second, 'some/image', '2')
        assert.deepEqual(await registry.tags('some/image'), ['1', '2'])
        await registry.retag('some/image', '1', second.digest)
        assert.equal(await registry.digest('some/image', '1'), second.digest)
        await registry.deleteImage('some/image', '1')
        assert.deepEqual(await registry.tags('some/image'), [])
      }
    })

    it('have an address and an image store each', async () => {
      const { origin, backup, plain } = registries
      assert.deepEqual(
        [origin, backup, plain].map(({ url }) => url),
        ['https://origin.test:5000', 'https://backup.test:5001', 'http://plain.test:5002'],
      )
      assert.equal(new Set([origin, backup, plain].map(({ address }) => address)).size, 3)
      await origin.push(tinyImage(3), 'origin-only', '1')
      assert.equal(await backup.digest('origin-only', '1'), undefined)
      assert.equal(plain.authorityFile, undefined)
      assert.equal(origin.authorityFile, authority.certificateFile)
    })

    it('make trouble for chosen requests under their own names, and stop it', async () => {
      for (const registry of [registries.origin, registries.plain]) {
        await registry.push(tinyImage(9), 'troubled', '1')
        {
          await using _ = await registry.trouble([
            { method: 'GET', path: '/manifests/', status: 429, times: 1 },
          ])
          await assert.rejects(registry.digest('troubled', '1'), /status 429/)
          assert.equal(await registry.digest('troubled', '1'), tinyImage(9).digest)
          await registry.push(tinyImage(10), 'troubled', '2')
        }
        assert.deepEqual(await registry.tags('troubled'), ['1', '2'])
      }
    })

    it('are filled with the test images', async () => {
      const program = await sleepProgram({ report: reportToStderr })
      const images = await testImages({ sleepProgram: program, report: reportToStderr })
      const references = await pushTestImages(registries.origin, images)
      assert.equal(references.redis, 'origin.test:5000/redis:7')
      for (const [name, tag] of Object.entries(testImageTags)) {
        const digest = images[name as TestImageName].digest
        assert.equal(await registries.origin.digest(name, tag), digest, name)
      }
    })

    it('log the requests since a mark', async () => {
      const { backup } = registries
      await backup.tags('before')
      const mark = await backup.accessLogEnd()
      await backup.tags('after')
      for (let tries = 0; tries < 100; tries++) {
        const paths = (await backup.accessLog(mark)).map(({ path }) => path)
        if (paths.includes('/v2/after/tags/list')) return
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      assert.fail('the request is not in the log')
    })

    it('stop and start one by one, and keep their images', async () => {
      const { origin, backup } = registries
      await origin.push(tinyImage(4), 'kept', '1')
      await origin.stop()
      assert.equal(origin.isRunning(), false)
      await assert.rejects(origin.digest('kept', '1'))
      assert.deepEqual(await backup.tags('kept'), [])
      await origin.start()
      assert.equal(await origin.digest('kept', '1'), tinyImage(4).digest)
    })

    it('are known to a process that opens them later', async () => {
      const again = openRegistries({ folder, authority, daemons, ...(await place(level, daemons)) })
      assert.ok(again.origin.isRunning())
      await registries.origin.push(tinyImage(5), 'seen', '1')
      assert.equal(await again.origin.digest('seen', '1'), tinyImage(5).digest)
      await again.close()
    })
  })
}

/** On loopback there may be clusters: by the process id, tests and clusters come to lie apart. */
const taken = Array.from({ length: 20 + (process.pid % 100) }, (_, i) => `127.${96 + i}.0.0/16`)

async function place(level: ClusterLevel, daemons: Daemons) {
  const addresses = pickAddresses({ level, routes: [], taken })
  assert.ok(addresses)
  if (level === 'control-plane') return { addresses }
  const sleep = await sleepProgram({ report: reportToStderr })
  const spec = namespaceHolder({ name: 'holder', kind: 'control-plane', sleep })
  const running = daemons.identity('holder')
  const holder = (running ?? (await daemons.start(spec))).pid
  await holderReady(holder)
  if (!running) await setUpControlPlaneNetwork(holder, addresses, 6443)
  return { addresses, holder, enter: enterNamespaces(holder, ['net', 'mount'], { folder: '/' }) }
}
