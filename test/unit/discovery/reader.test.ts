import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  createReader,
  ownerKey,
  ownerKeyOf,
  parseOwnerKey,
  type ReaderOptions,
  type Used,
} from '../../../src/discovery/reader.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { allWorkloadKinds, podKind, revisionKind } from '../../../src/images/templates.ts'
import type { KubeObject, ObjectMeta } from '../../../src/kube/types.ts'

const registry = 'backup.test:5001/m'
const mapping = createMapping({ registry, mapping: 'path' })
const nothing = { sourceOfCopy: () => undefined, filter: () => true }
const rollout = {
  group: 'argoproj.io',
  version: 'v1alpha1',
  kind: 'Rollout',
  plural: 'rollouts',
}
const batch = { ...rollout, group: 'other.io', kind: 'Batch', path: 'spec.tasks.pod' }
const kinds = [podKind, ...allWorkloadKinds([rollout, batch]), revisionKind]
/** The reader, by the name of the kind. */
const readerOf = (options: Partial<ReaderOptions> = {}) => {
  const reader = createReader({ mapping, ...nothing, ...options })
  return (name: string, raw: KubeObject): Used =>
    reader(kinds.find(({ kind }) => kind === name) ?? assert.fail(name), raw)
}
const read = readerOf()
const digest = `sha256:${'a'.repeat(64)}`

const meta = (name: string, more: ObjectMeta = {}): ObjectMeta => ({
  namespace: 'shop',
  name,
  ...more,
})
const ownedBy = (apiVersion: string, kind: string, name: string): ObjectMeta => ({
  ownerReferences: [
    { apiVersion: 'v1', kind: 'Helper', name: 'not-me', uid: '0' },
    { apiVersion, kind, name, uid: '1', controller: true },
  ],
})
const pod = (images: readonly string[], more: ObjectMeta = {}): KubeObject =>
  ({
    metadata: meta('web-1', more),
    spec: { containers: images.map((image, i) => ({ name: `c${i}`, image })) },
  }) as KubeObject
const workload = (spec: object, more: ObjectMeta = {}): KubeObject =>
  ({ metadata: meta('web', more), spec }) as KubeObject
const template = (image: string, metadata: ObjectMeta = {}): object => ({
  template: { metadata, spec: { containers: [{ name: 'c', image }] } },
})

describe('reader', () => {
  it('takes images from all four places, normalised, each once', () => {
    const { references } = read('Pod', {
      metadata: meta('web'),
      spec: {
        containers: [
          { name: 'a', image: 'nginx' },
          { name: 'b', image: 'docker.io/library/nginx:latest' },
        ],
        initContainers: [{ name: 'c', image: 'busybox:1' }],
        ephemeralContainers: [{ name: 'd', image: `quay.io/debug@${digest}` }],
        volumes: [{ name: 'e', image: { reference: 'ghcr.io/data/model:v1' } }],
      },
    } as KubeObject)
    assert.deepEqual(references, [
      'docker.io/library/busybox:1',
      'docker.io/library/nginx:latest',
      'ghcr.io/data/model:v1',
      `quay.io/debug@${digest}`,
    ])
  })

  const kinds: [string, object][] = [
    ['Deployment', { replicas: 0, ...template('redis:7') }],
    ['StatefulSet', { replicas: 0, ...template('redis:7') }],
    ['DaemonSet', template('redis:7')],
    ['ReplicaSet', { replicas: 0, ...template('redis:7') }],
    ['ReplicationController', template('redis:7')],
    ['Job', { suspend: true, ...template('redis:7') }],
    ['CronJob', { suspend: true, jobTemplate: { spec: template('redis:7') } }],
  ]
  for (const [kind, spec] of kinds) {
    it(`reads the template of a ${kind}, at rest too`, () => {
      const used = read(kind, workload(spec))
      assert.deepEqual(used.references, ['docker.io/library/redis:7'])
      assert.equal(used.owner, '')
    })
  }

  it('reads custom resources where the settings say that the template is', () => {
    const used = read('Rollout', workload(template('redis:7')))
    assert.deepEqual(used.references, ['docker.io/library/redis:7'])
    const [rollouts = podKind] = allWorkloadKinds([rollout]).slice(-1)
    assert.equal(ownerKeyOf(rollouts, 'shop/web'), 'Rollout.argoproj.io shop/web')
    const pods = { spec: { containers: [{ name: 'c', image: 'nginx:1' }] } }
    const other = workload({ tasks: { pod: pods }, ...template('redis:7') })
    assert.deepEqual(read('Batch', other).references, ['docker.io/library/nginx:1'])
    assert.deepEqual(read('Batch', workload({ tasks: 'none' })).references, [])
    const labels = { 'images.kip/ignore': 'true' }
    assert.equal(read('Rollout', workload(template('a'), { labels })).ignored, true)
  })

  it('tells a ReplicaSet that its Deployment scaled away from one on its way down', () => {
    const owned = ownedBy('apps/v1', 'Deployment', 'web')
    const spec = { replicas: 0, ...template('redis:7') }
    const revision = (raw: KubeObject, kind = 'ReplicaSet'): unknown => read(kind, raw).revision
    assert.deepEqual(revision(workload(spec, owned)), { number: 0, atRest: true })
    const leaving = { ...workload(spec, owned), status: { replicas: 1 } } as KubeObject
    assert.deepEqual(revision(leaving), { number: 0, atRest: false })
    const running = workload({ ...spec, replicas: 1 }, owned)
    assert.deepEqual(revision(running), { number: 0, atRest: false })
    assert.equal(revision(workload(spec)), undefined)
    assert.equal(revision(workload(spec, owned), 'Deployment'), undefined)
    assert.equal(read('ReplicaSet', workload(spec, owned)).owner, 'Deployment shop/web')
    assert.equal(read('ReplicaSet', workload(spec, owned)).references.length, 1)
  })

  it('reads the number of a revision from whoever gives one', () => {
    const owned = ownedBy('x/v1', 'Any', 'web')
    for (const [kind, key] of [
      ['ReplicaSet', 'deployment.kubernetes.io/revision'],
      ['ReplicaSet', 'rollout.argoproj.io/revision'],
      ['ReplicationController', 'openshift.io/deployment-config.latest-version'],
    ] as const) {
      const raw = workload(template('a'), { ...owned, annotations: { [key]: '12' } })
      assert.equal(read(kind, raw).revision?.number, 12)
    }
    const odd = { ...owned, annotations: { 'deployment.kubernetes.io/revision': 'latest' } }
    assert.equal(read('ReplicaSet', workload(template('a'), odd)).revision?.number, 0)
  })

  it('reads the past of a StatefulSet from its ControllerRevisions', () => {
    const metadata = meta('web-5d8', ownedBy('apps/v1', 'StatefulSet', 'web'))
    const raw = { metadata, revision: 4, data: { spec: template('redis:6') } } as KubeObject
    const { owner, references, revision } = read('ControllerRevision', raw)
    assert.equal(owner, 'StatefulSet shop/web')
    assert.deepEqual(references, ['docker.io/library/redis:6'])
    assert.deepEqual(revision, { number: 4, atRest: true })
    // Others keep there what they like.
    const alien = { metadata, revision: 1, data: { spec: { cpu: 2 } } } as unknown as KubeObject
    assert.deepEqual(read('ControllerRevision', alien).references, [])
  })

  it('names the controller, with its group when the kind is not built in', () => {
    const ownerOf = (apiVersion: string, kind: string): string =>
      read('Pod', pod(['a'], ownedBy(apiVersion, kind, 'x'))).owner
    assert.equal(ownerOf('batch/v1', 'Job'), 'Job shop/x')
    assert.equal(ownerOf('batch.volcano.sh/v1alpha1', 'Job'), 'Job.batch.volcano.sh shop/x')
    assert.equal(ownerOf('v1', 'Node'), 'Node shop/x')
    assert.equal(ownerOf('v1', 'ReplicationController'), 'ReplicationController shop/x')
    assert.deepEqual(parseOwnerKey(ownerKey('Rollout', 'argoproj.io', 'ns', 'a/b')), {
      kind: 'Rollout.argoproj.io',
      namespace: 'ns',
      name: 'a/b',
    })
  })

  it('counts a pod for its own namespace, whatever it calls its owner', () => {
    for (const [apiVersion, kind] of [
      ['v1', 'X other/'],
      ['x.io/v1', 'X other/web'],
      ['x other/v1', 'X'],
    ] as const) {
      const { owner } = read('Pod', pod(['a'], ownedBy(apiVersion, kind, 'x')))
      assert.equal(parseOwnerKey(owner).namespace, 'shop', owner)
      assert.equal(parseOwnerKey(owner).name, 'x')
    }
  })

  it('sees the flag on pods, workloads and templates', () => {
    const labels = { 'images.kip/ignore': 'true' }
    const spec = template('a')
    assert.equal(read('Pod', pod(['a'])).ignored, false)
    assert.equal(read('Pod', pod(['a'], { labels })).ignored, true)
    assert.equal(read('Pod', pod(['a'], { annotations: labels })).ignored, true)
    assert.equal(read('Deployment', workload(spec, { labels })).ignored, true)
    assert.equal(read('Deployment', workload(spec, { annotations: labels })).ignored, false)
    const flagged = template('a', { annotations: labels })
    assert.equal(read('Deployment', workload(flagged)).ignored, true)
    assert.equal(read('CronJob', workload({ jobTemplate: { spec: flagged } })).ignored, true)
  })

  it('keeps what is no reference apart', () => {
    const { references, invalid } = read('Pod', pod(['nginx', 'NO/such image', 'a:b:c']))
    assert.deepEqual(references, ['docker.io/library/nginx:latest'])
    assert.deepEqual(invalid, ['NO/such image', 'a:b:c'])
  })

  it('shares what many pods have in common', () => {
    const [one, two] = [read('Pod', pod(['nginx', 'b'])), read('Pod', pod(['nginx', 'b']))]
    assert.equal(one.references, two.references)
    const copy = `${registry}/docker.io/library/nginx:1@${digest}`
    assert.equal(read('Pod', pod([copy])).references, read('Pod', pod([copy])).references)
  })

  it('maps a copy back to its source', () => {
    const sourceOf = (image: string): readonly string[] => read('Pod', pod([image])).references
    assert.deepEqual(sourceOf(`${registry}/docker.io/library/nginx:1@${digest}`), [
      'docker.io/library/nginx:1',
    ])
    assert.deepEqual(sourceOf(`${registry}/origin.test_5000/a/b:v2`), ['origin.test:5000/a/b:v2'])
    const pin = `${registry}/quay.io/a:kip-sha256-${'a'.repeat(64)}@${digest}`
    assert.deepEqual(sourceOf(pin), [`quay.io/a@${digest}`])
    assert.deepEqual(sourceOf(`${registry}/by-hand:1`), [`${registry}/by-hand:1`])
  })

  const claim = (image: string, original: string): readonly string[] => {
    const annotations = { 'images.kip/original-images': JSON.stringify({ c0: original }) }
    return read('Pod', pod([image], { annotations })).references
  }

  it('believes the annotation where the copy is the very copy of what it claims', () => {
    const copy = `${registry}/quay.io/a:kip-sha256-${'a'.repeat(64)}@${digest}`
    assert.deepEqual(claim(copy, `quay.io/a:1.2@${digest}`), [`quay.io/a:1.2@${digest}`])
  })

  it('does not believe it otherwise', () => {
    const copy = `${registry}/quay.io/a:1@${digest}`
    assert.deepEqual(claim(copy, 'quay.io/evil:1'), ['quay.io/a:1'])
    assert.deepEqual(claim(copy, 'not a reference'), ['quay.io/a:1'])
    assert.deepEqual(claim('quay.io/mine:1', 'quay.io/evil:1'), ['quay.io/mine:1'])
    const broken = pod([copy], { annotations: { 'images.kip/original-images': '["x"' } })
    assert.deepEqual(read('Pod', broken).references, ['quay.io/a:1'])
  })

  it('asks for the source of a flat copy, and takes it as it is when nobody knows', () => {
    const flat = readerOf({
      mapping: createMapping({ registry, mapping: 'flat' }),
      sourceOfCopy: (copy) => (copy === `${registry}:a_b_1` ? 'quay.io/a/b:1' : undefined),
    })
    assert.deepEqual(flat('Pod', pod([`${registry}:a_b_1@${digest}`])).references, [
      'quay.io/a/b:1',
    ])
    assert.deepEqual(flat('Pod', pod([`${registry}:other`])).references, [`${registry}:other`])
  })

  it('leaves out what the filter refuses, by its source', () => {
    const filter = (reference: string): boolean => !reference.startsWith('quay.io/')
    const few = readerOf({ filter })
    const images = ['quay.io/a:1', `${registry}/quay.io/b:1@${digest}`, 'nginx']
    assert.deepEqual(few('Pod', pod(images)), {
      ...read('Pod', pod(['nginx'])),
    })
  })

  it('reads objects that lack everything', () => {
    assert.deepEqual(read('Pod', {}).references, [])
    assert.deepEqual(read('ReplicationController', workload({ replicas: 1 })).references, [])
  })
})
