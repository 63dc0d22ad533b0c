import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isRight } from '../../../src/admission/configuration-store.ts'
import {
  buildConfiguration,
  type ConfigurationOptions,
  needsWebhook,
  reviewPath,
} from '../../../src/admission/webhook-configuration.ts'
import { defaultSettings } from '../../../src/config/leaves.ts'
import type { MutatingWebhook } from '../../../src/kube/types.ts'

const { admission } = defaultSettings
const bundle = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n'
const owner = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  name: 'r',
  uid: 'u',
}

function build(changes: Partial<ConfigurationOptions> = {}): MutatingWebhook {
  const { webhooks } = buildConfiguration({
    settings: defaultSettings,
    excluded: ['kube-system', 'k8s-image-puller'],
    bundle,
    ...changes,
  })
  assert.equal(webhooks?.length, 1)
  return webhooks?.[0] ?? assert.fail()
}

function leftOut(webhook: MutatingWebhook): readonly string[] {
  const names = webhook.namespaceSelector?.matchExpressions?.find(
    ({ key }) => key === 'kubernetes.io/metadata.name',
  )
  assert.equal(names?.operator, 'NotIn')
  return names?.values ?? []
}

describe('the webhook configuration', () => {
  test('fails open, soon, and asks about no more than it has to', () => {
    const webhook = build()
    assert.equal(webhook.failurePolicy, 'Ignore')
    assert.equal(webhook.timeoutSeconds, 2)
    assert.equal(webhook.sideEffects, 'NoneOnDryRun')
    assert.equal(webhook.reinvocationPolicy, 'IfNeeded')
    assert.equal(webhook.matchPolicy, 'Equivalent')
    assert.deepEqual(
      webhook.rules?.map(({ operations, resources }) => [...operations, ...resources].join(' ')),
      ['CREATE pods', 'UPDATE pods/ephemeralcontainers'],
    )
    const notFlagged = { key: 'images.kip/ignore', operator: 'NotIn', values: ['true'] }
    assert.deepEqual(webhook.objectSelector, { matchExpressions: [notFlagged] })
    assert.deepEqual(webhook.namespaceSelector?.matchExpressions?.[0], notFlagged)
  })

  test('goes to the Service, with the bundle', () => {
    assert.deepEqual(build().clientConfig, {
      service: { namespace: 'k8s-image-puller', name: 'kip-webhook', path: '/mutate', port: 443 },
      caBundle: Buffer.from(bundle).toString('base64'),
    })
  })

  for (const [url, expected] of [
    ['https://10.0.0.1:8443', 'https://10.0.0.1:8443/mutate'],
    ['https://kip.example/', 'https://kip.example/mutate'],
    ['https://proxy.example/kip/review', 'https://proxy.example/kip/review'],
    ['https://[fd00::1]:8443', 'https://[fd00::1]:8443/mutate'],
  ] as const) {
    test(`goes to the URL ${url}, where the server expects it`, () => {
      const settings = { ...defaultSettings, admission: { ...admission, url } }
      assert.deepEqual(build({ settings, bundle: '' }).clientConfig, { url: expected })
      assert.equal(reviewPath(settings.admission), new URL(expected).pathname)
    })
  }

  test('leaves namespaces out by name: sorted, each once, and never more than a thousand', () => {
    assert.deepEqual(leftOut(build({ excluded: ['z', 'kube-system', 'a', 'a'] })), [
      'a',
      'k8s-image-puller',
      'kube-system',
      'z',
    ])
    const settings = {
      ...defaultSettings,
      discovery: { ...defaultSettings.discovery, ignoreNamespaces: ['zz'] },
    }
    const many = Array.from({ length: 3_000 }, (_, index) => `n${index}`)
    const names = leftOut(build({ settings, excluded: many }))
    assert.equal(names.length, 1_000)
    // Those that bear no flag are named by nothing else.
    for (const name of ['kube-system', 'k8s-image-puller', 'zz']) assert.ok(names.includes(name))
  })

  test('leaves out what the selector of namespaces does not select', () => {
    const namespaceSelector = {
      matchLabels: { care: 'true' },
      matchExpressions: [{ key: 'team', operator: 'Exists' }],
    }
    const settings = {
      ...defaultSettings,
      discovery: { ...defaultSettings.discovery, namespaceSelector },
    }
    assert.deepEqual(build({ settings }).namespaceSelector?.matchExpressions?.slice(0, 2), [
      { key: 'care', operator: 'In', values: ['true'] },
      { key: 'team', operator: 'Exists' },
    ])
  })

  test('has no caBundle where the system trusts what is served', () => {
    assert.ok(!('caBundle' in build({ bundle: '' }).clientConfig))
  })

  test('is needed only where there is something to point pods at', () => {
    const mirror = { ...defaultSettings.mirror, registry: 'backup.test' }
    assert.equal(needsWebhook({ admission, mirror }), true)
    assert.equal(needsWebhook({ admission, mirror: defaultSettings.mirror }), false)
    assert.equal(needsWebhook({ admission: { ...admission, rewrite: 'never' }, mirror }), false)
    assert.equal(needsWebhook({ admission: { ...admission, enabled: false }, mirror }), false)
  })
})

describe('a configuration that was read back', () => {
  const desired = buildConfiguration({ settings: defaultSettings, excluded: [], bundle, owner })
  const webhook = desired.webhooks?.[0] ?? assert.fail()
  const found = (changes: Partial<MutatingWebhook> & Record<string, unknown>) => ({
    ...desired,
    metadata: { ...desired.metadata, resourceVersion: '7', uid: 'x' },
    webhooks: [{ ...webhook, ...changes }],
  })

  test('is right with fields that kip does not know', () => {
    assert.equal(isRight(found({ futureField: 1 }), desired), true)
  })

  const bundled = (pem: string): MutatingWebhook['clientConfig'] => ({
    ...webhook.clientConfig,
    caBundle: Buffer.from(pem).toString('base64'),
  })

  test('is right when an injector wrote the same certificates with other white space', () => {
    assert.equal(isRight(found({ clientConfig: bundled(bundle.trim()) }), desired), true)
    assert.equal(isRight(found({ clientConfig: bundled(`${bundle}\n`) }), desired), true)
  })

  const { caBundle: _, ...unbundled } = webhook.clientConfig
  const wrong: readonly [what: string, changes: Partial<MutatingWebhook>][] = [
    ['another authority', { clientConfig: bundled(bundle.replace('\nx\n', '\ny\n')) }],
    ['one authority more', { clientConfig: bundled(bundle + bundle.replace('x', 'y')) }],
    ['no authority', { clientConfig: unbundled }],
    ['policy', { failurePolicy: 'Fail' }],
    ['time-out', { timeoutSeconds: 30 }],
    ['another condition', { matchConditions: [{ name: 'never', expression: 'false' }] }],
    ['selector', { objectSelector: { matchLabels: { a: 'b' } } }],
    ['endpoint', { clientConfig: { url: 'https://evil.example/' } }],
    ['rules', { rules: [] }],
  ]
  for (const [what, changes] of wrong) {
    test(`is wrong: ${what}`, () => assert.equal(isRight(found(changes), desired), false))
  }

  test('is wrong with another webhook, with none, and without its owner', () => {
    const two = { ...desired, webhooks: [webhook, { ...webhook, name: 'b.b.b' }] }
    assert.equal(isRight(two, desired), false)
    assert.equal(isRight({ ...desired, webhooks: [] }, desired), false)
    assert.equal(isRight({ ...desired, metadata: { name: 'kip' } }, desired), false)
    const system = buildConfiguration({ settings: defaultSettings, excluded: [], bundle: '' })
    assert.equal(isRight(found({ clientConfig: bundled('x') }), system), false)
  })
})
