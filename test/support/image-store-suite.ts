import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { ImageState, Mirror, Nodes, Source, Usage } from '../../src/state/cached-image.ts'
import { changedSince } from '../../src/state/changed-since.ts'
import { ConflictError, type ImageStore } from '../../src/state/store.ts'

export interface StoreHarness {
  readonly store: ImageStore
  /** Another process's view of the same images; the same store where there is no other. */
  readonly other: ImageStore
  /** Writes that reached the place where the images are. */
  writes(): number
  close(): Promise<void>
}

export const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`

export const someUsage: Usage = {
  wanted: ['InUse'],
  pods: 2,
  workloads: 1,
  namespaces: 1,
  owners: [{ kind: 'Deployment', namespace: 'shop', name: 'web' }],
  firstSeen: '2026-01-02T03:04:05.678Z',
}

export const someSource: Source = {
  state: 'Available',
  digest: digestOf('a'),
  mediaType: 'application/vnd.oci.image.index.v1+json',
  platforms: ['linux/amd64', 'linux/arm64/v8'],
  sizeBytes: 72_000_000,
  checkedAt: '2026-01-02T03:04:06.000Z',
}

export const someMirror: Mirror = {
  registry: 'backup.test:5001/mirror',
  state: 'Pending',
  reference: 'backup.test:5001/mirror/docker.io/library/nginx:1.27',
}

export const someNodes: Nodes = { desired: 2, cached: 1, pulling: 1, failed: 0, failures: [] }

/** What every ImageStore does, whatever is behind it. Each test has a reference of its own. */
export function imageStoreSuite(name: string, start: () => Promise<StoreHarness>): void {
  describe(`image store: ${name}`, () => {
    let harness: StoreHarness
    let store: ImageStore
    const { signal } = new AbortController()
    let count = 0
    const fresh = (): string => `docker.io/library/suite-${count++}:1`

    before(async () => {
      harness = await start()
      store = harness.store
      await store.synced
    })
    after(() => harness.close())

    const known = async (reference = fresh()): Promise<ImageState> => {
      await store.putUsage(reference, someUsage, signal)
      return get(store, reference)
    }

    it('makes an image from its usage, and reads its own write', async () => {
      const reference = fresh()
      assert.equal(store.get(reference), undefined)
      await store.putUsage(reference, someUsage, signal)
      const image = get(store, reference)
      assert.equal(image.reference, reference)
      assert.equal(image.requested, false)
      assert.deepEqual(image.usage, someUsage)
      assert.deepEqual(image.mirrors, [])
      assert.match(image.name, /^suite-\d+-1-[0-9a-f]{32}$/)
      assert.ok([...store.list()].some((each) => each.reference === reference))
    })

    it('keeps the four stanzas apart', async () => {
      const { reference } = await known()
      await store.putSource(get(store, reference), someSource, signal)
      await store.putMirror(get(store, reference), someMirror, signal)
      await store.putNodes(get(store, reference), someNodes, signal)
      await store.putUsage(reference, { ...someUsage, pods: 3 }, signal)
      const image = get(store, reference)
      assert.deepEqual(image.usage, { ...someUsage, pods: 3 })
      assert.deepEqual(image.source, someSource)
      assert.deepEqual(image.mirrors, [someMirror])
      assert.deepEqual(image.nodes, someNodes)
      assert.deepEqual(
        image.conditions.map(({ type, status, reason }) => [type, status, reason]),
        [
          ['Cached', 'Unknown', 'Pulling'],
          ['Mirrored', 'Unknown', 'Pending'],
          ['Resolved', 'True', 'Available'],
        ],
      )
    })

    it('takes away what a stanza no longer holds', async () => {
      const { reference } = await known()
      const lastSeen = '2026-01-03T00:00:00.000Z'
      await store.putUsage(reference, { ...someUsage, pods: 0, owners: [], lastSeen }, signal)
      assert.equal(get(store, reference).usage?.lastSeen, lastSeen)
      await store.putUsage(reference, someUsage, signal)
      assert.deepEqual(get(store, reference).usage, someUsage)
      const failed: Mirror = { ...someMirror, state: 'Failed', code: 'COPY_TLS', message: 'no' }
      await store.putMirror(get(store, reference), failed, signal)
      await store.putMirror(get(store, reference), someMirror, signal)
      assert.deepEqual(get(store, reference).mirrors, [someMirror])
    })

    it('writes nothing when nothing changed', async () => {
      const { reference } = await known()
      await store.putSource(get(store, reference), someSource, signal)
      const claimed = await store.putMirror(get(store, reference), someMirror, signal)
      await store.putNodes(claimed, someNodes, signal).catch(() => assert.fail('stale at once'))
      const before = harness.writes()
      const { resourceVersion } = get(store, reference)
      await store.putUsage(reference, { ...someUsage }, signal)
      await store.putMirror(get(store, reference), { ...someMirror }, signal)
      await store.putNodes(get(store, reference), { ...someNodes }, signal)
      const checkedAt = '2026-01-02T09:00:00.000Z'
      await store.putSource(get(store, reference), { ...someSource, checkedAt }, signal)
      assert.equal(harness.writes(), before)
      assert.equal(get(store, reference).resourceVersion, resourceVersion)
    })

    it('resolves a claim to the state that the next write builds on', async () => {
      const image = await known()
      const claimed = await store.putMirror(image, { ...someMirror, state: 'Copying' }, signal)
      assert.equal(claimed.mirrors[0]?.state, 'Copying')
      const done: Mirror = { ...someMirror, state: 'Verified', digest: digestOf('b') }
      const verified = await store.putMirror(claimed, done, signal)
      assert.deepEqual(verified.mirrors, [done])
      assert.equal(verified.conditions[0]?.status, 'True')
    })

    it('lets one of two claims win', async () => {
      const image = await known()
      const claim = (worker: string): Promise<ImageState> =>
        store.putMirror(image, { ...someMirror, state: 'Copying', worker }, signal)
      const results = await Promise.allSettled([claim('one'), claim('two')])
      assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
      const lost = results.find((result) => result.status === 'rejected')
      assert.ok(lost?.reason instanceof ConflictError)
      assert.equal(lost.reason.code, 'KIP_STATE_CONFLICT')
    })

    it('refuses a write that was computed from an older state, and one to an image that is gone', async () => {
      const image = await known()
      await store.putSource(image, someSource, signal)
      await assert.rejects(store.putNodes(image, someNodes, signal), ConflictError)
      await store.remove(get(store, image.reference), signal)
      await assert.rejects(store.putSource(image, someSource, signal), ConflictError)
      assert.equal(store.get(image.reference), undefined)
    })

    it('refuses a write that another process overtook', async () => {
      const image = await known()
      const { other } = harness
      await seen(other, image)
      await other.putSource(get(other, image.reference), someSource, signal)
      await assert.rejects(store.putNodes(image, someNodes, signal), ConflictError)
      await changedSince(store, image, signal)
      await store.putNodes(get(store, image.reference), someNodes, signal)
      assert.deepEqual(get(store, image.reference).source, someSource)
    })

    it('tells of changes and of removal', async () => {
      const reference = fresh()
      const told: string[] = []
      const stop = store.onChange((changed) => {
        if (changed === reference) told.push(store.get(reference) ? 'there' : 'gone')
      })
      await known(reference)
      assert.ok(told.length > 0 && told.every((each) => each === 'there'))
      await store.remove(get(store, reference), signal)
      assert.equal(told.at(-1), 'gone')
      stop()
      const heard = told.length
      await known(reference)
      assert.equal(told.length, heard)
    })

    it('removes only what nobody changed since', async () => {
      const image = await known()
      await store.putUsage(image.reference, { ...someUsage, pods: 7 }, signal)
      await assert.rejects(store.remove(image, signal), ConflictError)
      assert.equal(get(store, image.reference).usage?.pods, 7)
    })

    it('can make an image again after it was removed', async () => {
      const first = await known()
      await store.remove(first, signal)
      const second = await known(first.reference)
      assert.notEqual(second.resourceVersion, first.resourceVersion)
      assert.equal(second.source, undefined)
    })

    it('bounds what a stanza takes', async () => {
      const image = await known()
      const message = 'x'.repeat(3000)
      const failures = Array.from({ length: 40 }, (_, i) => ({
        node: `node-${i}`,
        reason: 'ErrImagePull',
        message,
      }))
      await store.putNodes(image, { ...someNodes, failed: 40, failures }, signal)
      const { nodes } = get(store, image.reference)
      assert.ok(nodes && nodes.failures.length > 0 && nodes.failures.length <= 10)
      assert.equal(nodes.failed, 40)
      assert.ok(JSON.stringify(nodes).length < 3000)
    })

    it('keeps the time of a condition until its status turns', async () => {
      const { reference } = await known()
      await store.putNodes(get(store, reference), someNodes, signal)
      const first = get(store, reference).conditions[0]
      await store.putNodes(get(store, reference), { ...someNodes, desired: 3 }, signal)
      const second = get(store, reference).conditions[0]
      assert.equal(second?.message, '1 of 3 nodes hold it')
      assert.equal(second?.lastTransitionTime, first?.lastTransitionTime)
    })

    it('does nothing after its signal aborted', async () => {
      const aborted = AbortSignal.abort(new Error('stop'))
      const reference = fresh()
      await assert.rejects(store.putUsage(reference, someUsage, aborted), /stop/)
      assert.equal(store.get(reference), undefined)
    })
  })
}

function get(store: ImageStore, reference: string): ImageState {
  const image = store.get(reference)
  assert.ok(image, `${reference} is not in the store`)
  return image
}

/** Waits until a store knows an image in a version that another store wrote. */
async function seen(store: ImageStore, image: ImageState): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const check = (): void => {
    if (store.get(image.reference)?.resourceVersion === image.resourceVersion) resolve()
  }
  const stop = store.onChange(check)
  check()
  await promise
  stop()
}
