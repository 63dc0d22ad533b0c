import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { RewritePolicy, RewriteRule } from '../../../src/config/settings.ts'
import { decide } from '../../../src/decide/decide.ts'
import { policiesOf, policyOf, rewritesAnything } from '../../../src/decide/policy.ts'
import type { ImageState, Source } from '../../../src/state/cached-image.ts'
import { copyOf, mapping, mirrored, settings } from '../../support/admission-world.ts'

const nginx = 'docker.io/library/nginx:1'

function policy(rewrite: RewritePolicy, ...rules: readonly RewriteRule[]) {
  return { enabled: true, rewrite, rules }
}

describe('the policy of an image in a namespace', () => {
  const table: readonly [string, ReturnType<typeof policy>, RewritePolicy][] = [
    ['is the global one without rules', policy('failover'), 'failover'],
    ['is that of a rule for all', policy('never', { rewrite: 'available' }), 'available'],
    [
      'is that of the first rule that matches',
      policy(
        'never',
        { namespaces: ['other'], rewrite: 'failover' },
        { images: ['docker.io/**'], rewrite: 'available' },
        { namespaces: ['shop'], rewrite: 'failover' },
      ),
      'available',
    ],
    [
      'needs a match of both lists of a rule',
      policy('available', { namespaces: ['shop'], images: ['quay.io/**'], rewrite: 'never' }),
      'available',
    ],
    [
      'knows wildcards in names',
      policy('never', { namespaces: ['s*'], rewrite: 'failover' }),
      'failover',
    ],
    ['matches whole names', policy('never', { namespaces: ['sho'], rewrite: 'failover' }), 'never'],
    ['is never while admission is off', { ...policy('available'), enabled: false }, 'never'],
  ]
  for (const [what, settings, expected] of table) {
    test(what, () => assert.equal(policyOf(settings, nginx, 'shop'), expected))
  }
})

test('the policies that an image meets end with a rule for all namespaces', () => {
  const rules: readonly RewriteRule[] = [
    { namespaces: ['a'], rewrite: 'never' },
    { images: ['docker.io/**'], rewrite: 'failover' },
    { rewrite: 'never' },
  ]
  assert.deepEqual([...policiesOf(policy('available', ...rules), nginx)], ['never', 'failover'])
  assert.deepEqual([...policiesOf(policy('available', ...rules), 'quay.io/a/b:1')], ['never'])
})

test('a rule alone makes the webhook worth its while', () => {
  assert.equal(rewritesAnything(policy('never')), false)
  assert.equal(rewritesAnything(policy('never', { namespaces: ['a'], rewrite: 'failover' })), true)
})

function sourceIs(state: Source['state'] | undefined): ImageState {
  const { source, ...image } = mirrored('nginx:1')
  if (state === undefined || source === undefined) return image
  return { ...image, source: { ...source, state } }
}

function decided(image: ImageState, admission: ReturnType<typeof policy>, namespace = 'shop') {
  const { rewrite, cache } = decide({
    reference: 'nginx:1',
    image,
    mapping,
    settings: { ...settings, admission },
    now: Date.parse('2027-01-02T00:00:00Z'),
    placement: { namespace },
  })
  return { code: rewrite.code, reference: rewrite.reference, cached: cache.references }
}

describe('failover', () => {
  const copy = copyOf('nginx:1')
  for (const state of ['Unreachable', 'Missing'] as const) {
    test(`points pods at the copy while the source is ${state}, and nodes hold it`, () => {
      const { reference, cached } = decided(sourceIs(state), policy('failover'))
      assert.equal(reference, copy)
      assert.deepEqual(cached, [
        { reference: copy, bestEffort: false },
        { reference: nginx, bestEffort: true },
      ])
    })
  }
  for (const state of ['Available', 'Invalid', undefined] as const) {
    test(`leaves pods at a source that is ${state}, and nodes hold it under that name`, () => {
      const { code, cached } = decided(sourceIs(state), policy('failover'))
      assert.equal(code, 'SourceAvailable')
      assert.deepEqual(cached, [{ reference: nginx, bestEffort: false }])
    })
  }
})

test('where namespaces differ, nodes hold the image under both names in earnest', () => {
  const admission = policy('available', { namespaces: ['a'], rewrite: 'never' })
  assert.equal(decided(sourceIs('Available'), admission, 'a').code, 'RewriteNever')
  assert.deepEqual(decided(sourceIs('Available'), admission).cached, [
    { reference: copyOf('nginx:1'), bestEffort: false },
    { reference: nginx, bestEffort: false },
  ])
})
