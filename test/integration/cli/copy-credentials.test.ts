import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { type CopyRun, kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

describe('credentials of kip copy', { timeout: 120_000 }, () => {
  const image = sampleImage({ layers: [noise('credentials', 3000)] })
  const users = { kip: 'hunter2' }
  const auth = Buffer.from('kip:hunter2').toString('base64')
  let source: FakeRegistry
  let target: FakeRegistry

  beforeEach(async () => {
    source = await FakeRegistry.start()
    target = await FakeRegistry.start({ auth: { kind: 'bearer', users } })
    await source.client.push(image, 'a/b', 'v1')
  })
  afterEach(async () => {
    await source.close()
    await target.close()
  })

  const kip = async (
    args: readonly string[],
    options: Parameters<typeof kipCopy>[1] = {},
  ): Promise<CopyRun> => {
    const plain = ['--http', source.host, '--http', target.host]
    const pair = [`${source.host}/a/b:v1`, `${target.host}/c/d:v1`]
    const run = await kipCopy([...plain, ...args, ...pair], options)
    assert.doesNotMatch(`${run.stdout}${run.stderr}`, /hunter2/)
    return run
  }

  test('are shown to a token server of another name when that is trusted, which is said otherwise', async () => {
    const realm = `localhost:${target.port}`
    target.interceptor = ({ headers, url }, response) => {
      if (headers.authorization !== undefined || url?.startsWith('/token')) return false
      const challenge = `Bearer realm="http://${realm}/token",service="x"`
      response.writeHead(401, { 'www-authenticate': challenge, 'content-length': 0 }).end()
      return true
    }
    const input = JSON.stringify({ auths: { [target.host]: { auth } } })
    const refused = await kip(['--authfile', '-'], { input })
    assert.equal(refused.code, 1)
    assert.match(
      refused.stderr,
      new RegExp(`not shown to .* \\(--trust-realm ${realm}\\) \\[COPY_UNAUTHORIZED\\]$`, 'm'),
    )
    const run = await kip(['--authfile', '-', '--trust-realm', realm], { input })
    assert.equal(run.code, 0, run.stderr)
    assert.equal(target.repository('c/d').tags.get('v1'), image.digest)
  })
})
