import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parseChallenges } from '../../../src/image-copy/src/auth/challenge.ts'
import { judgeRealm } from '../../../src/image-copy/src/auth/realm.ts'
import {
  CredentialConfigError,
  createKeyring,
  dockerCredentials,
  parseDockerConfig,
  RegistryError,
} from '../../../src/image-copy/src/index.ts'

const auth = (user: string, password = 'p'): string =>
  Buffer.from(`${user}:${password}`).toString('base64')
const configOf = (auths: Record<string, unknown>) => parseDockerConfig(JSON.stringify({ auths }))
const usersOf = (auths: Record<string, string>, host: string, repository: string): string[] => {
  const config = configOf(
    Object.fromEntries(Object.entries(auths).map(([key, user]) => [key, { auth: auth(user) }])),
  )
  return createKeyring([config])
    .lookup(host, repository)
    .map((credential) => ('username' in credential ? credential.username : '?'))
}

describe('a keyring matches as a kubelet does', () => {
  const cases: readonly [string, Record<string, string>, string, string, string[]][] = [
    ['a host', { 'quay.io': 'a' }, 'quay.io', 'x/y', ['a']],
    ['a host with a scheme and a slash', { 'https://quay.io/': 'a' }, 'quay.io', 'x/y', ['a']],
    [
      'what docker login writes for a host',
      { 'https://quay.io/v2/': 'a' },
      'quay.io',
      'x/y',
      ['a'],
    ],
    [
      'what docker login writes for Docker Hub',
      { 'https://index.docker.io/v1/': 'a' },
      'docker.io',
      'library/nginx',
      ['a'],
    ],
    [
      'docker.io before the default',
      { 'https://index.docker.io/v1/': 'a', 'docker.io': 'b' },
      'docker.io',
      'library/nginx',
      ['b'],
    ],
    [
      'the longer path first',
      { 'q.io': 'host', 'q.io/a': 'a', 'q.io/a/b': 'b' },
      'q.io',
      'a/b',
      ['b', 'a', 'host'],
    ],
    ['a path that is another', { 'q.io/other': 'x', 'q.io': 'host' }, 'q.io', 'a/b', ['host']],
    ['a path by prefix of text', { 'q.io/a': 'x' }, 'q.io', 'ab/c', ['x']],
    ['a glob in one part', { '*.q.io': 'glob' }, 'eu.q.io', 'a', ['glob']],
    ['no glob over parts', { '*.io': 'glob' }, 'eu.q.io', 'a', []],
    [
      'a glob within a part',
      { 'eu-*.q.io': 'glob', '[de]u-x.q.io': 'set' },
      'eu-x.q.io',
      'a',
      ['glob', 'set'],
    ],
    ['the same port only', { 'q.io:5000': 'a', 'q.io': 'b' }, 'q.io:5000', 'x', ['a']],
    ['no port for a host with one', { 'q.io': 'b' }, 'q.io:5000', 'x', []],
    ['nothing for a stranger', { 'q.io': 'a' }, 'r.io', 'x', []],
    ['no suffix', { 'q.io': 'a' }, 'q.io.evil.test', 'x', []],
    ['no user information', { 'evil@q.io': 'a' }, 'q.io', 'x', ['a']],
    ['an IPv6 address', { '[::1]:5000': 'a' }, '[::1]:5000', 'x', ['a']],
    ['a dot as a dot', { 'q.io': 'a' }, 'qxio', 'x', []],
  ]
  for (const [what, auths, host, repository, users] of cases) {
    test(what, () => assert.deepEqual(usersOf(auths, host, repository), users))
  }

  test('several configurations in their order under one key', () => {
    const ring = createKeyring([
      configOf({ 'q.io': { auth: auth('first') } }),
      configOf({ 'q.io': { auth: auth('second') } }),
    ])
    assert.deepEqual(
      ring.lookup('q.io', 'x').map((it) => ('username' in it ? it.username : '')),
      ['first', 'second'],
    )
  })
})

describe('docker configurations', () => {
  test('of every kind are read', () => {
    const config = parseDockerConfig(
      JSON.stringify({
        auths: {
          a: { auth: auth('u', 'p:with:colons') },
          b: { username: 'u', password: 'p' },
          c: { auth: auth('x'), identitytoken: 'refresh' },
          d: { registrytoken: 'bearer' },
          e: {},
          f: { auth: '' },
        },
        credHelpers: { 'gcr.io': 'gcloud' },
        credsStore: 'desktop',
      }),
    )
    assert.deepEqual(config.entries, [
      { key: 'a', credential: { username: 'u', password: 'p:with:colons' } },
      { key: 'b', credential: { username: 'u', password: 'p' } },
      { key: 'c', credential: { identityToken: 'refresh' } },
      { key: 'd', credential: { registryToken: 'bearer' } },
    ])
    assert.deepEqual([config.credHelpers, config.credsStore], [{ 'gcr.io': 'gcloud' }, 'desktop'])
  })

  test('of the old kind have the hosts at the top', () => {
    const bytes = new TextEncoder().encode(
      JSON.stringify({ 'https://q.io': { username: 'u', password: 'p', email: 'e' } }),
    )
    assert.deepEqual(parseDockerConfig(bytes).entries, [
      { key: 'https://q.io', credential: { username: 'u', password: 'p' } },
    ])
  })

  test('whose auth was wrapped into lines are read, as docker and a kubelet do', () => {
    const token = 't'.repeat(100)
    const lines = auth('u', token).match(/.{1,76}/g) ?? []
    for (const end of ['\n', '\r\n']) {
      assert.deepEqual(configOf({ 'q.io': { auth: `${lines.join(end)}${end}` } }).entries, [
        { key: 'q.io', credential: { username: 'u', password: token } },
      ])
    }
  })

  const wrong: Readonly<Record<string, string>> = {
    'no JSON': '{"auths":{"q.io":{"auth":"c2VjcmV0"',
    'a list': '[]',
    'auths that are text': '{"auths":"c2VjcmV0"}',
    'an entry that is text': '{"auths":{"q.io":"c2VjcmV0"}}',
    'auth that is no base64': '{"auths":{"q.io":{"auth":"c2VjcmV0!!"}}}',
    'auth without a colon': '{"auths":{"q.io":{"auth":"c2VjcmV0"}}}',
    'a password that is a number': '{"auths":{"q.io":{"password":1}}}',
    'helpers that are a list': '{"credHelpers":["c2VjcmV0"]}',
  }
  for (const [what, text] of Object.entries(wrong)) {
    test(`that are wrong (${what}) are refused without quoting them`, () => {
      assert.throws(
        () => parseDockerConfig(text),
        (error: unknown) =>
          error instanceof CredentialConfigError &&
          !/c2VjcmV0|secret/.test(`${error.message}${error.stack}`),
      )
    })
  }
})

describe('credential helpers', () => {
  const withHelper = async (
    script: string,
    work: (path: string) => Promise<void>,
  ): Promise<void> => {
    const folder = await mkdtemp(join(tmpdir(), 'helper-'))
    try {
      const file = join(folder, 'docker-credential-test')
      await writeFile(file, `#!/bin/sh\n${script}\n`)
      await chmod(file, 0o755)
      await work(folder)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
  const config = parseDockerConfig(
    JSON.stringify({ credHelpers: { 'q.io': 'test' }, credsStore: 'test' }),
  )
  const ask = (folder: string, host = 'q.io', helperTimeoutMs = 2000) =>
    dockerCredentials([config], {
      helperEnvironment: { PATH: `${folder}:/usr/bin:/bin` },
      helperTimeoutMs,
    })(host, 'x')

  test('are asked for the host on standard input', () =>
    withHelper(
      'read host; echo "{\\"Username\\":\\"$1 $host\\",\\"Secret\\":\\"s\\"}"',
      async (folder) => {
        assert.deepEqual(await ask(folder), [{ username: 'get q.io', password: 's' }])
        assert.deepEqual(await ask(folder, 'docker.io'), [
          { username: 'get https://index.docker.io/v1/', password: 's' },
        ])
      },
    ))

  test('may give an identity token', () =>
    withHelper('echo \'{"Username":"<token>","Secret":"t"}\'', async (folder) => {
      assert.deepEqual(await ask(folder), [{ identityToken: 't' }])
    }))

  test('may have nothing', () =>
    withHelper('echo "credentials not found in native keychain"; exit 1', async (folder) => {
      assert.deepEqual(await ask(folder), [])
    }))

  for (const [what, script] of [
    ['fail', 'exit 3'],
    ['answer nonsense', 'echo secret'],
    ['answer without end', 'yes secret'],
    ['answer in part', 'echo \'{"Username":"u"}\''],
  ] as const) {
    test(`that ${what} are an error without their output`, () =>
      withHelper(script, async (folder) => {
        await assert.rejects(
          ask(folder),
          (error: unknown) =>
            error instanceof RegistryError &&
            error.code === 'COPY_CREDENTIAL_HELPER' &&
            !/secret/.test(error.message),
        )
      }))
  }

  for (const [what, script] of [
    ['hang', 'exec sleep 10'],
    // It holds the pipe, which the helper's own end does not close.
    ['wait for another program that hangs', 'echo secret; sleep 10'],
  ] as const) {
    test(`that ${what} are given up`, () =>
      withHelper(script, async (folder) => {
        await assert.rejects(ask(folder, 'q.io', 100), {
          code: 'COPY_CREDENTIAL_HELPER',
          message:
            'credential helper docker-credential-test: gave no answer within 100 ms, or too much of one',
        })
      }))
  }

  test('are found on PATH by a plain name only', async () => {
    for (const name of ['../../bin/sh', 'a b', 'a;b', '']) {
      const evil = parseDockerConfig(JSON.stringify({ credHelpers: { 'q.io': name } }))
      await assert.rejects(
        dockerCredentials([evil], { helperEnvironment: { PATH: '/nowhere' } })('q.io', 'x'),
        { code: 'COPY_CREDENTIAL_HELPER' },
      )
    }
  })

  test('are not run without an environment for them', async () => {
    assert.deepEqual(await dockerCredentials([config])('q.io', 'x'), [])
  })
})

describe('challenges', () => {
  const cases: readonly [string, [string, Record<string, string>][]][] = [
    [
      'Bearer realm="https://a/t",service="s",scope="a:b:pull,push"',
      [['bearer', { realm: 'https://a/t', service: 's', scope: 'a:b:pull,push' }]],
    ],
    [
      'Basic realm="x", Bearer realm="y"',
      [
        ['basic', { realm: 'x' }],
        ['bearer', { realm: 'y' }],
      ],
    ],
    [
      'Negotiate, Basic realm="a \\"quoted\\" b"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'a "quoted" b' }],
      ],
    ],
    ['BEARER Realm=plain , Service = "s"', [['bearer', { realm: 'plain', service: 's' }]]],
    ['Bearer realm="first",realm="second"', [['bearer', { realm: 'first' }]]],
    ['', []],
    ['=', []],
    ['Bearer realm="open', [['bearer', {}]]],
  ]
  for (const [header, expected] of cases) {
    test(JSON.stringify(header), () => {
      assert.deepEqual(
        parseChallenges(header).map(({ scheme, parameters }) => [
          scheme,
          Object.fromEntries(parameters),
        ]),
        expected,
      )
    })
  }
})

describe('realms that may see a credential', () => {
  const cases: readonly [string, string, boolean][] = [
    ['https://registry-1.docker.io', 'https://auth.docker.io/token', true],
    ['https://registry.example.com', 'https://auth.example.com/token', true],
    ['https://registry.gitlab.example.com', 'https://gitlab.example.com/jwt', true],
    ['https://r.example.com', 'https://r.example.com:8443/token', true],
    ['https://r.example.com', 'https://r.example.com.evil.test/token', false],
    ['https://r.example.com', 'https://evil-example.com/token', false],
    ['https://victim.azurecr.io', 'https://evil.azurecr.io/token', false],
    ['https://r.co.uk', 'https://evil.co.uk/token', false],
    ['https://r.or.jp', 'https://evil.or.jp/token', false],
    ['https://registry.example.co.uk', 'https://auth.example.co.uk/token', true],
    ['https://registry.example.co.uk', 'https://evil.co.uk/token', false],
    ['https://myreg.io', 'https://auth.myreg.io/token', true],
    ['https://myreg.io', 'https://auth-myreg.io/token', false],
    ['https://github.io', 'https://evil.github.io/token', false],
    ['https://registry.corp', 'https://gitlab.corp/token', false],
    ['https://rg.fr-par.scw.cloud', 'https://api.scaleway.com/token', true],
    ['https://rg.fr-par.scw.cloud', 'https://evil.scaleway.com/token', false],
    ['https://example.com', 'https://other.com/token', false],
    ['https://10.0.0.1', 'https://10.0.0.2/token', false],
    ['http://127.0.0.1:5000', 'http://127.0.0.1:5001/token', true],
    ['http://r.example.com', 'http://auth.example.com/token', false],
    ['http://r.example.com', 'http://auth.r.example.com/token', false],
  ]
  for (const [registry, realm, shown] of cases) {
    test(`${registry} at ${realm}: ${shown ? 'yes' : 'no'}`, () => {
      assert.equal(
        judgeRealm(realm, { registry: new URL(registry), trusted: [] }).showCredential,
        shown,
      )
    })
  }
  test('are those that the caller trusts, however their host is written', () => {
    for (const host of ['gitlab.corp', 'GitLab.corp', 'gitlab.corp:443']) {
      const known = { registry: new URL('https://registry.corp'), trusted: ['x y', host] }
      assert.equal(judgeRealm('https://gitlab.corp/jwt', known).showCredential, true)
      assert.equal(judgeRealm('https://gitlab.corp:8443/jwt', known).showCredential, false)
      assert.equal(judgeRealm('https://x.gitlab.corp/jwt', known).showCredential, false)
    }
  })

  test('never over http when the registry is https', () => {
    assert.throws(
      () =>
        judgeRealm('http://r.test/token', {
          registry: new URL('https://r.test'),
          trusted: ['r.test'],
        }),
      { code: 'COPY_REALM_REFUSED' },
    )
  })
})
