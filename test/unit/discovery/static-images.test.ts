import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { putStaticImages, staticReferences } from '../../../src/discovery/static-images.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { ConflictError, type ImageStore } from '../../../src/state/store.ts'

const { signal } = new AbortController()

describe('static images', () => {
  it('are normalised, each once, without what is no reference', () => {
    const images = ['nginx', 'docker.io/library/nginx:latest', 'Not one', 'quay.io/a:1']
    assert.deepEqual(staticReferences(images.map((image) => ({ image }))), [
      'docker.io/library/nginx:latest',
      'quay.io/a:1',
    ])
  })

  it('are wanted in a store without any discovery', async () => {
    const inner = createMemoryStore()
    let conflicts = 1
    const store: ImageStore = {
      ...inner,
      putUsage: async (...args) => {
        if (conflicts-- > 0) throw new ConflictError(args[0])
        await inner.putUsage(...args)
      },
    }
    const now = (): number => Date.parse('2026-01-02T03:04:05.678Z')
    await putStaticImages(store, [{ image: 'nginx' }], { signal, now })
    assert.deepEqual(store.get('docker.io/library/nginx:latest')?.usage, {
      wanted: ['Static'],
      pods: 0,
      workloads: 0,
      namespaces: 0,
      owners: [],
      firstSeen: '2026-01-02T03:04:05.678Z',
    })
  })
})
