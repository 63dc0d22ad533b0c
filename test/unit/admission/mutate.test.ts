import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import jsonPatch from 'fast-json-patch'
import { createReviewer, type ReviewerOptions } from '../../../src/admission/reviewer.ts'
import type { Pod } from '../../../src/kube/types.ts'
import {
  copyOf,
  digest,
  known,
  mapping,
  mirrored,
  settings,
  storeOf,
} from '../../support/admission-world.ts'
import { digestOf } from '../../support/pods.ts'

const originals = 'images.kip/original-images'
const store = storeOf(
  mirrored('nginx:1'),
  mirrored('quay.io/a/b:2'),
  mirrored(`redis@${digest}`),
  known('busybox:1'),
)

function reviewer(changes: Partial<ReviewerOptions> = {}) {
  const exclusions = { excluded: (namespace: string) => namespace === 'kube-system' }
  return createReviewer({ store, exclusions, mapping, settings, ...changes })
}

function podOf(spec: Pod['spec'], metadata: Pod['metadata'] = { name: 'web' }): Pod {
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: spec ?? {} }
}

function one(image: string, more: object = {}): Pod {
  return podOf({ containers: [{ name: 'web', image, ...more }] })
}

/** The pod after the patch, by another implementation of RFC 6902. */
function apply(pod: Pod, patch: readonly object[]): Pod {
  const operations = structuredClone(patch) as Parameters<typeof jsonPatch.applyPatch>[1]
  return jsonPatch.applyPatch(structuredClone(pod), operations, true).newDocument
}

describe('a pod that is created', () => {
  test('names the copies in all four places, and tells the originals', () => {
    const pod = podOf(
      {
        containers: [
          { name: 'web', image: 'nginx:1', imagePullPolicy: 'Always' },
          { name: 'side', image: 'busybox:1' },
        ],
        initContainers: [{ name: 'init', image: 'quay.io/a/b:2' }],
        volumes: [
          { name: 'tmp', emptyDir: {} },
          { name: 'web', image: { reference: `redis@${digest}` } },
        ],
      },
      { annotations: { 'a/b~c': 'd' } },
    )
    const { patch, outcome, auditAnnotations, awaited } = reviewer()({ pod }, 'shop')
    const after = apply(pod, patch)
    assert.deepEqual(after.spec, {
      containers: [
        { name: 'web', image: copyOf('nginx:1'), imagePullPolicy: 'Always' },
        { name: 'side', image: 'busybox:1' },
      ],
      initContainers: [{ name: 'init', image: copyOf('quay.io/a/b:2') }],
      volumes: [
        { name: 'tmp', emptyDir: {} },
        { name: 'web', image: { reference: copyOf(`redis@${digest}`) } },
      ],
    })
    const { [originals]: text = '', ...others } = after.metadata?.annotations ?? {}
    assert.deepEqual(others, { 'a/b~c': 'd' })
    assert.deepEqual(JSON.parse(text), {
      web: 'nginx:1',
      init: 'quay.io/a/b:2',
      'volume/web': `redis@${digest}`,
    })
    assert.equal(outcome, 'Rewritten')
    assert.match(auditAnnotations.images ?? '', /^web: Rewritten nginx:1 -> backup\.test:5001/)
    assert.match(auditAnnotations.images ?? '', /side: NotMirrored busybox:1$/)
    assert.deepEqual(awaited, ['docker.io/library/busybox:1'])
  })

  const left: readonly [why: string, pod: Pod, namespace: string, outcome: string][] = [
    ['no copy', one('busybox:1'), 'shop', 'Unchanged'],
    ['unknown image', one('nobody/knows:1'), 'shop', 'Unchanged'],
    ['another digest than the copy', one(`nginx:1@${digestOf('b')}`), 'shop', 'Unchanged'],
    ['never pulled', one('nginx:1', { imagePullPolicy: 'Never' }), 'shop', 'Unchanged'],
    ['no image reference', one('NGINX::1'), 'shop', 'Unchanged'],
    ['no image', podOf({ containers: [{ name: 'web' }] }), 'shop', 'Unchanged'],
    ['no containers', podOf({}), 'shop', 'Unchanged'],
    ['a copy already', one(copyOf('nginx:1')), 'shop', 'Unchanged'],
    ['excluded namespace', one('nginx:1'), 'kube-system', 'NamespaceExcluded'],
    [
      'opted out by label',
      { ...one('nginx:1'), metadata: { labels: { 'images.kip/ignore': 'true' } } },
      'shop',
      'OptedOut',
    ],
    [
      'opted out by annotation',
      { ...one('nginx:1'), metadata: { annotations: { 'images.kip/ignore': 'true' } } },
      'shop',
      'OptedOut',
    ],
    [
      'static pod',
      { ...one('nginx:1'), metadata: { annotations: { 'kubernetes.io/config.mirror': 'x' } } },
      'shop',
      'StaticPod',
    ],
  ]
  for (const [why, pod, namespace, outcome] of left) {
    test(`keeps its image: ${why}`, () => {
      const verdict = reviewer()({ pod }, namespace)
      assert.deepEqual(verdict.patch, [])
      assert.equal(verdict.outcome, outcome)
      assert.equal(verdict.auditAnnotations.outcome, outcome)
    })
  }

  test('of a flagged workload keeps its image', () => {
    const workloads = { ownsPod: () => true }
    const { outcome, patch } = reviewer({ workloads })({ pod: one('nginx:1') }, 'shop')
    assert.deepEqual([outcome, patch], ['OptedOut', []])
  })

  test('keeps its image where kip is told never to rewrite', () => {
    const never = { ...settings, admission: { enabled: true, rewrite: 'never' as const } }
    const { outcome, patch } = reviewer({ settings: never })({ pod: one('nginx:1') }, 'shop')
    assert.deepEqual([outcome, patch], ['RewriteNever', []])
  })

  for (const metadata of [undefined, {}, { annotations: null }]) {
    test(`bears the annotation whatever stood there: ${JSON.stringify(metadata)}`, () => {
      const pod = { ...one('nginx:1'), metadata } as Pod
      const after = apply(pod, reviewer()({ pod }, 'shop').patch)
      assert.equal(after.metadata?.annotations?.[originals], '{"web":"nginx:1"}')
    })
  }
})

describe('the annotation of originals', () => {
  const table: readonly [why: string, image: string, written: string, after: string | undefined][] =
    [
      ['fits its copy', copyOf('nginx:1'), '{"web":"nginx:1"}', '{"web":"nginx:1"}'],
      ['fits, spelt with spaces', copyOf('nginx:1'), '{ "web": "nginx:1" }', '{"web":"nginx:1"}'],
      ['claims another original', copyOf('nginx:1'), '{"web":"evil:1"}', undefined],
      ['claims a copy that is none', 'busybox:1', '{"web":"nginx:1"}', undefined],
      ['speaks of another container', copyOf('nginx:1'), '{"x":"nginx:1"}', undefined],
      ['is replaced by the rewrite', 'nginx:1', '{"web":"evil:1"}', '{"web":"nginx:1"}'],
      [
        'fits, and holds more than text',
        copyOf('nginx:1'),
        '{"web":"nginx:1","x":0}',
        '{"web":"nginx:1"}',
      ],
      ['is no JSON', copyOf('nginx:1'), 'nginx:1', undefined],
      ['is a list', copyOf('nginx:1'), '["nginx:1"]', undefined],
      ['holds a prototype', copyOf('nginx:1'), '{"__proto__":{"web":"nginx:1"}}', undefined],
    ]
  for (const [why, image, written, after] of table) {
    test(why, () => {
      const pod = { ...one(image), metadata: { annotations: { [originals]: written } } }
      const { patch } = reviewer()({ pod }, 'shop')
      assert.equal(apply(pod, patch).metadata?.annotations?.[originals], after)
    })
  }

  test('a pod without room for it keeps its images', () => {
    const bytes = 256 * 1024 - 'x'.length - `${originals}{"web":"nginx:1"}`.length
    const full = (size: number): Pod => ({
      ...one('nginx:1'),
      metadata: { annotations: { x: 'y'.repeat(size) } },
    })
    assert.equal(reviewer()({ pod: full(bytes) }, 'shop').outcome, 'Rewritten')
    const { patch, images } = reviewer()({ pod: full(bytes + 1) }, 'shop')
    assert.deepEqual(patch, [])
    assert.deepEqual(
      images.map(({ code }) => code),
      ['AnnotationsFull'],
    )
  })

  test('is the same after another round', () => {
    const pod = podOf({
      containers: [
        { name: 'web', image: 'nginx:1' },
        { name: 'side', image: 'busybox:1' },
      ],
    })
    const once = apply(pod, reviewer()({ pod }, 'shop').patch)
    assert.deepEqual(reviewer()({ pod: once }, 'shop').patch, [])
  })

  test('keeps the original when a sidecar comes between two rounds', () => {
    const pod = one('nginx:1')
    const once = apply(pod, reviewer()({ pod }, 'shop').patch)
    const injected = structuredClone(once) as { spec: { containers: object[] } } & Pod
    injected.spec.containers.unshift({ name: 'proxy', image: 'quay.io/a/b:2' })
    const twice = apply(injected, reviewer()({ pod: injected }, 'shop').patch)
    assert.deepEqual(JSON.parse(twice.metadata?.annotations?.[originals] ?? ''), {
      proxy: 'quay.io/a/b:2',
      web: 'nginx:1',
    })
  })
})

describe('ephemeral containers that are added', () => {
  const before = podOf({
    containers: [{ name: 'web', image: 'nginx:1' }],
    ephemeralContainers: [{ name: 'old', image: 'nginx:1' }],
  })
  const pod = podOf({
    ...before.spec,
    ephemeralContainers: [
      { name: 'old', image: 'nginx:1' },
      { name: 'new', image: 'nginx:1' },
    ],
  })

  test('only the new one is pointed at its copy; the audit annotation keeps what stood there', () => {
    const { patch, auditAnnotations } = reviewer()({ pod, before }, 'shop')
    const path = '/spec/ephemeralContainers/1/image'
    assert.deepEqual(patch, [{ op: 'replace', path, value: copyOf('nginx:1') }])
    assert.equal(auditAnnotations.images, `new: Rewritten nginx:1 -> ${copyOf('nginx:1')}`)
  })
})

test('the audit annotation is bounded and says how much it leaves out', () => {
  const containers = Array.from({ length: 300 }, (_, n) => ({
    name: `c${n}`,
    image: n === 299 ? 'nginx:1' : `registry.example/some/rather/long/name/of/an/image:${n}`,
  }))
  const { auditAnnotations } = reviewer()({ pod: podOf({ containers }) }, 'shop')
  const text = auditAnnotations.images ?? ''
  assert.ok(text.length <= 2048 && text.length > 1900)
  assert.ok(text.startsWith('c299: Rewritten nginx:1 -> '))
  assert.match(text, /; and \d{3} more$/)
})
