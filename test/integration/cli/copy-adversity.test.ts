import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { largeImage } from '../../cluster/images/large.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { kipCopy as kip } from '../../support/copy-command.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'
import { noise, sampleArtifact, sampleImage, sampleIndex } from '../../support/sample-images.ts'

const skip = (await whyNoRegistry()) ?? false

describe('kip copy in adversity', { skip, timeout: 120_000 }, () => {
  let source: TestRegistry
  let target: TestRegistry
  let folder: string
  let plain: readonly string[]
  const pair = (to: string, from = 'a/b:1') => [`${source.host}/${from}`, `${target.host}/${to}`]

  before(async () => {
    source = await startRegistry()
    target = await startRegistry()
    folder = await mkdtemp(join(tmpdir(), 'kip-adversity-'))
    plain = ['--http', source.host, '--http', target.host]
    await source.client.push(tinyImage(1), 'a/b', '1')
  })
  after(async () => {
    await source?.close()
    await target?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('goes on when nobody reads its results any more, without a stack trace', async () => {
    const list = Array.from({ length: 40 }, (_, i) => `${pair(`unread/${i}:1`).join(' ')}\n`)
    const run = await kip([...plain, '--from-file', '-'], {
      input: list.join(''),
      started: (child) => child.stdout?.destroy(),
    })
    assert.deepEqual([run.code, run.stderr], [0, ''])
    assert.deepEqual(await target.client.tags('unread/39'), ['1'])
  })

  test('fails when its results cannot be written', {
    skip: !existsSync('/dev/full') && 'probe failed: /dev/full',
  }, async () => {
    const enter = ['sh', '-c', 'exec "$@" > /dev/full', 'sh']
    const run = await kip([...plain, ...pair('full:1')], { enter })
    assert.equal(run.code, 1)
    assert.match(run.stderr, /standard output: ENOSPC/)
  })

  const configs: Readonly<Record<string, readonly [content: string, said: string]>> = {
    'that is broken is named, without its content, and stops no copy of a public image': [
      '{"auths": {"x": "hunter2',
      '/.docker/config.json: docker configuration: not JSON; going on without its credentials\n',
    ],
    'that is empty is none': ['\n', ''],
    'with a helper that is not there matters only where a credential is asked for': [
      '{"credsStore":"not-installed"}',
      '',
    ],
  }
  for (const [what, [content, said]] of Object.entries(configs)) {
    test(`a config.json ${what}`, async () => {
      const home = await mkdtemp(join(folder, 'home-'))
      await mkdir(join(home, '.docker'))
      await writeFile(join(home, '.docker', 'config.json'), content)
      const run = await kip([...plain, ...pair('config:1')], { env: { HOME: home } })
      assert.equal(run.code, 0, run.stderr)
      assert.equal(run.stderr, said && `${home}${said}`)
    })
  }

  test('a config.json that cannot be read is named, and stops no copy of a public image', async () => {
    const home = await mkdtemp(join(folder, 'home-'))
    const file = join(home, '.docker', 'config.json')
    // What a container's runtime makes where the file that it was to mount is not there.
    await mkdir(file, { recursive: true })
    const run = await kip([...plain, ...pair('unread-config:1')], { env: { HOME: home } })
    assert.equal(run.code, 0, run.stderr)
    assert.equal(
      run.stderr,
      `${file}: EISDIR: illegal operation on a directory, read; going on without its credentials\n`,
    )
  })

  test('a HOME that is read-only, or not there, does not matter', async () => {
    const home = await mkdtemp(join(folder, 'read-only-'))
    await chmod(home, 0o500)
    for (const HOME of [home, '/nonexistent', '/proc']) {
      const run = await kip([...plain, ...pair('home:1')], { env: { HOME } })
      assert.equal(run.code, 0, run.stderr)
    }
  })

  test('credentials that podman keeps are found', async () => {
    await using secret = await startRegistry({ tls: true, authenticated: true })
    const { user, authorityFile = '' } = secret
    const auth = Buffer.from(`${user?.username}:${user?.password}`).toString('base64')
    const runtime = await mkdtemp(join(folder, 'runtime-'))
    await mkdir(join(runtime, 'containers'))
    const content = JSON.stringify({ auths: { [`${secret.host}/some`]: { auth } } })
    await writeFile(join(runtime, 'containers', 'auth.json'), content)
    const args = ['--http', source.host, '--ca', authorityFile, pair('x')[0] ?? '']
    const env = { XDG_RUNTIME_DIR: runtime }
    const run = await kip([...args, `${secret.host}/some/image:1`], { env })
    assert.equal(run.code, 0, run.stderr)
    const other = await kip([...args, `${secret.host}/another/image:1`], { env })
    assert.match(other.stderr, /COPY_UNAUTHORIZED/)
  })

  const misuse: Readonly<
    Record<string, readonly [args: readonly string[], said: RegExp, env?: Record<string, string>]>
  > = {
    'no arguments': [[], /give one SOURCE and one TARGET/],
    'empty references': [['', ''], /is empty/],
    'a URL': [['http://x.test/y', 'z'], /starts with a scheme/],
    'control characters': [['a\u001b[31mb', 'z'], /^kip copy: image reference "a\\u001b/],
    'an option without a value': [['a', 'b', '--platform'], /--platform/],
    'an empty file name': [['a', 'b', '--authfile='], /--authfile: give a file/],
    'all that is wrong with several files': [
      [
        ...['--from-file', '/dev/null', '--ca', '/proc/self/status'],
        ...['--src-authfile', '/nonexistent', '--dest-authfile', '/proc'],
      ],
      /no image\n.*\/status: holds no PEM.*\n.*: --src-authfile \/nonexistent: ENOENT.*\n.*: --dest-authfile \/proc: EISDIR/,
    ],
    'a list that never ends': [
      ['--from-file', '/dev/zero'],
      /^kip copy: --from-file \/dev\/zero: more than 64 MiB/,
    ],
    'a proxy of a kind that nobody speaks': [
      ['a.test/a', 'b.test/b'],
      /HTTPS_PROXY: proxies of kind socks5:/,
      { HTTPS_PROXY: 'socks5://user:hunter2@p.test:1' },
    ],
    'a password in the arguments': [['a', 'b', '--dest-creds', 'user:hunter2'], /--dest-creds/],
  }
  for (const [what, [args, said, env = {}]] of Object.entries(misuse)) {
    test(`${what} is told before anything is asked`, async () => {
      const run = await kip(args, { env })
      assert.deepEqual([run.code, run.stdout], [2, ''])
      assert.match(run.stderr, said)
      assert.doesNotMatch(run.stderr, /hunter2|at .*\.ts:/)
      for (const char of run.stderr) assert.ok(char >= ' ' || char === '\n')
    })
  }

  for (const args of [
    ['--from-file', '-'],
    ['--authfile', '-', 'a.test/a', 'b.test/b'],
  ]) {
    test(`Ctrl-C ends it while somebody types: ${args.join(' ')}`, async () => {
      // More than a pipe holds: it is written when most of it was read.
      const text = '#'.repeat(1_000_000)
      const run = await kip(args, {
        typing: true,
        started: (child) => child.stdin?.write(text, () => child.kill('SIGINT')),
      })
      assert.deepEqual([run.killedBy, run.stdout], [null, ''])
      assert.match(run.stderr, /stopped by SIGINT/)
    })
  }

  for (const args of [
    ['--from-file', '-'],
    ['--authfile', '-', 'a.test/a', 'b.test/b'],
  ]) {
    test(`standard input without an end is told as such: ${args.join(' ')}`, async () => {
      const run = await kip(args, { input: '#'.repeat(70 * 2 ** 20) })
      assert.equal(run.code, 2)
      assert.match(run.stderr, /^kip copy: standard input: more than 64 MiB/)
    })
  }

  test('Ctrl-C ends it while it waits for what a named pipe brings', async () => {
    const pipe = join(folder, 'list')
    await promisify(execFile)('mkfifo', [pipe])
    // Opened only when somebody reads.
    const writer = open(pipe, 'w')
    const run = await kip(['--from-file', pipe], { interruptAt: writer })
    await (await writer).close()
    assert.deepEqual([run.killedBy, run.stdout, run.stderr], ['SIGINT', '', ''])
  })

  test('where only a proxy leads to the source, it is taken, and not for what NO_PROXY names', async () => {
    const asked: string[] = []
    const proxy = createServer((request, response) => {
      const { host, pathname } = new URL(request.url ?? '')
      asked.push(host)
      const upstream = httpRequest(
        `${source.url}${pathname}`,
        { headers: request.headers, method: request.method },
        (it) => {
          response.writeHead(it.statusCode ?? 502, it.headers)
          it.pipe(response)
        },
      )
      upstream.end()
    })
    await once(proxy.listen(0, '127.0.0.1'), 'listening')
    const { port } = proxy.address() as AddressInfo
    try {
      const env = { HTTP_PROXY: `http://127.0.0.1:${port}`, NO_PROXY: 'near.test' }
      const far = await kip(
        ['--http', 'far.test', ...plain, 'far.test/a/b:1', pair('far:1')[1] ?? ''],
        {
          env,
        },
      )
      assert.equal(far.code, 0, far.stderr)
      assert.ok(await target.client.manifest('far', '1'))
      assert.deepEqual([...new Set(asked)], ['far.test'])
      // Nobody is there without the proxy; the first it says of that is enough.
      const near = await kip(
        ['--http', 'near.test', ...plain, 'near.test/a/b:1', pair('near:1')[1] ?? ''],
        { env, started: (child) => child.stderr?.once('data', () => child.kill('SIGINT')) },
      )
      assert.match(near.stderr, /near\.test.*ENOTFOUND|near\.test.*EAI_AGAIN/)
      assert.deepEqual([...new Set(asked)], ['far.test'])
    } finally {
      proxy.closeAllConnections()
      await new Promise((resolve) => proxy.close(resolve))
    }
  })

  test('a registry that speaks plain http and was not named is told so', async () => {
    const run = await kip(pair('plain:1'))
    assert.equal(run.code, 1)
    const either = `(${source.host}|${target.host})`
    const said = `${either}: what it answers is not TLS; allow plain http for \\1, .* \\(--http \\1\\) \\[COPY_TLS\\]`
    assert.match(run.stderr, new RegExp(said))
  })

  test('a source that is restarted in the middle costs nothing but time', async () => {
    await using falling = await startRegistry()
    const image = largeImage(60_000_000)
    await falling.client.push(image, 'large', '1')
    const mark = await falling.accessLogEnd()
    const args = ['--http', falling.host, '--http', target.host]
    const copied = kip([...args, `${falling.host}/large:1`, `${target.host}/restarted:1`])
    while (!(await falling.accessLog(mark)).some(({ path }) => path.includes('/manifests/'))) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await falling.stop()
    await falling.start()
    const run = await copied
    assert.equal(run.code, 0, run.stderr)
    assert.equal((await target.client.manifest('restarted', '1'))?.digest, image.digest)
  })

  test('Ctrl-C that is pressed on and on ends it, though the target does not let go', async () => {
    await using stuck = await FakeRegistry.start()
    const puts = Promise.withResolvers<void>()
    const deletes = Promise.withResolvers<void>()
    stuck.interceptor = ({ method }) => {
      if (method === 'PUT') puts.resolve()
      if (method === 'DELETE') deletes.resolve()
      return method === 'PUT' || method === 'DELETE'
    }
    const args = [...plain, '--http', stuck.host, pair('x')[0] ?? '', `${stuck.host}/x:1`]
    const run = await kip(args, {
      interruptAt: puts.promise,
      started: (child) =>
        deletes.promise.then(() => {
          const pressing = setInterval(() => child.kill('SIGINT'), 100)
          child.once('close', () => clearInterval(pressing))
        }),
    })
    assert.equal(run.killedBy, 'SIGINT')
    assert.equal(stuck.repository('x').tags.size, 0)
  })

  test('it is said once when a registry has few pulls left', async () => {
    await using limited = await FakeRegistry.start()
    await limited.client.push(sampleImage({ layers: [noise('limited', 10)] }), 'from', '1')
    limited.interceptor = (_, response) => {
      response.setHeader('ratelimit-remaining', '7;w=21600')
      return false
    }
    const args = [...plain, '--http', limited.host, `${limited.host}/from:1`]
    const run = await kip([...args, `${target.host}/limited:1`])
    assert.equal(run.code, 0)
    assert.equal(run.stderr, `${limited.host}: only 7 pulls left in 6 h 0 min; log in for more\n`)
  })

  test('platforms and referrers are chosen by options', async () => {
    await using modern = await FakeRegistry.start({ sparse: true, referrersApi: true })
    const amd64 = sampleImage({ layers: [noise('cli amd64', 100)] })
    const arm64 = sampleImage({ layers: [noise('cli arm64', 100)], platform: 'linux/arm64' })
    const index = sampleIndex([
      { image: amd64, platform: 'linux/amd64' },
      { image: arm64, platform: 'linux/arm64' },
    ])
    const sbom = sampleArtifact(index, 'application/spdx+json', 'sbom')
    await modern.client.push(index, 'from', '1')
    await modern.client.push(sbom, 'from')
    const options = [...plain, '--http', modern.host, '--platform', 'linux/arm64']
    const ends = [`${modern.host}/from:1`, `${modern.host}/to:1`]
    const run = await kip([...options, '--referrers', ...ends])
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual(
      new Set(modern.repository('to').manifests.keys()),
      new Set([index.digest, arm64.digest, sbom.digest]),
    )
    const refused = await kip([...options, `${modern.host}/from:1`, `${target.host}/sparse:1`])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /COPY_SPARSE_INDEX_REFUSED/)
    assert.deepEqual(await target.client.tags('sparse'), [])
  })
})
