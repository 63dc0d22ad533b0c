import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OpenCopies } from '../../../src/mirror/open-copies.ts'
import type { ImageState, Mirror } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'

const { signal } = new AbortController()
const registry = 'backup.test:5001'

async function want(store: ImageStore, reference: string): Promise<ImageState> {
  const usage = { wanted: ['InUse' as const], pods: 1, workloads: 0, namespaces: 1, owners: [] }
  await store.putUsage(reference, { ...usage, firstSeen: '2026-01-01T00:00:00Z' }, signal)
  return store.get(reference) ?? assert.fail()
}

async function put(store: ImageStore, reference: string, state: Mirror['state'], at = registry) {
  const image = store.get(reference) ?? assert.fail()
  const entry = { registry: at, reference: `${at}/${reference}`, state, worker: 'gone/1' }
  await store.putMirror(image, entry, signal)
}

test('work is there from the first copy that waits until the last is made', async () => {
  const store = createMemoryStore()
  const open = new OpenCopies({ store, registry })
  const told: boolean[] = []
  const unfollow = open.follow((isOpen) => told.push(isOpen))
  for (const reference of ['a.test/a:1', 'a.test/b:1']) {
    await want(store, reference)
    await put(store, reference, 'Pending')
  }
  await put(store, 'a.test/a:1', 'Copying')
  await put(store, 'a.test/a:1', 'Verified')
  assert.deepEqual(told, [false, true])
  await put(store, 'a.test/b:1', 'Failed')
  assert.deepEqual(told, [false, true, false])
  unfollow()
  await put(store, 'a.test/b:1', 'Pending')
  assert.deepEqual(told, [false, true, false])
  open.close()
})

test('a claim that a worker left behind is work, an image that is wanted no more is none', async () => {
  const store = createMemoryStore()
  await want(store, 'a.test/a:1')
  await put(store, 'a.test/a:1', 'Copying')
  const open = new OpenCopies({ store, registry })
  const told: boolean[] = []
  open.follow((isOpen) => told.push(isOpen))
  await store.remove(store.get('a.test/a:1') ?? assert.fail(), signal)
  assert.deepEqual(told, [true, false])
  open.close()
})

test('copies to another backup are no work', async () => {
  const store = createMemoryStore()
  await want(store, 'a.test/a:1')
  await put(store, 'a.test/a:1', 'Pending', 'other.test')
  const open = new OpenCopies({ store, registry })
  open.follow((isOpen) => assert.equal(isOpen, false))
  open.close()
})
