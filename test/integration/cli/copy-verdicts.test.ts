import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { type CopyRun, kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry, fail } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

describe('what kip copy says became of an image', { timeout: 120_000 }, () => {
  const image = sampleImage({ layers: [noise('verdict', 3000)] })
  let source: FakeRegistry
  let target: FakeRegistry

  beforeEach(async () => {
    source = await FakeRegistry.start()
    target = await FakeRegistry.start()
    await source.client.push(image, 'a/b', 'v1')
  })
  afterEach(async () => {
    await source.close()
    await target.close()
  })

  const from = (registry = source) => `${registry.host}/a/b:v1`
  const to = () => `${target.host}/c/d:v1`
  const kip = (...args: string[]): Promise<CopyRun> =>
    kipCopy(['--http', source.host, '--http', target.host, ...args])
  const statusOf = ({ stdout }: CopyRun): unknown =>
    JSON.parse(stdout.slice(0, stdout.indexOf('\n'))).status

  test('what is there is present, though a registry mounts it from another repository to find out', async () => {
    await target.client.push(image, 'a/b', 'v1')
    await target.client.push(image, 'c/d', 'v1')
    for (const dry of [['--dry-run'], []]) {
      const run = await kip(...dry, '--recheck', '--output', 'json', from(target), to())
      assert.equal(statusOf(run), 'present')
    }
  })

  test('a dry run fails where the copy does, with exit code 1', async () => {
    for (const dry of [['--dry-run'], []]) {
      const run = await kip(...dry, '--platform', 'linux/s390x', from(), to())
      assert.equal(run.code, 1)
      assert.match(run.stderr, /^failed .* it has linux\/amd64 \[COPY_PLATFORM_MISSING\]$/m)
    }
  })

  test('a dry run tells of retries on standard error, and of results alone on standard output', async () => {
    let refused = false
    source.interceptor = (_request, response) => {
      if (refused) return false
      refused = true
      fail(response, 503, 'UNAVAILABLE')
      return true
    }
    const run = await kip('--dry-run', from(), to())
    assert.equal(run.code, 0, run.stderr)
    assert.match(run.stderr, new RegExp(`^${source.host}: .*; try 2 in `))
    assert.match(run.stdout, /^would copy .* in 2 blobs\)\n$/)
  })
})
