import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Narrowing, narrowingOf } from '../../../src/admission/narrowing.ts'
import { buildConfiguration } from '../../../src/admission/webhook-configuration.ts'
import { defaultSettings } from '../../../src/config/leaves.ts'
import type {
  LabelSelector,
  LabelSelectorRequirement,
  MutatingWebhook,
  MutatingWebhookConfiguration,
} from '../../../src/kube/types.ts'

const build = (excluded: readonly string[]): MutatingWebhookConfiguration =>
  buildConfiguration({ settings: defaultSettings, excluded, bundle: '' })
const desired = build(['shop'])
const asked = desired.webhooks?.[0]?.namespaceSelector?.matchExpressions ?? []
const found = (
  namespaceSelector: LabelSelector,
  more: Partial<MutatingWebhook> = {},
): MutatingWebhookConfiguration => ({
  ...desired,
  webhooks: desired.webhooks?.map((webhook) => ({ ...webhook, namespaceSelector, ...more })) ?? [],
})
const beside = (...further: readonly LabelSelectorRequirement[]): LabelSelector => ({
  matchExpressions: [...asked, ...further],
})
const aks = { key: 'control-plane', operator: 'NotIn', values: ['true'] }
const old = { key: 'control-plane', operator: 'DoesNotExist' }
const byName = 'kubernetes.io/metadata.name'

describe('what others have a configuration leave out besides', () => {
  test('is what stands beside what kip asks for, in any order', () => {
    assert.deepEqual(narrowingOf(desired, desired), [])
    assert.deepEqual(narrowingOf(found({ matchExpressions: asked.toReversed() }), desired), [])
    assert.deepEqual(narrowingOf(found(beside(aks, old)), desired), [aks, old])
    assert.deepEqual(narrowingOf(found({ matchExpressions: [aks, ...asked] }), desired), [aks])
  })

  test('may be more names in a requirement of kip', () => {
    const names = asked.find(({ key }) => key === byName) ?? assert.fail()
    const more = { ...names, values: [...(names.values ?? []), 'gke-managed-system'] }
    const matchExpressions = asked.map((one) => (one === names ? more : one))
    assert.deepEqual(narrowingOf(found({ matchExpressions }), desired), [more])
  })

  const others: readonly [string, MutatingWebhookConfiguration][] = [
    ['less is left out', found({ matchExpressions: asked.slice(1) })],
    ['nothing is left out', found({})],
    [
      'a name is let in',
      found({
        matchExpressions: [...asked.slice(0, -1), { key: byName, operator: 'NotIn', values: [] }],
      }),
    ],
    ['few are selected', found(beside({ key: 'team', operator: 'In', values: ['a'] }))],
    ['those with a label are selected', found({ ...beside(), matchLabels: { team: 'a' } })],
    ['something else differs', found(beside(aks), { failurePolicy: 'Fail' })],
    ['there is no webhook', { ...desired, webhooks: [] }],
  ]
  for (const [what, configuration] of others) {
    test(`is not all where ${what}`, () => {
      assert.equal(narrowingOf(configuration, desired), undefined)
    })
  }
})

describe('who insists on leaving out more', () => {
  test('is who does it again, and with nothing new', () => {
    const narrowing = new Narrowing()
    assert.deepEqual(narrowing.insistedOn(desired, desired), [])
    assert.equal(narrowing.insistedOn(found(beside(aks)), desired), undefined)
    narrowing.tookOut(found(beside(aks)), desired)
    assert.deepEqual(narrowing.insistedOn(found(beside(aks)), desired), [aks])
    assert.equal(narrowing.insistedOn(found(beside(aks, old)), desired), undefined)
    narrowing.tookOut(found({}), desired)
    assert.deepEqual(narrowing.insistedOn(found(beside(aks)), desired), [aks])
  })

  test('is not kip, by what it said before', () => {
    const narrowing = new Narrowing()
    const before = build(['shop', 'test'])
    for (let round = 0; round < 2; round++) {
      assert.equal(narrowing.insistedOn(before, desired), undefined)
      narrowing.tookOut(before, desired)
      assert.equal(narrowing.insistedOn(desired, before), undefined)
      narrowing.tookOut(desired, before)
    }
  })
})
