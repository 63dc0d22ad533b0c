import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import jsonPatch from 'fast-json-patch'
import { createReviewer, type ReviewerOptions } from '../../../src/admission/reviewer.ts'
import type { Pod, PodSpec } from '../../../src/kube/types.ts'
import type { Source } from '../../../src/state/cached-image.ts'
import { copyOf, mapping, mirrored, settings, storeOf } from '../../support/admission-world.ts'
import { digestOf } from '../../support/pods.ts'

const copy = copyOf('nginx:1')

function reviewer(changes: Partial<ReviewerOptions> = {}) {
  return createReviewer({
    store: storeOf(mirrored('nginx:1')),
    exclusions: { excluded: () => false },
    mapping,
    settings,
    ...changes,
  })
}

function webPod(spec: Partial<PodSpec> = {}, metadata: Pod['metadata'] = {}): Pod {
  return { metadata, spec: { containers: [{ name: 'web', image: 'nginx:1' }], ...spec } }
}

function applied(pod: Pod, review: ReturnType<typeof reviewer>, namespace = 'shop'): Pod {
  const { patch } = review({ pod }, namespace)
  const operations = structuredClone(patch) as Parameters<typeof jsonPatch.applyPatch>[1]
  return jsonPatch.applyPatch(structuredClone(pod), operations, true).newDocument
}

describe('a pull secret', () => {
  const pullSecret = { name: 'kip-backup', in: (namespace: string) => namespace === 'shop' }
  const review = reviewer({ pullSecret })

  test('is appended to those of the pod, once', () => {
    const pod = webPod({ imagePullSecrets: [{ name: 'own' }] })
    const once = applied(pod, review)
    assert.equal(once.spec?.containers?.[0]?.image, copy)
    assert.deepEqual(once.spec?.imagePullSecrets, [{ name: 'own' }, { name: 'kip-backup' }])
    assert.deepEqual(review({ pod: once }, 'shop').patch, [])
  })

  test('is the first of a pod without any, or with none written as null', () => {
    for (const imagePullSecrets of [undefined, [], null]) {
      const spec = imagePullSecrets === undefined ? {} : { imagePullSecrets }
      const pod = webPod(spec as Partial<PodSpec>)
      assert.deepEqual(applied(pod, review).spec?.imagePullSecrets, [{ name: 'kip-backup' }])
    }
  })

  test('that the pod names already is not named again', () => {
    const pod = webPod({ imagePullSecrets: [{ name: 'kip-backup' }] })
    assert.deepEqual(applied(pod, review).spec?.imagePullSecrets, [{ name: 'kip-backup' }])
  })

  test('is not given to a pod that is left alone', () => {
    const pod = webPod({ containers: [{ name: 'web', image: 'unknown:1' }] })
    assert.deepEqual(review({ pod }, 'shop').patch, [])
  })

  test('that the namespace lacks keeps the pod as it is, even if the pod names it', () => {
    for (const spec of [{}, { imagePullSecrets: [{ name: 'kip-backup' }] }]) {
      const { patch, images } = review({ pod: webPod(spec) }, 'elsewhere')
      assert.deepEqual(patch, [])
      assert.deepEqual(
        images.map(({ code }) => code),
        ['NoPullSecret'],
      )
    }
  })

  test('decides over ephemeral containers: only a pod that names it already', () => {
    const added = { ephemeralContainers: [{ name: 'debug', image: 'nginx:1' }] }
    const before = webPod()
    const with_ = webPod({ imagePullSecrets: [{ name: 'kip-backup' }] })
    const without = review(
      { pod: { ...before, spec: { ...before.spec, ...added } }, before },
      'shop',
    )
    assert.deepEqual(without.patch, [])
    assert.match(without.auditAnnotations.images ?? '', /^debug: NoPullSecret nginx:1$/)
    const given = review(
      { pod: { ...with_, spec: { ...with_.spec, ...added } }, before: with_ },
      'shop',
    )
    assert.deepEqual(given.patch, [
      { op: 'replace', path: '/spec/ephemeralContainers/0/image', value: copy },
    ])
    // The new object is the user's word; what counts is the pod as it runs.
    const claimed = { ...with_, spec: { ...with_.spec, ...added } }
    assert.deepEqual(review({ pod: claimed, before }, 'shop').patch, [])
  })
})

test('a pod keeps its image while no node can pull the copy', () => {
  const nodes = { desired: 2, cached: 0, pulling: 0, failed: 2, failures: [] }
  const image = { ...mirrored('nginx:1'), nodes: { ...nodes, reason: 'CopyNotPulled' } }
  const { patch, auditAnnotations } = reviewer({ store: storeOf(image) })({ pod: webPod() }, 'shop')
  assert.deepEqual(patch, [])
  assert.match(auditAnnotations.images ?? '', /^web: CopyNotPulled nginx:1$/)
})

describe('an owner that rewriting was stopped for', () => {
  const review = reviewer({ stopped: { has: (uid) => uid === 'u1' } })
  const owned = (uid: string, controller = true) =>
    webPod({}, { ownerReferences: [{ apiVersion: 'v1', kind: 'X', name: 'x', uid, controller }] })

  test('has its pods left alone, and said so', () => {
    const { outcome, patch, auditAnnotations } = review({ pod: owned('u1') }, 'shop')
    assert.equal(outcome, 'RewriteStopped')
    assert.deepEqual(patch, [])
    assert.deepEqual(auditAnnotations, { outcome: 'RewriteStopped' })
  })

  test('is told by its uid, and only as controller', () => {
    assert.equal(review({ pod: owned('u2') }, 'shop').outcome, 'Rewritten')
    assert.equal(review({ pod: owned('u1', false) }, 'shop').outcome, 'Rewritten')
    assert.equal(review({ pod: webPod() }, 'shop').outcome, 'Rewritten')
  })
})

describe('imagePullPolicy', () => {
  const spec = {
    initContainers: [{ name: 'i', image: 'nginx:1', imagePullPolicy: 'IfNotPresent' }],
    containers: [
      { name: 'web', image: 'nginx:1', imagePullPolicy: 'Always' },
      { name: 'never', image: 'nginx:1', imagePullPolicy: 'Never' },
      { name: 'other', image: 'unknown:1', imagePullPolicy: 'Always' },
    ],
    volumes: [{ name: 'v', image: { reference: 'nginx:1', pullPolicy: 'Always' } }],
  }
  const policiesOf = ({ spec }: Pod) => [
    spec?.initContainers?.[0]?.imagePullPolicy,
    ...(spec?.containers ?? []).map(({ imagePullPolicy }) => imagePullPolicy),
    spec?.volumes?.[0]?.image?.pullPolicy,
  ]
  const changing = (canChangePolicy = true) =>
    reviewer({
      canChangePolicy,
      settings: { ...settings, admission: { ...settings.admission, pullPolicy: 'IfNotPresent' } },
    })

  test('Always with a tag becomes the copy by digest; the policy itself stays', () => {
    const after = applied(webPod(spec), reviewer())
    assert.equal(after.spec?.containers?.[0]?.image, copy)
    assert.deepEqual(policiesOf(after), ['IfNotPresent', 'Always', 'Never', 'Always', 'Always'])
  })

  test('Never leaves the image as it is', () => {
    assert.equal(applied(webPod(spec), changing()).spec?.containers?.[1]?.image, 'nginx:1')
  })

  test('changes by option, along with its image alone', () => {
    const after = applied(webPod(spec), changing())
    assert.deepEqual(policiesOf(after), [
      'IfNotPresent',
      'IfNotPresent',
      'Never',
      'Always',
      'IfNotPresent',
    ])
  })

  test('is not changed where AlwaysPullImages may be on', () => {
    const after = applied(webPod(spec), changing(false))
    assert.deepEqual(policiesOf(after), ['IfNotPresent', 'Always', 'Never', 'Always', 'Always'])
  })

  test('that somebody puts back stays, and from then on none is changed', () => {
    const always = webPod({
      containers: [{ name: 'a', image: 'nginx:1', imagePullPolicy: 'Always' }],
    })
    const review = changing()
    const [once] = applied(always, review).spec?.containers ?? []
    assert.equal(once?.imagePullPolicy, 'IfNotPresent')
    const again = {
      containers: [{ name: 'a', image: once?.image ?? '', imagePullPolicy: 'Always' }],
    }
    assert.equal(applied(webPod(again), review).spec?.containers?.[0]?.imagePullPolicy, 'Always')
    const annotations = { 'images.kip/original-images': '{"a":"nginx:1"}' }
    assert.equal(applied(always, review).spec?.containers?.[0]?.imagePullPolicy, 'IfNotPresent')
    const back = webPod(again, { annotations })
    assert.equal(applied(back, review).spec?.containers?.[0]?.imagePullPolicy, 'Always')
    assert.equal(applied(always, review).spec?.containers?.[0]?.imagePullPolicy, 'Always')
  })
})

describe('nobody gets an image that its own namespace could not pull', () => {
  const asked = (state: Source['state']) => {
    const image = mirrored('registry.example/team-a/secret:1')
    return { ...image, source: { state, checkedAt: '2027-01-01T00:00:00Z' } }
  }
  const pod = (image: string): Pod => ({ spec: { containers: [{ name: 'thief', image }] } })
  const secret = 'registry.example/team-a/secret:1'
  const copied = copyOf(secret)

  test('by naming what asks for credentials, though a copy of it is there', () => {
    const review = reviewer({ store: storeOf(asked('NeedsCredentials')) })
    for (const spelling of [secret, `${secret}@${digestOf('a')}`, secret.toUpperCase()]) {
      const { patch } = review({ pod: pod(spelling) }, 'team-b')
      assert.deepEqual(patch, [], spelling)
    }
  })

  test('by claiming it as the original of another', () => {
    const review = reviewer({ store: storeOf(asked('NeedsCredentials'), mirrored('nginx:1')) })
    const claim = JSON.stringify({ thief: secret, web: secret })
    const claimed: Pod = {
      metadata: { annotations: { 'images.kip/original-images': claim } },
      spec: {
        containers: [
          { name: 'thief', image: 'unknown:1' },
          { name: 'web', image: 'nginx:1' },
        ],
      },
    }
    const after = applied(claimed, review, 'team-b')
    assert.deepEqual(
      after.spec?.containers?.map(({ image }) => image),
      ['unknown:1', copy],
    )
    assert.equal(
      after.metadata?.annotations?.['images.kip/original-images'],
      JSON.stringify({ web: 'nginx:1' }),
    )
  })

  test('by naming the copy: no pull secret comes with what a pod names itself', () => {
    const review = reviewer({
      store: storeOf(asked('NeedsCredentials')),
      pullSecret: { name: 'kip-backup', in: () => true },
    })
    assert.deepEqual(review({ pod: pod(copied) }, 'team-b').patch, [])
  })

  test('by a status that somebody wrote: the copy is computed, and nothing else is believed', () => {
    const image = mirrored('nginx:1')
    const mirrors = image.mirrors.map((one) => ({ ...one, reference: copied.split('@')[0] ?? '' }))
    const review = reviewer({ store: storeOf({ ...image, mirrors }) })
    assert.deepEqual(review({ pod: pod('nginx:1') }, 'team-b').patch, [])
  })

  test('by another image of the same digest, whose pull secret the namespace lacks', () => {
    const review = reviewer({
      store: storeOf(mirrored('nginx:1')),
      pullSecret: { name: 'kip-backup', in: (namespace) => namespace === 'team-a' },
    })
    assert.deepEqual(review({ pod: pod('nginx:1') }, 'team-b').patch, [])
  })
})
