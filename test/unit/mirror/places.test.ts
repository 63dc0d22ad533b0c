import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMapping } from '../../../src/images/mapping.ts'
import { Places } from '../../../src/mirror/places.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'

const { signal } = new AbortController()
const registry = 'backup.test/all'

function start(mapping: 'path' | 'flat') {
  const store = createMemoryStore()
  const want = async (reference: string) => {
    const usage = { wanted: ['InUse' as const], pods: 1, workloads: 0, namespaces: 1, owners: [] }
    await store.putUsage(reference, { ...usage, firstSeen: '2026-01-01T00:00:00Z' }, signal)
  }
  const forget = async (reference: string) =>
    store.remove(store.get(reference) ?? assert.fail(), signal)
  const told: (readonly string[])[] = []
  const onOwner = (wanting: readonly string[]) => told.push(wanting)
  const places = () => new Places({ store, mapping: createMapping({ registry, mapping }), onOwner })
  return { want, forget, places, told }
}

test('a flat place is the first image’s by name of those that want it, as they come and go', async () => {
  const { want, forget, places: begin, told } = start('flat')
  await want('b.test/app:1')
  const places = begin()
  const place = `${registry}:app_1`
  assert.equal(places.of('b.test/app:1'), place)
  assert.equal(places.ownerOf(place), 'b.test/app:1')
  await want('c.test/app:1')
  assert.equal(places.ownerOf(place), 'b.test/app:1')
  await want('a.test/app:1')
  assert.equal(places.ownerOf(place), 'a.test/app:1')
  await forget('a.test/app:1')
  await forget('b.test/app:1')
  assert.equal(places.ownerOf(place), 'c.test/app:1')
  await forget('c.test/app:1')
  assert.equal(places.ownerOf(place), undefined)
  assert.deepEqual(told, [
    ['a.test/app:1', 'b.test/app:1', 'c.test/app:1'],
    ['b.test/app:1', 'c.test/app:1'],
    ['c.test/app:1'],
  ])
  places.close()
  await want('a.test/app:1')
  assert.equal(places.ownerOf(place), undefined, 'it listens no more')
})

test('a place that tells its image is contended for by nobody', async () => {
  const { want, places: begin } = start('path')
  await want('a.test/app:1')
  const places = begin()
  const place = places.of('a.test/app:1') ?? assert.fail()
  assert.equal(place, `${registry}/a.test/app:1`)
  assert.equal(places.ownerOf(place), 'a.test/app:1')
  places.close()
})

test("a pin's place belongs to nobody, as its bytes are the same under any name", async () => {
  const { want, places: begin } = start('flat')
  const digest = `sha256:${'a'.repeat(64)}`
  const pins = [`a.test/app:1@${digest}`, `b.test/app@${digest}`]
  for (const pin of pins) await want(pin)
  const places = begin()
  const place = `${registry}:kip-${digest.replace(':', '-')}`
  for (const pin of pins) assert.equal(places.of(pin), place)
  assert.equal(places.ownerOf(place), undefined)
  assert.deepEqual(places.imagesAt(`${place}@${digest}`), pins)
  places.close()
})

test('a copy has no place', () => {
  const places = start('path').places()
  assert.equal(places.of(`${registry}/a.test/app:1`), undefined)
  places.close()
})
