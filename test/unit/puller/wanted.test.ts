import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import type { Settings } from '../../../src/config/settings.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { wantedSet } from '../../../src/puller/wanted.ts'
import type { Usage } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'

const digest = `sha256:${'0'.repeat(64)}`
const backup = `backup.test:5001/docker.io/library/nginx:1`
const mapping = createMapping({ registry: 'backup.test:5001', mapping: 'path' })
const { signal } = new AbortController()
const now = Date.parse('2026-01-01T01:00:00Z')
const usage: Usage = {
  wanted: ['InUse'],
  pods: 1,
  workloads: 1,
  namespaces: 1,
  owners: [],
  firstSeen: '2026-01-01T00:00:00Z',
}

function settings(images = ''): Settings {
  return loadSettings({ argv: [], env: { IMAGES: images }, readFile: () => '' }).settings
}

async function storeOf(...references: readonly string[]): Promise<ImageStore> {
  const store = createMemoryStore({ now: () => now })
  for (const reference of references) await store.putUsage(reference, usage, signal)
  return store
}

async function mirror(store: ImageStore, reference: string): Promise<void> {
  const image = store.get(reference)
  assert.ok(image)
  await store.putMirror(
    image,
    { registry: 'backup.test:5001', state: 'Verified', reference: backup, digest },
    signal,
  )
}

describe('wantedSet', () => {
  it('takes the static IMAGES when no store tells of them, with their names, normalised', async () => {
    const store = await storeOf()
    const { references, images } = wantedSet({
      store,
      settings: settings('web=nginx:1;again=docker.io/library/nginx:1'),
      mapping,
      now,
    })
    assert.deepEqual(
      [...references.values()],
      [{ reference: 'docker.io/library/nginx:1', name: 'web', bestEffort: false }],
    )
    assert.equal(images.size, 0)
  })

  it('takes the copy of an image once it is verified, and the original as best effort', async () => {
    const store = await storeOf('docker.io/library/nginx:1')
    await mirror(store, 'docker.io/library/nginx:1')
    const { references, images } = wantedSet({
      store,
      settings: settings('web=nginx:1'),
      mapping,
      now,
    })
    assert.deepEqual(
      [...references.values()],
      [
        { reference: `${backup}@${digest}`, name: 'web', bestEffort: false, uses: 1 },
        { reference: 'docker.io/library/nginx:1', bestEffort: true, uses: 1 },
      ],
    )
    assert.deepEqual(images.get('docker.io/library/nginx:1'), [`${backup}@${digest}`])
  })

  it('asks those nodes alone that can run an image, and none for one that no node can', async () => {
    const store = await storeOf('r.test/a:1', 'r.test/b:1')
    for (const [name, platform] of [
      ['a', 'linux/amd64'],
      ['b', 'linux/s390x'],
    ] as const) {
      const image = store.get(`r.test/${name}:1`)
      assert.ok(image)
      const checkedAt = '2026-01-01T00:00:00Z'
      const source = { state: 'Available', digest, platforms: [platform], checkedAt } as const
      await store.putSource(image, source, signal)
    }
    const ground = { architectures: new Set(['amd64', 'arm64']) }
    const set = wantedSet({ store, settings: settings(), mapping, ground, now })
    assert.deepEqual(
      [...set.references.values()],
      [{ reference: 'r.test/a:1', bestEffort: false, where: 'amd64', uses: 1 }],
    )
    assert.deepEqual(set.images.get('r.test/b:1'), [])
  })

  it('leaves out what nobody wants', async () => {
    const store = await storeOf('r.test/a:1')
    await store.putUsage('r.test/a:1', { ...usage, wanted: [] }, signal)
    assert.equal(wantedSet({ store, settings: settings(), mapping, now }).references.size, 0)
  })

  it('says when time alone changes the set', async () => {
    const store = await storeOf('r.test/a:1')
    const early = Date.parse(usage.firstSeen)
    const set = wantedSet({ store, settings: settings(), mapping, now: early })
    assert.equal(set.references.size, 0)
    assert.equal(set.recheckAt, early + settings().mirror.preCacheWaitSeconds * 1000)
  })

  it('leaves out and names what kip cannot look at where the nodes pull with secrets of kip', async () => {
    const store = await storeOf('r.test/public:1', 'corp.test/secret:1', 'corp.test/named:1')
    const image = store.get('r.test/public:1')
    assert.ok(image)
    const checkedAt = '2026-01-01T00:00:00Z'
    await store.putSource(image, { state: 'Unreachable', digest, checkedAt }, signal)
    const named = store.get('corp.test/named:1')?.usage
    assert.ok(named)
    await store.putUsage('corp.test/named:1', { ...named, wanted: ['InUse', 'Static'] }, signal)
    const env = { IMAGES: 'named=corp.test/named:1', IMAGE_PULL_SECRETS: 'corp' }
    const { settings } = loadSettings({ argv: [], env, readFile: () => '' })
    const set = wantedSet({ store, settings, mapping, now })
    assert.deepEqual([...set.references.keys()], ['r.test/public:1', 'corp.test/named:1'])
    assert.deepEqual([...set.maybePrivate], ['corp.test/secret:1'])
    const checked = wantedSet({ store, settings, mapping, now, kubeletsCheck: true })
    assert.equal(checked.references.size, 3)
  })

  it('keeps what it had of an image that is being decided anew', async () => {
    const store = await storeOf('r.test/a:1')
    const before = wantedSet({ store, settings: settings(), mapping, now })
    const early = Date.parse(usage.firstSeen)
    const set = wantedSet({ store, settings: settings(), mapping, now: early, before })
    assert.deepEqual([...set.references.keys()], ['r.test/a:1'])
  })
})
