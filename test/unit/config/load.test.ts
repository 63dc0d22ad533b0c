import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConfigError } from '../../../src/config/errors.ts'
import { defaultSettings, leaves } from '../../../src/config/leaves.ts'
import { type Loaded, loadSettings } from '../../../src/config/load.ts'

interface Input {
  readonly argv?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly files?: Readonly<Record<string, string>>
}

function load({ argv = [], env = {}, files = {} }: Input): Loaded {
  return loadSettings({
    argv,
    env,
    readFile(path) {
      const text = files[path]
      if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
      return text
    },
  })
}

function faults(input: Input): readonly string[] {
  try {
    load(input)
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    assert.equal(error.code, 'KIP_CONFIG')
    return error.faults
  }
  assert.fail('no fault was found')
}

function onlyFault(input: Input): string {
  const [fault = '', ...rest] = faults(input)
  assert.deepEqual(rest, [])
  return fault
}

describe('loadSettings', () => {
  it('gives the defaults when told nothing', () => {
    assert.deepEqual(load({}), { settings: defaultSettings, warnings: [] })
  })

  it('has no default inside of a value, where it would not be filled in', () => {
    for (const { key, schema } of leaves) {
      const { default: _, ...shape } = schema
      assert.doesNotMatch(JSON.stringify(shape), /"default":/, key)
    }
  })

  it('takes flags before environment before file before defaults', () => {
    const files = { 'kip.yaml': 'mirror: { concurrency: 2, registry: file.test }\nport: 1111' }
    const env = { KIP_CONFIG: 'kip.yaml', KIP_MIRROR_CONCURRENCY: '3', KIP_PORT: '2222' }
    const { settings } = load({ argv: ['--mirror.concurrency=5'], env, files })
    assert.equal(settings.mirror.concurrency, 5)
    assert.equal(settings.port, 2222)
    assert.equal(settings.mirror.registry, 'file.test')
    assert.equal(settings.mirror.preCacheWaitSeconds, 60)
  })

  it('takes kinds of custom resources, and says what is wrong with one', () => {
    const rollout = {
      group: 'argoproj.io',
      version: 'v1alpha1',
      kind: 'Rollout',
      plural: 'rollouts',
    }
    const of = (change: object): Input => ({
      env: { KIP_DISCOVERY_TEMPLATES: JSON.stringify([{ ...rollout, ...change }]) },
    })
    assert.deepEqual(load(of({ path: 'spec.x' })).settings.discovery.templates, [
      { ...rollout, path: 'spec.x' },
    ])
    assert.match(onlyFault(of({ path: '.spec' })), /at 0\.path: '\.spec' is not what a Custom/)
    assert.match(onlyFault(of({ kind: 'rollout' })), /at 0\.kind: 'rollout' is not/)
    assert.match(onlyFault(of({ paths: 'a' })), /unknown key 'paths'/)
    assert.match(onlyFault(of({ plural: undefined })), /at 0: 'plural' is missing; known are /)
  })

  it('says all that is wrong with a rule: what is missing, what is unknown and what is empty', () => {
    const rules = [{ imges: ['quay.io/**'], were: 'used' }, { images: [] }]
    assert.deepEqual(faults({ env: { KIP_PULLER_RULES: JSON.stringify(rules) } }), [
      "KIP_PULLER_RULES (puller.rules): at 0: 'images' is missing; known are images, where, nodeSelector",
      "KIP_PULLER_RULES (puller.rules): at 0: unknown key 'imges' (did you mean images?); known are images, where, nodeSelector",
      "KIP_PULLER_RULES (puller.rules): at 0: unknown key 'were' (did you mean where?); known are images, where, nodeSelector",
      'KIP_PULLER_RULES (puller.rules): at 1.images: [] is empty: it has to hold one at least',
    ])
  })

  it('replaces a list as a whole', () => {
    const env = { KIP_DISCOVERY_IGNORE_NAMESPACES: 'a;b' }
    const { settings } = load({ argv: ['-ignoreNamespace=c', '--ignoreNamespace', 'd'], env })
    assert.deepEqual(settings.discovery.ignoreNamespaces, ['c', 'd'])
  })

  it('takes the file that a flag names before the one of the environment', () => {
    const files = { 'a.yaml': 'port: 1', 'b.yaml': 'port: 2' }
    const { settings } = load({
      argv: ['--config', 'b.yaml'],
      env: { KIP_CONFIG: 'a.yaml' },
      files,
    })
    assert.equal(settings.port, 2)
  })

  it('lists all faults at once, from every source', () => {
    const found = faults({
      argv: ['--mirror.registri=x', '--port=x'],
      env: { KIP_MIROR_REGISTRY: 'x', CACHING_CPU_LIMIT: 'much' },
      files: {},
    })
    assert.deepEqual(found, [
      '--mirror.registri: unknown flag (did you mean --mirror.registry?)',
      'KIP_MIROR_REGISTRY: unknown variable (did you mean KIP_MIRROR_REGISTRY?)',
      "--port: 'x' is not a whole number",
      "CACHING_CPU_LIMIT (puller.cpuLimit): 'much' is not a Kubernetes quantity, such as 10Mi or 50m",
    ])
  })

  it('names what is wrong and what to do', () => {
    const cases: [Input, RegExp][] = [
      [{ argv: ['--log.level=loud'] }, /--log\.level: 'loud' is none of trace, debug, info/],
      [{ argv: ['--port=70000'] }, /--port: 70000 is out of range: it has to be <= 65535/],
      [
        { env: { CACHING_INTERVAL_HOURS: '0' } },
        /CACHING_INTERVAL_HOURS \(puller\.intervalHours\): 0 is out of range: it has to be > 0/,
      ],
      [{ env: { CACHING_INTERVAL_HOURS: 'often' } }, /'often' is not a number/],
      [{ env: { NAMESPACE: 'Big' } }, /NAMESPACE \(namespace\): 'Big' is not a namespace name/],
      [{ argv: ['--mirror.registry=https://b.test'] }, /is not host\[:port\]\[\/path\].*scheme/],
      [{ argv: ['--backupRegistry=b.test/a/'] }, /--backupRegistry \(mirror\.registry\):/],
      [{ argv: ['--backupRegistry=me/repo'] }, /docker\.io\/<user>/],
      [{ argv: ['--admission.url=http://x'] }, /is not an https:\/\/ URL/],
      [{ env: { NODE_SELECTOR: 'disk' } }, /NODE_SELECTOR .*'disk' is not a map, in JSON or YAML/],
      [{ env: { NODE_SELECTOR: '{"disk":1}' } }, /at disk: 1 is not text; put it in quotes/],
      [{ env: { NODE_SELECTOR: '{"a b":"c"}' } }, /NODE_SELECTOR .*'a b' is not a label/],
      [
        { env: { AFFINITY: '{"nodeAfinity":{}}' } },
        /'nodeAfinity' \(did you mean nodeAffinity\?\)/,
      ],
      [{ env: { TOLERATIONS: '{}' } }, /TOLERATIONS .*\{\} is not a list/],
      [{ env: { TOLERATIONS: '[{"effect":"No"}]' } }, /at 0\.effect: 'No' is none of/],
      [{ env: { KIP_IMAGE: 'No Image' } }, /KIP_IMAGE .*is not an image reference/],
      [{ argv: ['--registries.http=http://x'] }, /at 0: .*is not a registry host/],
      [{ argv: ['--puller.enabled=maybe'] }, /'maybe' is not true or false/],
    ]
    for (const [input, expected] of cases) assert.match(onlyFault(input), expected)
  })

  it('tells of hosts that nothing can be asked at, and starts no process that would end of them', () => {
    const hosts = ['10.0.0.300:5000', 'quay.io', 'registry.corp.1']
    assert.deepEqual(
      faults({
        env: {
          KIP_MIRROR_REGISTRY: 'registry.corp.1/mirror',
          KIP_REGISTRIES_ALLOW: hosts.join(','),
          KIP_REGISTRIES_HTTP: hosts.join(','),
          KIP_REGISTRIES_TRUSTED_REALMS: hosts.join(','),
        },
      }),
      [
        "mirror.registry: 'registry.corp.1' is no host that can be asked: give host[:port]",
        "registries.allow: '10.0.0.300:5000', 'registry.corp.1' is no host that can be asked: give host[:port]",
        "registries.http: '10.0.0.300:5000', 'registry.corp.1' is no host that can be asked: give host[:port]",
        "registries.trustedRealms: '10.0.0.300:5000', 'registry.corp.1' is no host that can be asked: give host[:port]",
      ],
    )
  })

  it('finds contradictions between settings', () => {
    const cases: [string[], RegExp][] = [
      [['--port=8443'], /port and admission\.port are both 8443/],
      [['--mirror.registry=b.test', '--mirror.mapping=flat'], /one repository: add it/],
      [['--admission.rewrite=available'], /there is none: set mirror\.registry/],
      [
        ['--admission.certificateFolder=/tls'],
        /read only with admission\.certificate files, and that is own/,
      ],
      [
        ['--puller.memoryRequest=1Gi', '--puller.memoryLimit=20Mi'],
        /memoryRequest \(1Gi\) is more/,
      ],
      [['--puller.cpuRequest=.2', '--puller.cpuLimit=50m'], /cpuRequest \(\.2\) is more/],
      [['--leaderElection.leaseDurationSeconds=10'], /has to be more than renewDeadlineSeconds/],
      [['--leaderElection.retryPeriodSeconds=9'], /has to be more than 1\.2 × retryPeriodSeconds/],
      [['--mirror.registry=b.test', '--mirror.user=me'], /needs a password/],
      [
        ['--puller.startupTaintSeconds=60', '--puller.enabled=false'],
        /puller\.startupTaintSeconds .* puller\.enabled is false/,
      ],
      [
        ['--puller.startupTaintSeconds=60', '--puller.mode=external', '--namespace=other'],
        /puller\.startupTaintSeconds .* puller\.mode is external/,
      ],
      [
        ['--discovery.namespaceSelector={matchExpressions: [{key: a, operator: In}]}'],
        /key a: operator In needs values/,
      ],
      [
        [
          '--discovery.namespaceSelector={matchExpressions: [{key: a, operator: Exists, values: [b]}]}',
        ],
        /key a: operator Exists takes no values/,
      ],
    ]
    for (const [argv, expected] of cases) assert.match(onlyFault({ argv }), expected)
    assert.equal(load({ argv: ['--port=8443', '--admission.enabled=false'] }).settings.port, 8443)
  })

  it('takes index.docker.io for docker.io, under which credentials and hosts are looked up', () => {
    const argv = [
      '--mirror.registry=index.docker.io/me',
      '--registries.allow=index.docker.io,index.docker.io.test,quay.io',
      '--registries.http=index.docker.io',
    ]
    const { mirror, registries } = load({ argv }).settings
    assert.equal(mirror.registry, 'docker.io/me')
    assert.deepEqual(registries.allow, ['docker.io', 'index.docker.io.test', 'quay.io'])
    assert.deepEqual(registries.http, ['docker.io'])
  })

  it('asks for no contradictions of settings that are malformed themselves', () => {
    assert.match(onlyFault({ argv: ['--leaderElection.leaseDurationSeconds=1'] }), />= 2/)
  })
})

describe('IMAGES', () => {
  const read = (text: string): Loaded => load({ env: { IMAGES: text } })

  it("is read as KIP's", () => {
    const { settings, warnings } = read(` a=quay.io/x/a:next ;\nb=nginx@sha256:${'0'.repeat(64)};`)
    assert.deepEqual(settings.puller.images, [
      { name: 'a', image: 'quay.io/x/a:next' },
      { name: 'b', image: `nginx@sha256:${'0'.repeat(64)}` },
    ])
    assert.deepEqual(warnings, [])
  })

  it('skips a bad item with a warning, and takes the last of two with one name', () => {
    const { settings, warnings } = read('a=nginx:1;b;c=d=e;=x;D=y;e=NGINX;f=nginx:!;a=nginx:2;;')
    assert.deepEqual(settings.puller.images, [
      { name: 'a', image: 'nginx:2' },
      { name: 'D', image: 'y' },
    ])
    assert.deepEqual(
      warnings.map((warning) => warning.replace('IMAGES (puller.images): ', '')),
      [
        "item 'b' is skipped: not of the form name=image; ';' parts items",
        "item 'c=d=e' is skipped: not of the form name=image; ';' parts items",
        "item '=x' is skipped: it has no name",
        "item 'D=y': its name is no name of a container, and is made one",
        "item 'e=NGINX' is skipped: its image is no valid image reference",
        "item 'f=nginx:!' is skipped: its image is no valid image reference",
        "name 'a' is there twice: the last one, nginx:2, counts",
      ],
    )
  })

  it('may be a list of maps, in the file or in JSON, and a repeated flag', () => {
    const wanted = [
      { name: 'a', image: 'nginx' },
      { name: 'b', image: 'redis' },
    ]
    const file = `puller: { images: [{name: a, image: nginx}, {name: b, image: redis}] }`
    const inputs: Input[] = [
      { env: { KIP_CONFIG: 'f' }, files: { f: file } },
      { env: { KIP_CONFIG: 'f' }, files: { f: 'puller: { images: "a=nginx;b=redis" }' } },
      { env: { IMAGES: JSON.stringify(wanted) } },
      { argv: ['--puller.images=a=nginx', '--puller.images', 'b=redis'] },
    ]
    for (const input of inputs) assert.deepEqual(load(input).settings.puller.images, wanted)
    const odd = load({ env: { IMAGES: '[{"name":"a"},{"name":"b","image":"redis"}]' } })
    assert.deepEqual(odd.settings.puller.images, [{ name: 'b', image: 'redis' }])
    assert.match(odd.warnings[0] ?? '', /item number 1 is skipped/)
  })

  it('warns of a puller with nothing to hold', () => {
    const { warnings } = load({ argv: ['--discovery.enabled=false'] })
    assert.match(warnings[0] ?? '', /nothing to hold/)
  })
})

describe('a proxy of the environment', () => {
  const env = {
    HTTPS_PROXY: 'http://me:hunter2@proxy.test:1',
    no_proxy: 'near.test',
    all_proxy: '',
  }

  it('is said not to be used, without what it is', () => {
    assert.deepEqual(load({ env }).warnings, [
      'HTTPS_PROXY: not used, registries are asked directly: kip run has to know which addresses it dials',
    ])
  })

  it('is no matter where no registry is asked', () => {
    const argv = ['--discovery.enabled=false', '--puller.images=a=nginx']
    assert.deepEqual(load({ argv, env }).warnings, [])
  })
})

describe('credentials', () => {
  const mirror = ['--mirror.registry=b.test/x', '--mirror.user=me']

  it('come from a file', () => {
    const argv = [...mirror, '--mirror.passwordFile=/s/pw']
    const { settings, warnings } = load({ argv, files: { '/s/pw': 'hunter2\n' } })
    assert.deepEqual(
      [settings.mirror.passwordFile, settings.mirror.password],
      ['/s/pw', ''],
      'the file is named, for whoever needs the password when it may be another one',
    )
    assert.deepEqual(warnings, [])
  })

  it('come by flag as imgCloneCtrl took them, with a warning', () => {
    const { settings, warnings } = load({
      argv: [
        'imgCloneCtrl',
        '--ignoreNamespace=n1',
        '--ignoreNamespace=n2',
        '--backupRegistry=backup.repository/namespace/registry',
        '--backupRegistryUser=me',
        '--backupRegistryPassword=hunter2',
        '--leaderElectionID=image-clone-controller-leader',
        '--leaderElectionNamespace=test-ki',
      ],
    })
    assert.equal(settings.mirror.registry, 'backup.repository/namespace/registry')
    assert.equal(settings.mirror.password, 'hunter2')
    assert.equal(settings.leaderElection.name, 'image-clone-controller-leader')
    assert.equal(settings.leaderElection.namespace, 'test-ki')
    assert.deepEqual(settings.discovery.ignoreNamespaces, ['n1', 'n2'])
    assert.equal(warnings.length, 1)
    assert.match(warnings[0] ?? '', /^--backupRegistryPassword: .*mirror\.passwordFile$/)
  })

  it('stand in no message, whatever is wrong', () => {
    const inputs: Input[] = [
      { argv: [...mirror, '--backupRegistryPasword', 'hunter2', '--port=x'] },
      { argv: [...mirror, '--backupRegistryPasword=hunter2'] },
      { argv: [...mirror, 'hunter2'] },
      { argv: ['--backupRegistryPassword=hunter2'] },
      { argv: ['--mirror.registry=https://me:hunter2@b.test/x'] },
      { argv: ['--mirror.registry=me:hunter2@b.test/x'] },
      { argv: ['--config=f'], files: { f: 'mirror: {\n  password: "hunter2\n' } },
      { argv: ['--config=f'], files: { f: 'mirror:\n  password: [hunter2]\n' } },
      { argv: ['--config=f'], files: { f: 'mirror:\n  pasword: hunter2\n' } },
      {
        argv: [...mirror, '--mirror.password=hunter2', '--mirror.passwordFile=f'],
        files: { f: 'hunter2' },
      },
      { argv: ['--registries.credentialsFile=f'], files: { f: '{"auths": hunter2' } },
      { env: { IMAGES: 'a=https://me:hunter2@b.test/x', KIP_PORT: 'x' } },
    ]
    for (const input of inputs) assert.doesNotMatch(faults(input).join('\n'), /hunter2/)
    const { warnings } = load({ env: { IMAGES: 'a=me:hunter2@b.test/x' } })
    assert.equal(warnings.length, 1)
    assert.doesNotMatch(warnings.join('\n'), /hunter2/)
  })
})

describe('files that settings name', () => {
  it('are looked at when starting', () => {
    const argv = [
      '--registries.caFile=/ca.pem',
      '--registries.credentialsFile=/config.json',
      '--mirror.passwordFile=/none',
      '--mirror.user=me',
      '--mirror.registry=b.test',
    ]
    assert.deepEqual(faults({ argv, files: { '/ca.pem': 'x', '/config.json': '[]' } }), [
      '--registries.caFile: /ca.pem holds no PEM certificate (-----BEGIN CERTIFICATE-----)',
      '--registries.credentialsFile: /config.json is no Docker config.json (docker configuration: not a JSON object)',
      '--mirror.passwordFile: cannot read /none (ENOENT)',
    ])
  })

  it('are told wrong where a copy would find out: a credential that nobody can read', () => {
    const argv = ['--registries.credentialsFile=/config.json']
    const files = { '/config.json': '{"auths":{"backup.test":{"auth":"hunter2!"}}}' }
    assert.equal(
      onlyFault({ argv, files }),
      '--registries.credentialsFile: /config.json is no Docker config.json (docker configuration: auths["backup.test"].auth is not base64 of user:password)',
    )
  })

  it('are told missing: the configuration itself', () => {
    assert.equal(onlyFault({ argv: ['--config=/x'] }), 'config file: cannot read /x (ENOENT)')
  })
})
