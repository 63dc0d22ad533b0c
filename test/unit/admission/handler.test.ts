import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { admissionMetrics } from '../../../src/admission/admission-metrics.ts'
import { createHandler, type HandlerOptions } from '../../../src/admission/handler.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { copyOf, mapping, mirrored, settings, storeOf } from '../../support/admission-world.ts'
import { ephemeralReviewOf, reviewOf } from '../../support/pods.ts'
import { silentLog } from '../../support/silent-log.ts'

const pod = { metadata: {}, spec: { containers: [{ name: 'web', image: 'nginx:1' }] } }
const unknown = { metadata: {}, spec: { containers: [{ name: 'web', image: 'unknown:1' }] } }

function setUp(changes: Partial<HandlerOptions> = {}) {
  const metrics = createMetrics({ processMetrics: false })
  const log = silentLog()
  const sighted: string[] = []
  const handler = createHandler({
    store: storeOf(mirrored('nginx:1')),
    exclusions: { excluded: () => false },
    mapping,
    settings,
    log,
    metrics: admissionMetrics(metrics),
    sight: (reference, namespace) => sighted.push(`${namespace} ${reference}`),
    ...changes,
  })
  return { handler, metrics, log, sighted }
}

describe('the answer to a review', () => {
  test('carries the uid, and the patch as base64 of RFC 6902', async () => {
    const { handler, metrics } = setUp()
    const { apiVersion, kind, response } = handler(reviewOf(pod), false)
    assert.equal(`${apiVersion} ${kind}`, 'admission.k8s.io/v1 AdmissionReview')
    assert.equal(response.uid, '705ab4f5-6393-11e8-b7cc-42010a800002')
    assert.equal(response.allowed, true)
    assert.equal(response.patchType, 'JSONPatch')
    assert.deepEqual(JSON.parse(Buffer.from(response.patch ?? '', 'base64').toString()), [
      { op: 'replace', path: '/spec/containers/0/image', value: copyOf('nginx:1') },
      {
        op: 'add',
        path: '/metadata/annotations',
        value: { 'images.kip/original-images': '{"web":"nginx:1"}' },
      },
    ])
    const text = await metrics.render()
    assert.match(text, /kip_admission_requests_total\{outcome="Rewritten"\} 1/)
    assert.match(text, /kip_admission_images_total\{code="Rewritten"\} 1/)
  })

  test('without a patch names no patch type', () => {
    const { response } = setUp().handler(reviewOf(unknown), false)
    assert.deepEqual(Object.keys(response).sort(), ['allowed', 'auditAnnotations', 'uid'])
  })

  for (const [what, request] of [
    ['a deletion', { operation: 'DELETE' }],
    ['an update', { operation: 'UPDATE' }],
    ['a binding', { subResource: 'binding' }],
    ['another resource', { resource: { group: 'apps', version: 'v1', resource: 'pods' } }],
  ] as const) {
    test(`admits ${what} as it is`, () => {
      const { response } = setUp().handler(reviewOf(pod, request), false)
      assert.equal(response.allowed, true)
      assert.equal(response.patch, undefined)
    })
  }
})

describe('when kip cannot decide', () => {
  test('a fault in the memory admits the pod with its own image, logged and counted', async () => {
    const store = {
      get(): never {
        throw new Error('broken')
      },
    }
    const { handler, log, metrics } = setUp({ store })
    const { response } = handler(reviewOf(pod), false)
    assert.equal(response.allowed, true)
    assert.equal(response.patch, undefined)
    assert.deepEqual(response.auditAnnotations, { outcome: 'Fault' })
    assert.equal(log.lines.filter(({ level }) => level === 'error').length, 1)
    assert.match(await metrics.render(), /kip_admission_fail_open_total\{reason="Fault"\} 1/)
  })

  test('an overload admits the pod with its own image, counted', async () => {
    const { handler, metrics, sighted } = setUp()
    const { response } = handler(reviewOf(pod), true)
    assert.deepEqual(response.auditAnnotations, { outcome: 'Overloaded' })
    assert.equal(response.patch, undefined)
    assert.deepEqual(sighted, [])
    assert.match(await metrics.render(), /kip_admission_fail_open_total\{reason="Overloaded"\} 1/)
  })
})

describe('a sighting', () => {
  test('is told of what has no copy, normalised, with its namespace', () => {
    const { handler, sighted } = setUp()
    handler(reviewOf(unknown), false)
    handler(reviewOf(pod), false)
    assert.deepEqual(sighted, ['shop docker.io/library/unknown:1'])
  })

  test('is not made by a dry run', () => {
    const { handler, sighted } = setUp()
    const { response } = handler(reviewOf(unknown, { dryRun: true }), false)
    assert.equal(response.allowed, true)
    assert.deepEqual(sighted, [])
  })

  test('that fails costs the pod nothing', () => {
    const both = {
      spec: {
        containers: [
          { name: 'a', image: 'nginx:1' },
          { name: 'b', image: 'unknown:1' },
        ],
      },
    }
    const { handler, log } = setUp({
      sight: () => {
        throw new Error('broken')
      },
    })
    assert.ok(handler(reviewOf(both), false).response.patch)
    assert.equal(log.lines.filter(({ level }) => level === 'error').length, 1)
  })
})

test('new ephemeral containers are rewritten, and no annotation is asked for', () => {
  const before = { spec: { containers: [{ name: 'web', image: 'nginx:1' }] } }
  const after = {
    spec: { ...before.spec, ephemeralContainers: [{ name: 'debug', image: 'nginx:1' }] },
  }
  const { response } = setUp().handler(ephemeralReviewOf(after, before), false)
  assert.deepEqual(JSON.parse(Buffer.from(response.patch ?? '', 'base64').toString()), [
    { op: 'replace', path: '/spec/ephemeralContainers/0/image', value: copyOf('nginx:1') },
  ])
})

describe('a body that is no review is refused, naming the field', () => {
  const good = reviewOf(pod)
  const table: readonly [body: unknown, message: RegExp][] = [
    [null, /the body/],
    ['text', /the body/],
    [[], /the body/],
    [{}, /kind/],
    [{ ...good, kind: 'Pod' }, /^kind/],
    [{ ...good, apiVersion: 'admission.k8s.io/v1beta1' }, /^apiVersion/],
    [{ ...good, request: undefined }, /^request:/],
    [reviewOf(pod, { uid: 7 }), /^request\.uid/],
    [reviewOf(pod, { uid: '' }), /^request\.uid/],
    [reviewOf(pod, { operation: null }), /^request\.operation/],
    [reviewOf(pod, { namespace: {} }), /^request\.namespace/],
    [reviewOf(pod, { dryRun: 'false' }), /^request\.dryRun/],
    [reviewOf(null), /^request\.object:/],
    [reviewOf({ spec: null }), /^request\.object\.spec:/],
    [reviewOf({ spec: { containers: {} } }), /^request\.object\.spec\.containers:/],
    [
      reviewOf({ spec: { volumes: [{ image: 1 }] } }),
      /^request\.object\.spec\.volumes\[0\]\.image/,
    ],
    [
      reviewOf({ metadata: { labels: { a: 1 } }, spec: {} }),
      /^a value of request\.object\.metadata\.labels/,
    ],
  ]
  for (const [body, message] of table) {
    test(String(message), () => {
      assert.throws(() => setUp().handler(body, false), {
        code: 'KIP_ADMISSION_REVIEW',
        statusCode: 400,
        message,
      })
    })
  }
})
