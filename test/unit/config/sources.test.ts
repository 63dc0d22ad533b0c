import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readEnvironment } from '../../../src/config/environment.ts'
import { readSettingsFile } from '../../../src/config/file.ts'
import { readFlags, standaloneFlag } from '../../../src/config/flags.ts'
import type { Source } from '../../../src/config/given.ts'
import { leaves } from '../../../src/config/leaves.ts'

function valuesOf(source: Source): Record<string, unknown> {
  assert.deepEqual(source.faults, [])
  return Object.fromEntries([...source.values].map(([leaf, given]) => [leaf.key, given.value]))
}

describe('readFlags', () => {
  it('takes one or two dashes, with = or a space, and a boolean alone', () => {
    const argv = ['-port', '1', '--admission.enabled', '-puller.enabled=false', '--mirror.user=-x']
    assert.deepEqual(valuesOf(readFlags(argv)), {
      port: 1,
      'admission.enabled': true,
      'puller.enabled': false,
      'mirror.user': '-x',
    })
  })

  it('counts the last of a repeated flag, and adds up lists', () => {
    const argv = ['--port=1', '--port=2', '--registries.http=a:1,b:2', '--registries.http=c:3']
    assert.deepEqual(valuesOf(readFlags(argv)), {
      port: 2,
      'registries.http': ['a:1', 'b:2', 'c:3'],
    })
  })

  it('tells what it cannot use', () => {
    assert.deepEqual(readFlags(['x', '--nope', 'value', '--nope2', '--port']).faults, [
      'argument 1 is no flag: flags start with "-"',
      '--nope: unknown flag',
      '--nope2: unknown flag',
      '--port: needs a value',
    ])
    assert.match(readFlags(['--registry=x']).faults[0] ?? '', /did you mean --mirror\.registry\?/)
  })

  it('reads nothing behind --', () => {
    assert.deepEqual(valuesOf(readFlags(['--port=1', '--', '--port=2'])), { port: 1 })
  })
})

describe('standaloneFlag', () => {
  it('finds version and help, but not as the value of another flag', () => {
    assert.equal(standaloneFlag(['-version']), 'version')
    assert.equal(standaloneFlag(['imgCloneCtrl', '--kubeconfig', 'x', '--version']), 'version')
    assert.equal(standaloneFlag(['-h']), 'help')
    assert.equal(standaloneFlag(['--mirror.user', '--version']), undefined)
    assert.equal(standaloneFlag(['--', '--help']), undefined)
    assert.equal(standaloneFlag([]), undefined)
  })
})

describe('readEnvironment', () => {
  it("reads KIP's variables", () => {
    const env = {
      IMAGES: 'a=nginx',
      CACHING_INTERVAL_HOURS: '2',
      CACHING_MEMORY_REQUEST: '10Mi',
      CACHING_MEMORY_LIMIT: '20Mi',
      CACHING_CPU_REQUEST: '.05',
      CACHING_CPU_LIMIT: '.2',
      DAEMONSET_NAME: 'd',
      DAEMONSET_ANNOTATIONS: '{"a":"b"}',
      NAMESPACE: 'n',
      NODE_SELECTOR: '{}',
      IMAGE_PULL_SECRETS: 'one;two;',
      AFFINITY: '{"nodeAffinity":{}}',
      TOLERATIONS: '[{"operator":"Exists"}]',
      KIP_IMAGE: 'quay.io/eclipse/kubernetes-image-puller:next',
      DEPLOYMENT_NAME: 'p',
      KUBECONFIG: '/k',
    }
    assert.deepEqual(valuesOf(readEnvironment(env)), {
      namespace: 'n',
      kubeconfig: '/k',
      'puller.images': 'a=nginx',
      'puller.daemonSetName': 'd',
      'puller.daemonSetAnnotations': { a: 'b' },
      'puller.deploymentName': 'p',
      'puller.nodeSelector': {},
      'puller.affinity': { nodeAffinity: {} },
      'puller.tolerations': [{ operator: 'Exists' }],
      'puller.imagePullSecrets': ['one', 'two'],
      'puller.sleepImage': 'quay.io/eclipse/kubernetes-image-puller:next',
      'puller.intervalHours': 2,
      'puller.memoryRequest': '10Mi',
      'puller.memoryLimit': '20Mi',
      'puller.cpuRequest': '.05',
      'puller.cpuLimit': '.2',
    })
  })

  it('reads maps and lists as JSON, with quotes escaped once too often, or as YAML', () => {
    const forms = ['{"a":"b"}', '{\\"a\\":\\"b\\"}', '"{\\"a\\":\\"b\\"}"', 'a: b', '{a: b}']
    for (const form of forms) {
      const values = valuesOf(readEnvironment({ NODE_SELECTOR: form }))
      assert.deepEqual(values['puller.nodeSelector'], { a: 'b' }, form)
    }
    const list = valuesOf(readEnvironment({ TOLERATIONS: '- operator: Exists\n' }))
    assert.deepEqual(list['puller.tolerations'], [{ operator: 'Exists' }])
    const secrets = valuesOf(readEnvironment({ IMAGE_PULL_SECRETS: '["one","two"]' }))
    assert.deepEqual(secrets['puller.imagePullSecrets'], ['one', 'two'])
  })

  it('takes every setting as KIP_…, before its KIP name, and says so', () => {
    const source = readEnvironment({ KIP_NAMESPACE: 'a', NAMESPACE: 'b', KIP_MIRROR_USER: 'u' })
    assert.deepEqual(valuesOf(source), { namespace: 'a', 'mirror.user': 'u' })
    assert.deepEqual(source.warnings, ['NAMESPACE: not read, since KIP_NAMESPACE is set'])
    assert.deepEqual(readEnvironment({ KIP_NAMESPACE: 'a', NAMESPACE: 'a' }).warnings, [])
  })

  it('takes an empty variable for one that is not set', () => {
    assert.deepEqual(valuesOf(readEnvironment({ NAMESPACE: '', IMAGES: ' ', KIP_X: '' })), {})
  })

  it("takes KIP's multi-cluster mode as it was written, Go's booleans too", () => {
    const source = readEnvironment({
      IMPERSONATE_USERS: 'alice,bob',
      OPENSHIFT_PROXY_URL: 'https://proxy.test',
      OIDC_PROVIDER: 'https://auth.test/api',
      MULTICLUSTER: 'T',
    })
    assert.deepEqual(source.warnings, [])
    const values = Object.fromEntries(
      [...source.values].map(([{ key }, { value }]) => [key, value]),
    )
    assert.deepEqual(values, {
      'multiCluster.enabled': 'true',
      'multiCluster.oidcProvider': 'https://auth.test/api',
      'multiCluster.proxyUrl': 'https://proxy.test',
      'multiCluster.users': ['alice', 'bob'],
    })
  })

  it('passes over what Kubernetes sets for Services named kip', () => {
    const env = {
      KIP_PORT: 'tcp://10.96.0.7:443',
      KIP_SERVICE_HOST: '10.96.0.7',
      KIP_WEBHOOK_SERVICE_HOST: '10.96.0.7',
      KIP_WEBHOOK_SERVICE_PORT: '443',
      KIP_WEBHOOK_SERVICE_PORT_HTTPS: '443',
      KIP_WEBHOOK_PORT: 'tcp://10.96.0.7:443',
      KIP_WEBHOOK_PORT_443_TCP: 'tcp://10.96.0.7:443',
      KIP_WEBHOOK_PORT_443_TCP_ADDR: '10.96.0.7',
      KIP_WEBHOOK_PORT_443_TCP_PORT: '443',
      KIP_WEBHOOK_PORT_443_TCP_PROTO: 'tcp',
      KIP_TEST_LONG: '1',
    }
    assert.deepEqual(valuesOf(readEnvironment(env)), {})
  })

  it('refuses another KIP_… and leaves the rest of the environment alone', () => {
    const { faults } = readEnvironment({ KIP_IMAGES: 'a=b', HOME: '/root', PORT: '1' })
    assert.equal(faults.length, 1)
    assert.match(faults[0] ?? '', /^KIP_IMAGES: unknown variable \(did you mean/)
  })
})

describe('readSettingsFile', () => {
  it('reads the sections, and values written as in the environment', () => {
    const text = `
      # comment
      namespace: n
      port: "9090"
      log: { level: debug }
      discovery:
        enabled: true
        ignoreNamespaces: a;b
        keepSeconds:
      mirror:
      puller:
        cpuLimit: .2
        nodeSelector: '{"a":"b"}'
    `
    assert.deepEqual(valuesOf(readSettingsFile('kip.yaml', text)), {
      namespace: 'n',
      port: 9090,
      'log.level': 'debug',
      'discovery.enabled': 'true',
      'discovery.ignoreNamespaces': ['a', 'b'],
      'puller.cpuLimit': '0.2',
      'puller.nodeSelector': { a: 'b' },
    })
    assert.deepEqual(valuesOf(readSettingsFile('kip.yaml', '')), {})
  })

  it('takes an amount for the same however it is written, so that no template changes with it', () => {
    const amounts = { '1.0': '1', '0.10': '0.1', '1e3': '1000', '0x10': '16', '"1.0"': '1.0' }
    for (const [text, cpuLimit] of Object.entries(amounts)) {
      const read = readSettingsFile('kip.yaml', `puller: { cpuLimit: ${text} }`)
      assert.deepEqual(valuesOf(read), { 'puller.cpuLimit': cpuLimit })
    }
  })

  it('takes a text that looks like a number as it is written: a password, say', () => {
    const texts = ['0123456', '12345678901234567890', '1e5', '0x1F', '0o17', '1.10', '+5', '.inf']
    for (const text of [...texts, '5000', '-0', 'True', 'FALSE']) {
      for (const file of [
        `mirror: { password: ${text} }`,
        `mirror:\n  password:   ${text}   # comment\n`,
        `mirror: { password: &p ${text}, user: *p }`,
      ]) {
        const values = valuesOf(readSettingsFile('kip.yaml', file))
        assert.equal(values['mirror.password'], text, file)
        if (file.includes('*p')) assert.equal(values['mirror.user'], text, file)
      }
    }
  })

  it('takes true and false in any spelling of YAML where they are names of choices', () => {
    for (const [text, expected] of [
      ['true', 'true'],
      ['True', 'true'],
      ['FALSE', 'false'],
      ['auto', 'auto'],
    ] as const) {
      const values = valuesOf(readSettingsFile('kip.yaml', `discovery: { enabled: ${text} }`))
      assert.deepEqual(values, { 'discovery.enabled': expected })
    }
  })

  it('refuses what it does not know, and says what was meant', () => {
    const text = `
      mirror: { regsitry: x }
      images: a=b
      mirror.registry: x
      log: info
      __proto__: { port: 1 }
    `
    assert.deepEqual(readSettingsFile('kip.yaml', text).faults, [
      'kip.yaml: mirror.regsitry: unknown key (did you mean mirror.registry?)',
      'kip.yaml: images: unknown key (did you mean puller.images?)',
      'kip.yaml: mirror.registry: unknown key (nest it: mirror: { registry: …)',
      'kip.yaml: log is not a map of settings',
      'kip.yaml: __proto__: unknown key',
    ])
  })

  it('says on which line a file is no YAML', () => {
    assert.deepEqual(readSettingsFile('kip.yaml', 'port: 1\nport: 2\n').faults, [
      'kip.yaml: line 2 is no YAML (duplicate key)',
    ])
    assert.match(readSettingsFile('k', '- a').faults[0] ?? '', /^k: the file is not a map/)
  })
})

describe('spellings', () => {
  it('are unique', () => {
    for (const names of [
      leaves.flatMap((leaf) => leaf.flags),
      leaves.flatMap((leaf) => leaf.variables),
    ]) {
      assert.equal(new Set(names).size, names.length)
    }
  })
})
