/** Planner and worker together, against real registries and the state in memory. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { after, afterEach, before, describe, it } from 'node:test'
import { createRegistryClient, type RegistryClient } from '@containers/image-copy'
import { createMapping } from '../../../src/images/mapping.ts'
import { KubeApiError } from '../../../src/kube/errors.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { runMirror } from '../../../src/mirror/mirror.ts'
import { type CopyOutcome, runMirrorWorker } from '../../../src/mirror/worker.ts'
import type { ImageState, Mirror } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { attestationOf, imageOf, indexOf, layerOf } from '../../cluster/images/image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const { signal } = new AbortController()
const skip = (await whyNoRegistry()) ?? false

describe('the mirror', { skip }, () => {
  let source: TestRegistry
  let secret: TestRegistry
  let backup: TestRegistry
  let client: RegistryClient
  const stops: (() => Promise<void>)[] = []

  before(async () => {
    ;[source, secret, backup] = await Promise.all([
      startRegistry({ tls: true }),
      startRegistry({ tls: true, authenticated: true }),
      startRegistry({ tls: true }),
    ])
    client = createRegistryClient({
      ca: [source, secret, backup].map(({ authority }) => authority).join('\n'),
      retry: { attempts: 2 },
    })
  })
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
  })
  after(async () => {
    await client?.close()
    await Promise.all([source, secret, backup].map((registry) => registry?.close()))
  })

  /** Starts planner and worker; gives how to end both. */
  function start(store: ImageStore, options: { worker?: string; mapping?: 'path' | 'flat' } = {}) {
    const controller = new AbortController()
    const registry = `${backup.host}/mirror`
    const mapping = createMapping({ registry, mapping: options.mapping ?? 'path' })
    const outcomes: CopyOutcome[] = []
    const unpulled = new Set<(copy: string) => void>()
    const log = silentLog()
    const ended = runMirror(
      {
        store,
        mapping,
        registry,
        decide: (image) =>
          image.source?.state === 'Available'
            ? { act: true, code: 'Mirror', text: '' }
            : { act: false, code: image.source?.state ?? 'NotResolved', text: 'not available' },
        keepWorker: (hooks, signal) => {
          const id = options.worker ?? 'test/1'
          hooks.onWorker(id)
          return runMirrorWorker(
            {
              ...{ store, client, mapping, registry, id, concurrency: 2, log },
              report: (outcome) => {
                outcomes.push(outcome)
                hooks.onOutcome(outcome)
              },
              now: Date.now,
              // The shortest waits: a retry comes after 7.5 s.
              random: () => 0,
            },
            signal,
          )
        },
        onUnpulled: (listener) => {
          unpulled.add(listener)
          return () => unpulled.delete(listener)
        },
        log,
        metrics: createMetrics({ processMetrics: false }),
        now: Date.now,
      },
      controller.signal,
    )
    const stop = async () => {
      controller.abort()
      await ended
    }
    stops.push(stop)
    const tell = (copy: string) => {
      for (const listener of unpulled) listener(copy)
    }
    return { mapping, outcomes, tell, stop }
  }

  async function want(
    store: ImageStore,
    reference: string,
    digest: string,
    state: 'Available' | 'NeedsCredentials' = 'Available',
  ): Promise<void> {
    const firstSeen = new Date().toISOString()
    const usage = { wanted: ['InUse' as const], pods: 1, workloads: 0, namespaces: 1, owners: [] }
    await store.putUsage(reference, { ...usage, firstSeen }, signal)
    const image = store.get(reference)
    assert.ok(image)
    await store.putSource(image, { state, digest, checkedAt: firstSeen }, signal)
  }

  const entry = (store: ImageStore, reference: string): Mirror | undefined =>
    store.get(reference)?.mirrors[0]
  const reaches = (store: ImageStore, reference: string, state: Mirror['state'], ms = 20_000) =>
    waitUntil(
      `${reference} ${state}, is ${JSON.stringify(entry(store, reference))}`,
      () => {
        const now = entry(store, reference)
        return now?.state === state && now
      },
      ms,
    )

  it('breaks off copies of images that are wanted no more', async () => {
    // Takes connections, and says nothing.
    const silent = createServer().listen(0, '127.0.0.1')
    const sockets = new Set<Socket>()
    silent.on('connection', (socket) => sockets.add(socket))
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const store = createMemoryStore()
    start(store)
    // As many as are copied at a time.
    const hanging = ['one', 'two'].map((name) => `127.0.0.1:${port}/${name}:1`)
    for (const reference of hanging) await want(store, reference, `sha256:${'a'.repeat(64)}`)
    for (const reference of hanging) await reaches(store, reference, 'Copying')
    const digest = await source.client.push(tinyImage(92), 'team/next', '1')
    const reference = `${source.host}/team/next:1`
    await want(store, reference, digest)
    for (const each of hanging) await store.remove(store.get(each) ?? assert.fail(), signal)
    await reaches(store, reference, 'Verified')
    for (const socket of sockets) socket.destroy()
    silent.close()
  })

  it('keeps what came of a copy while the API server is away, and writes it then', async () => {
    const stored = createMemoryStore()
    let refusals = 1
    const store: ImageStore = {
      ...stored,
      async putMirror(image, mirror, signal) {
        if (mirror.state === 'Verified' && refusals-- > 0) {
          throw new KubeApiError({ status: 0, reason: 'Broken', message: 'cut' })
        }
        return await stored.putMirror(image, mirror, signal)
      },
    }
    const digest = await source.client.push(tinyImage(91), 'team/away', '1')
    const reference = `${source.host}/team/away:1`
    start(store)
    await want(store, reference, digest)
    await reaches(store, reference, 'Verified')
    assert.ok(refusals < 1)
  })

  it('copies an index with attestations whole, and verifies it by digest', async () => {
    const store = createMemoryStore()
    const one = imageOf({ layers: [layerOf([{ kind: 'file', path: '/a', content: 'a' }])] })
    const index = indexOf([
      { image: one, platform: { os: 'linux', architecture: 'amd64' } },
      attestationOf(one),
    ])
    const digest = await source.client.push(index, 'team/app', '1')
    const reference = `${source.host}/team/app:1`
    const { mapping, outcomes } = start(store)
    await want(store, reference, digest)
    const copy = await reaches(store, reference, 'Verified')
    assert.equal(copy.digest, digest)
    assert.equal(copy.worker, undefined, 'a claim ends with its copy')
    const repository = `mirror/${source.host.replace(':', '_')}/team/app`
    assert.equal(copy.reference, `${backup.host}/${repository}:1`)
    assert.ok(mapping.isBackup({ registry: backup.host, repository }))
    assert.deepEqual((await backup.client.manifest(repository, '1'))?.bytes, index.bytes)
    assert.equal(outcomes.at(-1)?.state, 'Verified')
  })

  it('makes a copy anew that the backup lost, once a node could not pull it', async () => {
    const store = createMemoryStore()
    const digest = await source.client.push(tinyImage(94), 'team/lost', '1')
    const reference = `${source.host}/team/lost:1`
    const { mapping, outcomes, tell } = start(store)
    await want(store, reference, digest)
    const { reference: copy } = await reaches(store, reference, 'Verified')
    const { repository } = mapping.backupOf({
      ...{ registry: source.host, repository: 'team/lost', tag: '1' },
    })
    await backup.client.deleteImage(repository, digest)
    assert.equal(await backup.client.manifest(repository, digest), undefined)
    tell(`${copy}@${digest}`)
    await waitUntil('it is copied again', () => outcomes.length === 2, 20_000)
    await reaches(store, reference, 'Verified')
    assert.equal((await backup.client.manifest(repository, '1'))?.digest, digest)
  })

  it('follows a moved tag, and pods keep the old digest until the new one is verified', async () => {
    const store = createMemoryStore()
    const reference = `${source.host}/moving:1`
    const first = await source.client.push(tinyImage(11), 'moving', '1')
    start(store)
    await want(store, reference, first)
    await reaches(store, reference, 'Verified')
    const seen: (string | undefined)[] = []
    store.onChange(() => seen.push(entry(store, reference)?.digest))
    const second = await source.client.push(tinyImage(12), 'moving', '1')
    await want(store, reference, second)
    await waitUntil('new digest', () => entry(store, reference)?.digest === second, 20_000)
    assert.deepEqual([...new Set(seen)], [first, second])
  })

  it('sends nothing twice of two names of one digest', async () => {
    const store = createMemoryStore()
    const image = tinyImage(93)
    const digest = await source.client.push(image, 'team/name', '1')
    await source.client.push(image, 'team/name', '1.0')
    await source.client.push(image, 'other/name', '1')
    const { outcomes } = start(store)
    for (const name of ['team/name:1', 'team/name:1.0', 'other/name:1']) {
      await want(store, `${source.host}/${name}`, digest)
      await reaches(store, `${source.host}/${name}`, 'Verified')
    }
    const sent = outcomes.map(({ bytes }) => bytes)
    // Of the others the manifest alone, which bears the name.
    const manifest = image.bytes.length
    assert.ok((sent[0] ?? 0) > manifest)
    assert.deepEqual(sent.slice(1), [manifest, manifest])
  })

  it('does not copy what asks for credentials, and says so', async () => {
    const store = createMemoryStore()
    const reference = `${secret.host}/private:1`
    const digest = await secret.client.push(tinyImage(13), 'private', '1')
    start(store)
    await want(store, reference, digest, 'NeedsCredentials')
    const blocked = await reaches(store, reference, 'Blocked')
    assert.equal(blocked.code, 'NeedsCredentials')
    assert.equal(blocked.digest, undefined)
    const mirrored = (store.get(reference) as ImageState).conditions.find(
      ({ type }) => type === 'Mirrored',
    )
    assert.equal(mirrored?.status, 'False')
    assert.equal(mirrored?.reason, 'NeedsCredentials')
    assert.deepEqual(
      (await backup.client.repositories()).filter((name) => name.includes('private')),
      [],
    )
  })

  it('blocks an image whose source turned private after it was looked at', async () => {
    const store = createMemoryStore()
    const reference = `${secret.host}/turned:1`
    const digest = await secret.client.push(tinyImage(14), 'turned', '1')
    start(store)
    await want(store, reference, digest)
    const blocked = await reaches(store, reference, 'Blocked')
    assert.equal(blocked.code, 'NeedsCredentials')
    assert.ok(blocked.retryAt)
  })

  it('names a backup that is down, and copies when it is back', async () => {
    const store = createMemoryStore()
    const reference = `${source.host}/patient:1`
    const digest = await source.client.push(tinyImage(15), 'patient', '1')
    await backup.stop()
    start(store)
    await want(store, reference, digest)
    const failed = await reaches(store, reference, 'Failed', 40_000)
    assert.equal(failed.code, 'COPY_UNREACHABLE')
    assert.match(failed.message ?? '', /^backup /)
    assert.equal(failed.attempts, 1)
    await backup.start()
    await reaches(store, reference, 'Verified', 40_000)
  })

  it('takes over what a worker that is gone had claimed', async () => {
    const store = createMemoryStore()
    const reference = `${source.host}/orphan:1`
    const digest = await source.client.push(tinyImage(16), 'orphan', '1')
    await want(store, reference, digest)
    const image = store.get(reference)
    assert.ok(image)
    const registry = `${backup.host}/mirror`
    const target = `${registry}/${source.host.replace(':', '_')}/orphan:1`
    await store.putMirror(
      image,
      {
        registry,
        reference: target,
        state: 'Copying',
        worker: 'gone/7',
        since: '2026-01-01T00:00:00Z',
      },
      signal,
    )
    start(store, { worker: 'next/1' })
    await reaches(store, reference, 'Verified')
  })

  it('gives a flat place to one image only, and tells the other', async () => {
    const store = createMemoryStore()
    const [one, other] = [`${source.host}/a/b:1`, `${source.host}/a_b:1`]
    const digests = await Promise.all([
      source.client.push(tinyImage(17), 'a/b', '1'),
      source.client.push(tinyImage(18), 'a_b', '1'),
    ])
    start(store, { mapping: 'flat' })
    await want(store, one, digests[0])
    await reaches(store, one, 'Verified')
    await want(store, other, digests[1])
    const blocked = await reaches(store, other, 'Blocked')
    assert.equal(blocked.code, 'PlaceTaken')
    assert.equal(entry(store, one)?.digest, digests[0])
  })
})
