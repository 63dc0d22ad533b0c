import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { followCopies } from '../../../src/discovery/copies.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { someUsage } from '../../support/image-store-suite.ts'

const { signal } = new AbortController()
const registry = 'backup.test:5001/all'
const mapping = createMapping({ registry, mapping: 'flat' })

describe('copies', () => {
  it('lead back to the images that are known, as they come and go', async () => {
    const store = createMemoryStore()
    await store.putUsage('quay.io/a/b:1', someUsage, signal)
    const copies = followCopies(store, mapping)
    assert.equal(copies.sourceOf(`${registry}:a_b_1`), 'quay.io/a/b:1')
    assert.equal(copies.sourceOf(`${registry}:redis_7`), undefined)
    await store.putUsage('docker.io/library/redis:7', someUsage, signal)
    assert.equal(copies.sourceOf(`${registry}:redis_7`), 'docker.io/library/redis:7')
    const image = store.get('quay.io/a/b:1') ?? assert.fail()
    await store.remove(image, signal)
    assert.equal(copies.sourceOf(`${registry}:a_b_1`), undefined)
    copies.stop()
    await store.putUsage('quay.io/a/b:1', someUsage, signal)
    assert.equal(copies.sourceOf(`${registry}:a_b_1`), undefined)
  })

  it('are of the first when two sources share a place, and never of a copy', async () => {
    const store = createMemoryStore()
    const copies = followCopies(store, mapping)
    await store.putUsage('quay.io/a/b:1', someUsage, signal)
    await store.putUsage('ghcr.io/a/b:1', someUsage, signal)
    await store.putUsage(`${registry}:a_b_1`, someUsage, signal)
    assert.equal(copies.sourceOf(`${registry}:a_b_1`), 'quay.io/a/b:1')
  })
})
