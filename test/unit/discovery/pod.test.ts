import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createPodReader, unpulledImages } from '../../../src/discovery/pod.ts'
import { createReader } from '../../../src/discovery/reader.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { KubeObject } from '../../../src/kube/types.ts'

const registry = 'backup.test/m'
const readerOf = (sourceOfCopy: (copy: string) => string | undefined = () => undefined) =>
  createPodReader(
    createReader({
      mapping: createMapping({ registry, mapping: 'flat' }),
      sourceOfCopy,
      filter: () => true,
    }),
  )
const pod = (spec: object, status: object = {}): KubeObject =>
  ({ metadata: { namespace: 'shop' }, spec, status }) as KubeObject

describe('pods', () => {
  it('tell which of their images a node could not pull', () => {
    const { project } = readerOf()
    const waits = (name: string, reason: string) => ({ name, state: { waiting: { reason } } })
    const { shape } = project(
      pod(
        {
          containers: ['nginx', 'quay.io/a:1', 'Not An Image', 'busybox'].map((image, index) => ({
            ...{ name: `c${index}`, image },
          })),
          initContainers: [{ name: 'init', image: 'quay.io/init:1' }],
          volumes: [{ name: 'c3', image: { reference: 'quay.io/volume:1' } }],
        },
        {
          initContainerStatuses: [waits('init', 'ImagePullBackOff')],
          containerStatuses: [
            waits('c0', 'ErrImagePull'),
            waits('c1', 'ContainerCreating'),
            waits('c2', 'ErrImagePull'),
            { name: 'c3', state: { running: {} } },
          ],
        },
      ),
    )
    assert.deepEqual(unpulledImages(shape), ['docker.io/library/nginx:latest', 'quay.io/init:1'])
  })

  it('are kept with all that pulling and healing need, one shape for all that are alike', () => {
    const { project, ofOne, isSame } = readerOf()
    const alike = project(
      pod(
        {
          containers: [{ name: 'web', image: 'nginx', imagePullPolicy: 'Always' }],
          initContainers: [{ name: 'init', image: 'busybox:1' }],
          imagePullSecrets: [{ name: 'one' }, {}],
          serviceAccountName: 'web',
        },
        {
          containerStatuses: [
            { name: 'web', state: { waiting: { reason: 'ErrImagePull' } } },
            { name: 'log', state: { running: {} } },
          ],
        },
      ),
    )
    const { used, ...shape } = alike.shape
    assert.deepEqual(shape, {
      images: [
        { reference: 'nginx', place: 'container', name: 'web', index: 0, pullPolicy: 'Always' },
        { reference: 'busybox:1', place: 'init', name: 'init', index: 0 },
      ],
      pullSecrets: ['one'],
      serviceAccount: 'web',
      waiting: [{ container: 'web', reason: 'ErrImagePull' }],
    })
    assert.deepEqual(used.references, [
      'docker.io/library/busybox:1',
      'docker.io/library/nginx:latest',
    ])
    assert.equal(ofOne(alike, 'node-1').shape, ofOne(alike, 'node-2').shape)
    assert.equal(ofOne(alike, 'node-2').node, 'node-2')
    assert.ok(isSame(ofOne(alike, 'node-1'), ofOne(alike, 'node-1')))
    assert.ok(!isSame(ofOne(alike, 'node-1'), ofOne(alike, 'node-2')))
    assert.deepEqual(project({ metadata: {} }).shape.images, [])
  })

  it('whose source only the known images tell are read again as these change', () => {
    const known = new Map<string, string>()
    const { project, ofOne } = readerOf((copy) => known.get(copy))
    const copy = `${registry}:a_b_1`
    const alike = project(pod({ containers: [{ name: 'c', image: copy }] }))
    const references = () => ofOne(alike, '').shape.used.references
    assert.deepEqual(references(), [copy])
    assert.equal(ofOne(alike, '').shape, alike.shape)
    known.set(copy, 'quay.io/a/b:1')
    assert.deepEqual(references(), ['quay.io/a/b:1'])
    known.clear()
    assert.deepEqual(references(), [copy])
  })
})
