import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import type { Users } from '../../../src/discovery/inventory.ts'
import { UsageWriter } from '../../../src/discovery/usage-writer.ts'
import type { Usage } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const reference = 'quay.io/a/b:1'
const { signal } = new AbortController()
const keepSeconds = 60

function usersWith(pods: number): Users {
  const owner = { kind: 'Deployment', namespace: 'shop', name: 'web' }
  return pods === 0
    ? { pods, workloads: 0, namespaces: [], owners: [] }
    : { pods, workloads: 1, namespaces: ['shop'], owners: [owner] }
}

describe('what is written of the users of an image', () => {
  let clock: ManualClock
  let store: ImageStore
  let writer: UsageWriter
  beforeEach(() => {
    clock = new ManualClock()
    const now = (): number => 1_800_000_000_000 + clock.now()
    store = createMemoryStore({ now })
    writer = new UsageWriter({ store, isStatic: () => false, clock, now })
  })
  const write = (pods: number): Promise<number | undefined> =>
    writer.write(reference, usersWith(pods), keepSeconds, signal)
  const usage = (): Usage | undefined => store.get(reference)?.usage

  it('is their number at most every 5 s', async () => {
    assert.equal(await write(1), undefined)
    clock.advance(1000)
    assert.equal(await write(2), 4000)
    assert.equal(usage()?.pods, 1)
    clock.advance(4000)
    assert.equal(await write(3), undefined)
    assert.equal(usage()?.pods, 3)
  })

  it('is at once that there is none any more, and when that is too old', async () => {
    await write(1)
    assert.equal(await write(0), keepSeconds * 1000)
    assert.notEqual(usage()?.lastSeen, undefined)
    clock.advance(keepSeconds * 1000)
    assert.equal(await write(0), undefined)
    assert.equal(store.get(reference), undefined)
  })

  it('is nothing for users that were opted out, until there are others', async () => {
    await write(1)
    writer.noteOptedOut(reference)
    await write(0)
    assert.equal(store.get(reference), undefined)
    await write(1)
    await write(0)
    assert.notEqual(usage()?.lastSeen, undefined, 'kept for their return')
  })

  it('forgets that some were opted out once the others are written', async () => {
    await write(1)
    clock.advance(5000)
    writer.noteOptedOut(reference)
    await write(2)
    await write(0)
    assert.notEqual(usage()?.lastSeen, undefined, 'kept for their return')
  })

  it('holds up no news where there was nothing to write', async () => {
    await write(1)
    clock.advance(5000)
    await write(1)
    assert.equal(await write(2), undefined)
    assert.equal(usage()?.pods, 2)
  })

  it('is looked at again when it has been kept for as long as it is to be', async () => {
    await write(1)
    const month = 30 * 86_400
    assert.equal(await writer.write(reference, usersWith(0), month, signal), month * 1000)
  })
})
