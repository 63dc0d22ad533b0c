import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { imagesOf, pointerOf } from '../../../src/images/walker.ts'

const spec = {
  containers: [
    { name: 'app', image: 'nginx', imagePullPolicy: 'Always' },
    { name: 'side', image: 'quay.io/a/b:1' },
  ],
  initContainers: [{ name: 'setup', image: 'busybox:1.36' }],
  ephemeralContainers: [{ name: 'debug', image: 'docker.io/library/alpine' }],
  volumes: [
    { name: 'scratch', emptyDir: {} },
    { name: 'model', image: { reference: 'models.test/m@sha256:00', pullPolicy: 'IfNotPresent' } },
  ],
}

describe('imagesOf', () => {
  it('lists all four places, as written, with index and policy', () => {
    assert.deepEqual(imagesOf(spec), [
      { reference: 'nginx', place: 'container', name: 'app', index: 0, pullPolicy: 'Always' },
      { reference: 'quay.io/a/b:1', place: 'container', name: 'side', index: 1 },
      { reference: 'busybox:1.36', place: 'init', name: 'setup', index: 0 },
      { reference: 'docker.io/library/alpine', place: 'ephemeral', name: 'debug', index: 0 },
      {
        reference: 'models.test/m@sha256:00',
        place: 'volume',
        name: 'model',
        index: 1,
        pullPolicy: 'IfNotPresent',
      },
    ])
  })

  it('takes absent and null lists, and leaves out containers and volumes without an image', () => {
    assert.deepEqual(imagesOf({}), [])
    assert.deepEqual(imagesOf({ containers: null, volumes: null }), [])
    const gaps = {
      containers: [
        { name: 'filled in later' },
        { name: 'b', image: '' },
        { name: 'c', image: 'c' },
        { name: 'blank', image: ' ' },
      ],
      volumes: [
        { name: 'v', image: null },
        { name: 'w', image: {} },
      ],
    }
    assert.deepEqual(imagesOf(gaps), [{ reference: 'c', place: 'container', name: 'c', index: 2 }])
  })

  it('names a pointer that leads to the string', () => {
    for (const use of imagesOf(spec)) {
      const found = pointerOf(use)
        .slice(1)
        .split('/')
        .reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], spec)
      assert.equal(found, use.reference)
    }
  })
})
