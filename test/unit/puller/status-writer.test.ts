import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { StatusWriter } from '../../../src/puller/status-writer.ts'
import type { Nodes } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { ConflictError, type ImageStore } from '../../../src/state/store.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'

const reference = 'r.test/a:1'
const nodes = (cached: number): Nodes => ({
  desired: 9,
  cached,
  pulling: 9 - cached,
  failed: 0,
  failures: [],
})

interface World {
  readonly writer: StatusWriter
  readonly clock: ManualClock
  readonly store: ImageStore
  /** Counts that were written, in order. */
  readonly written: number[]
  /** Errors that the next writes meet. */
  readonly faults: Error[]
  pass(ms: number): Promise<void>
}

async function withWriter(work: (world: World) => Promise<void>): Promise<void> {
  const controller = new AbortController()
  const { signal } = controller
  const memory = createMemoryStore()
  const usage = { wanted: ['Static' as const], pods: 0, workloads: 0, namespaces: 0, owners: [] }
  await memory.putUsage(reference, { ...usage, firstSeen: '2026-01-01T00:00:00Z' }, signal)
  const written: number[] = []
  const faults: Error[] = []
  const store: ImageStore = {
    ...memory,
    putNodes: async (image, stanza, signal) => {
      const fault = faults.shift()
      if (fault !== undefined) throw fault
      await memory.putNodes(image, stanza, signal)
      written.push(stanza.cached)
    },
  }
  const clock = new ManualClock()
  const writer = new StatusWriter({ store, log: silentLog(), clock })
  const ended = writer.run(signal)
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 100) {
      clock.advance(100)
      for (let turn = 0; turn < 5; turn++) await setImmediate()
    }
  }
  try {
    await work({ writer, clock, store, written, faults, pass })
  } finally {
    controller.abort()
    await ended
    assert.equal(clock.pending, 0)
  }
}

describe('StatusWriter', () => {
  it('writes the first news at once and later ones at most every five seconds', () =>
    withWriter(async ({ writer, written, pass }) => {
      for (let cached = 1; cached <= 9; cached++) {
        writer.offer(reference, nodes(cached))
        await pass(1000)
      }
      assert.deepEqual(written, [1, 6])
      await pass(5000)
      assert.deepEqual(written, [1, 6, 9])
    }))

  it('writes nothing that is there already', () =>
    withWriter(async ({ writer, written, pass }) => {
      writer.offer(reference, nodes(1))
      await pass(6000)
      writer.offer(reference, nodes(1))
      writer.offer(reference, nodes(2))
      writer.offer(reference, nodes(1))
      await pass(6000)
      assert.deepEqual(written, [1])
    }))

  it('writes again after a conflict, at once, and after an error, later', () =>
    withWriter(async ({ writer, written, faults, pass }) => {
      faults.push(new ConflictError(reference))
      writer.offer(reference, nodes(1))
      await pass(1000)
      assert.deepEqual(written, [1])
      await pass(5000)
      faults.push(new Error('no answer'))
      writer.offer(reference, nodes(2))
      await pass(2000)
      assert.deepEqual(written, [1])
      await pass(5000)
      assert.deepEqual(written, [1, 2])
    }))

  it('leaves out an image that is gone', () =>
    withWriter(async ({ writer, written, pass }) => {
      writer.offer('r.test/none:1', nodes(1))
      await pass(1000)
      assert.deepEqual(written, [])
    }))
})
