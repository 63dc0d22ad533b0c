import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
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
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-credentials-'))
    source = await FakeRegistry.start()
    target = await FakeRegistry.start({ auth: { kind: 'bearer', users } })
    await source.client.push(image, 'a/b', 'v1')
  })
  afterEach(async () => {
    await source.close()
    await target.close()
    await rm(folder, { recursive: true, force: true })
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
  const login = (): string => JSON.stringify({ auths: { [target.host]: { auth } } })
  const put = async (path: string, content: string): Promise<string> => {
    const file = join(folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
    return file
  }

  const places: Readonly<Record<string, readonly [file: string, variable: string, set: string]>> = {
    'docker login wrote into the home': ['.docker/config.json', 'HOME', '.'],
    'docker login wrote into DOCKER_CONFIG': ['docker/config.json', 'DOCKER_CONFIG', 'docker'],
    'podman login wrote into the runtime folder': [
      'run/containers/auth.json',
      ...(['XDG_RUNTIME_DIR', 'run'] as const),
    ],
    'skopeo login keeps in the home': ['.config/containers/auth.json', 'HOME', '.'],
    'skopeo login keeps in XDG_CONFIG_HOME': [
      'kept/containers/auth.json',
      ...(['XDG_CONFIG_HOME', 'kept'] as const),
    ],
    'REGISTRY_AUTH_FILE names': ['any.json', 'REGISTRY_AUTH_FILE', 'any.json'],
  }
  for (const [what, [file, variable, set]] of Object.entries(places)) {
    test(`are those that ${what}`, async () => {
      await put(file, login())
      const run = await kip([], { env: { [variable]: join(folder, set) } })
      assert.equal(run.code, 0, run.stderr)
      assert.deepEqual(target.tokens?.asked, ['kip repository:c/d:pull,push'])
    })
  }

  test('are found with podman where docker has none for the registry', async () => {
    await put('.docker/config.json', '{"auths":{"other.test":{"auth":"eDp5"}}}')
    await put('.config/containers/auth.json', login())
    const run = await kip([], { env: { HOME: folder } })
    assert.equal(run.code, 0, run.stderr)
  })

  test('come from a helper that config.json names', async () => {
    const answer = '{"Username":"kip","Secret":"hunter2"}'
    const script = `#!/bin/sh\nread host; [ "$host" = "${target.host}" ] && echo '${answer}'\n`
    await chmod(await put('bin/docker-credential-kept', script), 0o755)
    const helpers = { credHelpers: { [target.host]: 'kept' } }
    await put('.docker/config.json', JSON.stringify(helpers))
    const PATH = `${join(folder, 'bin')}:${process.env.PATH}`
    const run = await kip([], { env: { HOME: folder, PATH } })
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual(target.tokens?.asked, ['kip repository:c/d:pull,push'])
  })

  test('are not looked for elsewhere where REGISTRY_AUTH_FILE is mistyped, which is said', async () => {
    await put('.docker/config.json', login())
    const REGISTRY_AUTH_FILE = join(folder, 'mistyped.json')
    const env = { HOME: folder, REGISTRY_AUTH_FILE }
    const run = await kip([], { env })
    assert.equal(run.code, 2)
    assert.match(
      run.stderr,
      new RegExp(`^kip copy: REGISTRY_AUTH_FILE ${REGISTRY_AUTH_FILE}: ENOENT`),
    )
    await put('mistyped.json', '{"auths": {"x": "hunter2')
    const broken = await kip([], { env })
    assert.equal(broken.code, 2)
    assert.match(broken.stderr, /^kip copy: REGISTRY_AUTH_FILE .*mistyped\.json: .*not JSON$/m)
    assert.deepEqual(
      target.requests.filter(({ path }) => path.includes('c/d')),
      [],
    )
  })
})
