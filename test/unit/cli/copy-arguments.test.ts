import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { copyUsage, parseCopyArguments } from '../../../src/cli/copy/arguments.ts'
import { parseCopyList, parseCopyPair } from '../../../src/cli/copy/items.ts'
import { Tally } from '../../../src/cli/copy/outcome.ts'
import { UsageError } from '../../../src/cli/errors.ts'

function faultsOf(work: () => unknown): readonly string[] {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error))
    return error.faults
  }
  return assert.fail('no fault was found')
}

describe('arguments of kip copy', () => {
  test('an image and where it goes', () => {
    const args = parseCopyArguments(['nginx', 'backup.test/nginx'])
    assert.deepEqual(args.pair, ['nginx', 'backup.test/nginx'])
    assert.equal(args.list, undefined)
    assert.equal(args.concurrency, 8)
    assert.equal(args.output, 'text')
    assert.equal(args.verify, 'stream')
  })

  test('options may stand anywhere and be repeated', () => {
    const args = parseCopyArguments([
      ...['--platform', 'linux/amd64', 'a', '--platform=linux/arm64,linux/arm/v7', 'b'],
      ...['--http', 'x:5000', '--http', '[::1]:5000', '--dry-run', '--referrers', '--output=json'],
      ...['--verify', 'target'],
      ...['--foreign-layers', 'mcr.microsoft.com'],
      ...['--trust-realm', 'gitlab.corp', '--trust-realm=auth.corp:8443'],
    ])
    assert.deepEqual(args.hosts.trustedRealms, ['gitlab.corp', 'auth.corp:8443'])
    assert.deepEqual(args.foreignLayers, ['mcr.microsoft.com'])
    assert.deepEqual(args.platforms, ['linux/amd64', 'linux/arm64', 'linux/arm/v7'])
    assert.deepEqual(args.hosts.http, ['x:5000', '[::1]:5000'])
    assert.equal(args.dryRun && args.referrers, true)
    assert.equal(args.output, 'json')
    assert.equal(args.verify, 'target')
  })

  test('Docker Hub may be called by its other name in options too', () => {
    const { hosts } = parseCopyArguments([
      ...['a', 'b', '--mirror', 'index.docker.io=m.test/hub', '--ca', 'index.docker.io=x.pem'],
    ])
    assert.deepEqual(hosts.mirrors, [{ host: 'docker.io', place: 'm.test/hub' }])
    assert.deepEqual(hosts.authorities, [{ host: 'docker.io', file: 'x.pem' }])
  })

  test('one file of credentials serves both sides unless one has its own', () => {
    const filesOf = (...argv: string[]) => {
      const { sourceAuth, targetAuth } = parseCopyArguments(['a', 'b', ...argv])
      return [sourceAuth, targetAuth].map((auth) => auth && `${auth.option} ${auth.file}`)
    }
    assert.deepEqual(filesOf('--authfile', 'f'), ['--authfile f', '--authfile f'])
    assert.deepEqual(filesOf('--authfile', 'f', '--dest-authfile', '-'), [
      ...['--authfile f', '--dest-authfile -'],
    ])
    assert.deepEqual(filesOf('--src-authfile', 'f'), ['--src-authfile f', undefined])
  })

  test('what is said of single registries is read', () => {
    const { hosts } = parseCopyArguments([
      ...['a', 'b', '--ca', 'all.pem', '--ca', 'x:5000=x=1.pem', '--ca', './y.test=z.pem'],
      ...['--client-cert', 'x:5000=c.pem,k.pem', '--client-cert', 'y.test=both.pem'],
      ...['--mirror', 'docker.io=m.test/hub', '--mirror', 'docker.io=n.test:1'],
    ])
    assert.deepEqual(hosts.authorities, [
      { host: undefined, file: 'all.pem' },
      { host: 'x:5000', file: 'x=1.pem' },
      { host: undefined, file: './y.test=z.pem' },
    ])
    assert.deepEqual(hosts.clientCerts, [
      { host: 'x:5000', certFile: 'c.pem', keyFile: 'k.pem' },
      { host: 'y.test', certFile: 'both.pem', keyFile: 'both.pem' },
    ])
    assert.deepEqual(hosts.mirrors, [
      { host: 'docker.io', place: 'm.test/hub' },
      { host: 'docker.io', place: 'n.test:1' },
    ])
  })

  test('every fault of what is said of single registries is told at once', () => {
    const wrong = [
      ...['--client-cert=c.pem', '--client-cert=x.test=', '--client-cert=x.test=a,b,c'],
      ...['--client-cert=x.test=a,', '--client-cert=y.test=a', '--client-cert=y.test=b'],
      ...['--mirror=m.test', '--mirror=x.test=https://m.test', '--mirror=x.test=m.test/UP'],
      ...['--mirror=x.test=m.test//a', '--ca=', '--ca=x.test='],
    ]
    const faults = faultsOf(() => parseCopyArguments(['a', 'b', ...wrong]))
    assert.equal(faults.length, wrong.length - 1)
    for (const option of wrong.filter((option) => !option.startsWith('--client-cert=y.test=')))
      assert.ok(faults.some((fault) => fault.includes(`"${option.replace(/^--[^=]+=/, '')}"`)))
    assert.ok(faults.includes('--client-cert y.test: give one for each registry'))
  })

  test('every fault is told at once', () => {
    const faults = faultsOf(() =>
      parseCopyArguments([
        ...['only-one', '--output', 'xml', '--concurrency', '0'],
        ...['--http', 'http://x', '--foreign-layers', 'x/y', '--platform', 'linux'],
        ...['--trust-realm', 'https://auth.corp', '--verify', 'source'],
      ]),
    )
    assert.equal(faults.length, 8)
    const every =
      /SOURCE.*\n.*xml.*\n.*"source".*\n.*concurrency.*\n.*http:\/\/x.*\n.*https:\/\/auth\.corp.*\n.*x\/y.*\n.*"linux"/
    assert.match(faults.join('\n'), every)
  })

  test('a platform of odd letters is a fault of the arguments, not of kip', () => {
    const odd = ['a_b/x', 'linux/amd64/v_8', 'linux//v8', 'lïnux/amd64']
    const faults = faultsOf(() => parseCopyArguments(['a', 'b', '--platform', odd.join(',')]))
    assert.deepEqual(
      faults,
      odd.map((text) => `--platform "${text}": give one like linux/amd64 or linux/arm/v7`),
    )
  })

  test('a list and an image, or standard input for two things, are refused', () => {
    assert.match(faultsOf(() => parseCopyArguments(['--from-file', 'l', 'a', 'b']))[0] ?? '', /or/)
    const twice = ['--from-file', '-', '--src-authfile', '-']
    assert.match(faultsOf(() => parseCopyArguments(twice))[0] ?? '', /standard input/)
  })

  test('an unknown option is named, and a secret behind it is not', () => {
    const [fault] = faultsOf(() => parseCopyArguments(['a', 'b', '--dest-creds', 'user:password']))
    assert.match(fault ?? '', /--dest-creds/)
    assert.doesNotMatch(fault ?? '', /password/)
  })

  for (const [habit, instead] of [
    [['--src-creds', 'user:hunter2'], /^--src-creds is no option here: write --src-authfile FILE/],
    [['--dest-creds=user:hunter2'], /^--dest-creds is no option here: write --dest-authfile FILE/],
    [['--all'], /^--all is no option here: every platform is copied unless/],
    [['--src-tls-verify=false'], /^--src-tls-verify is no option here: write --http HOST/],
  ] as const) {
    test(`what another tool calls ${habit[0]} is told by its name here, without its value`, () => {
      const faults = faultsOf(() => parseCopyArguments(['a', 'b', ...habit]))
      assert.equal(faults.length, 1)
      assert.match(faults[0] ?? '', instead)
      assert.doesNotMatch(faults[0] ?? '', /hunter2/)
    })
  }

  test('an option that lacks its argument is told in one line', () => {
    const faults = faultsOf(() => parseCopyArguments(['a', 'b', '--platform', '--referrers']))
    assert.deepEqual(faults, [
      "Option '--platform' lacks its argument: what follows begins with a dash",
    ])
  })

  test('the page about them has the help as it is', async () => {
    const page = await readFile(new URL('../../../docs/copy.md', import.meta.url), 'utf8')
    assert.ok(page.includes(`\`\`\`text\n${copyUsage}\n\`\`\``))
  })

  test('the page about them names what a summary and its images hold as json', async () => {
    const page = await readFile(new URL('../../../docs/copy.md', import.meta.url), 'utf8')
    for (const key of Object.keys(new Tally().summary(0)))
      assert.ok(page.includes(`\`${key}\``), key)
    for (const code of ['KIP_STOPPED', 'KIP_INTERNAL']) assert.ok(page.includes(`\`${code}\``))
  })

  test('help is given without anything else', () => {
    assert.equal(parseCopyArguments(['--help']).help, true)
  })
})

describe('lists of images', () => {
  test('a source and a target a line; comments and empty lines are passed over', () => {
    const text = '# all we need\n\nnginx  b.test/nginx:1\r\n\tredis:7\tb.test/redis # cache\n'
    const pairs = parseCopyList(text, 'list')
    assert.deepEqual(
      pairs.map(({ source, target }) => [source.repository, target.repository, target.tag]),
      [
        ['library/nginx', 'nginx', '1'],
        ['library/redis', 'redis', 'latest'],
      ],
    )
  })

  test('every faulty line is told, with its number', () => {
    const text = 'nginx\nnginx b.test/x\na b c\nUPPER b.test/y\nredis b.test/x:latest\n'
    const faults = faultsOf(() => parseCopyList(text, 'list'))
    assert.equal(faults.length, 4)
    assert.match(faults[0] ?? '', /^list, line 1: write SOURCE TARGET/)
    assert.match(faults[1] ?? '', /^list, line 3/)
    assert.match(faults[2] ?? '', /^list, line 4: .*UPPER/)
    assert.match(faults[3] ?? '', /^list, line 5: the target b\.test\/x:latest is that of line 2/)
  })

  test('an empty list is a mistake', () => {
    assert.match(faultsOf(() => parseCopyList('# none\n', 'list'))[0] ?? '', /lists no image/)
  })

  for (const [tool, text] of Object.entries({
    'skopeo sync': 'registry.example.com:\n  images:\n    busybox: []\n    redis:\n      - "7"\n',
    regsync: '# all\nversion: 1\nsync:\n  - source: busybox\n    target: b.test/busybox\n',
    'a document': '---\n- nginx b.test/nginx\n',
  })) {
    test(`YAML as ${tool} takes it is told once`, () => {
      const faults = faultsOf(() => parseCopyList(text, 'list'))
      assert.equal(faults.length, 1)
      assert.match(faults[0] ?? '', /^list, line [12]: looks like YAML.* SOURCE TARGET/)
    })
  }

  test('a typing error before good lines is taken for no YAML', () => {
    const faults = faultsOf(() => parseCopyList('nginx: b.test/x\nredis b.test/y\n', 'list'))
    assert.match(faults[0] ?? '', /^list, line 1: image reference "nginx:"/)
  })

  test('hundreds of faulty lines are told by some of them and their number', () => {
    const faults = faultsOf(() => parseCopyList('{}\n'.repeat(300), 'list'))
    assert.equal(faults.length, 21)
    assert.equal(faults.at(0), 'list, line 1: write SOURCE TARGET; there is one word')
    assert.equal(faults.at(-1), 'list: 280 more such faults')
  })

  test('both references of a pair are told, where both are faulty', () => {
    const pair = faultsOf(() => parseCopyPair(['UPPER', 'b.test/y:a:b']))
    assert.deepEqual([pair.length, /UPPER/.test(pair[0] ?? '')], [2, true])
    const line = faultsOf(() => parseCopyList('UPPER b.test/y:a:b\n', 'list'))
    assert.match(line.join('\n'), /^list, line 1: .*UPPER.*\nlist, line 1: .*b\.test\/y:a:b/)
  })

  for (const [source, target, said] of [
    ['nginx', 'dir:out', /^dir: is no registry/],
    ['nginx', 'oci:out:1', /^oci: is no registry/],
    ['nginx', 'oci-archive:out.tar', /^oci-archive: is no registry/],
    ['nginx', 'docker-archive:x.tar:a/b:1', /^docker-archive: is no registry/],
    ['docker-daemon:nginx:latest', 'b.test/x', /^docker-daemon: is no registry/],
    ['containers-storage:b.test/x', 'b.test/x', /^containers-storage: is no registry/],
    ['nginx', 'localhost:5000', /^localhost:5000 is a registry without a repository: write/],
    ['nginx', 'b.test', /^b\.test is a registry without a repository/],
    ['B.test:443', 'b.test/x', /^B\.test:443 is a registry without a repository/],
    ['nginx', 'registry:5000', /^the target docker\.io\/library\/registry:5000 is one of Docker's/],
  ] as const) {
    test(`no repository of Docker Hub is taken for what is meant by ${source} ${target}`, () => {
      const faults = faultsOf(() => parseCopyPair([source, target]))
      assert.equal(faults.length, 1)
      assert.match(faults[0] ?? '', said)
    })
  }

  test('places that only look alike are taken', () => {
    for (const [source, target] of [
      ['redis:7', 'localhost:5000/x'],
      ['nginx:1.29.1', 'oci:5000/x'],
      ['dir/x', 'docker.io/library/nginx'],
    ] as const)
      assert.ok(parseCopyPair([source, target]))
  })

  test('a reference that is none is a fault of use', () => {
    assert.match(faultsOf(() => parseCopyPair(['http://x/y', 'z']))[0] ?? '', /scheme/)
  })
})
