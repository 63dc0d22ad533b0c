import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { kipCopy } from '../../support/copy-command.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'
import { noise, sampleImage, sampleIndex } from '../../support/sample-images.ts'

const skip = (await whyNoRegistry()) ?? (await whyNoRegistry('distribution 3')) ?? false

describe('one platform of an image', { skip, timeout: 120_000 }, () => {
  const amd64 = sampleImage({ layers: [noise('only amd64', 1000)] })
  const arm64 = sampleImage({ layers: [noise('only arm64', 1000)], platform: 'linux/arm64' })
  const index = sampleIndex([
    { image: amd64, platform: 'linux/amd64' },
    { image: arm64, platform: 'linux/arm64' },
  ])
  let source: TestRegistry

  before(async () => {
    source = await startRegistry()
    await source.client.push(index, 'from', '1')
  })
  after(() => source?.close())

  test('is kept under the index by a distribution that may lack some', async () => {
    await using target = await startRegistry({ kind: 'distribution 3', sparse: true })
    const plain = ['--http', source.host, '--http', target.host, '--platform', 'linux/arm64']
    const run = await kipCopy([...plain, `${source.host}/from:1`, `${target.host}/to:1`])
    assert.equal(run.code, 0, run.stderr)
    assert.equal((await target.client.manifest('to', '1'))?.digest, index.digest)
    assert.ok(await target.client.manifest('to', arm64.digest))
    assert.equal(await target.client.manifest('to', amd64.digest), undefined)
  })

  test('is named by its digest where an index must be whole, and copied by that', async () => {
    await using target = await startRegistry({ kind: 'distribution 3' })
    const plain = ['--http', source.host, '--http', target.host]
    const to = `${target.host}/to:1`
    const refused = await kipCopy([
      ...plain,
      '--platform',
      'linux/arm64',
      `${source.host}/from:1`,
      to,
    ])
    assert.equal(refused.code, 1)
    const [, named = ''] = /: linux\/arm64 = (\S+) \(.*COPY_SPARSE_INDEX/.exec(refused.stderr) ?? []
    assert.equal(named, `${source.host}/from@${arm64.digest}`)
    const run = await kipCopy([...plain, named, to])
    assert.equal(run.code, 0, run.stderr)
    assert.equal((await target.client.manifest('to', '1'))?.digest, arm64.digest)
  })
})
