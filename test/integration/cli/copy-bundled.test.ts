import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { bundle } from '../../../docker/bundle.ts'
import { kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

describe('kip copy as it is in the container image', { timeout: 120_000 }, () => {
  const image = sampleImage({ layers: [noise('bundled', 3000)] })
  let folder: string
  let program: string
  let source: FakeRegistry

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-bundled-'))
    await bundle(folder)
    program = join(folder, 'main.js')
    source = await FakeRegistry.start()
    for (const tag of ['1.0', '1.1', '2.0']) await source.client.push(image, 'app', tag)
  })
  after(async () => {
    await source?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('knows ranges of versions', async () => {
    await using target = await FakeRegistry.start()
    const hosts = ['--http', source.host, '--http', target.host]
    const pair = [`${source.host}/app`, `${target.host}/app`]
    const run = await kipCopy([...hosts, '--semver', '^1', ...pair], { program })
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual(await target.client.tags('app'), ['1.0', '1.1'])
  })

  test('asks credential helpers', async () => {
    await using guarded = await FakeRegistry.start({
      auth: { kind: 'basic', users: { kip: 'secret' } },
    })
    const helper = join(folder, 'docker-credential-test')
    const answer = JSON.stringify({ Username: 'kip', Secret: 'secret' })
    await writeFile(helper, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o755 })
    const config = { credHelpers: { [guarded.host]: 'test' } }
    await writeFile(join(folder, 'config.json'), JSON.stringify(config))
    const hosts = ['--http', source.host, '--http', guarded.host]
    const pair = [`${source.host}/app:1.0`, `${guarded.host}/app:1.0`]
    const env = { DOCKER_CONFIG: folder, PATH: `${folder}:${process.env.PATH}` }
    const run = await kipCopy([...hosts, ...pair], { program, env })
    assert.equal(run.code, 0, run.stderr)
  })
})
