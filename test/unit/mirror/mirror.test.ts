import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { createMapping } from '../../../src/images/mapping.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { runMirror } from '../../../src/mirror/mirror.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { ConflictError, type ImageStore } from '../../../src/state/store.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const registry = 'backup.test'
const image = 'docker.io/library/nginx:1'
const usage = {
  ...{ wanted: ['InUse' as const], pods: 1, workloads: 1, namespaces: 1, owners: [] },
  firstSeen: '2026-01-01T00:00:00Z',
}

/** A mirror that wants every image, in front of a store whose first write of a copy goes wrong. */
async function start(t: TestContext, firstWrite: (store: ImageStore) => Promise<never>) {
  const memory = createMemoryStore()
  const controller = new AbortController()
  const { signal } = controller
  await memory.putUsage(image, usage, signal)
  let writes = 0
  const store: ImageStore = Object.assign(Object.create(memory), {
    putMirror: (...args: Parameters<ImageStore['putMirror']>) => {
      writes += 1
      return writes === 1 ? firstWrite(memory) : memory.putMirror(...args)
    },
  })
  const log = silentLog()
  const ended = runMirror(
    {
      ...{ store, registry, log },
      mapping: createMapping({ registry, mapping: 'path' }),
      decide: () => ({ act: true, code: 'Mirror', text: '' }),
      keepWorker: (_, until) =>
        new Promise((resolve) => until.addEventListener('abort', () => resolve())),
      metrics: createMetrics({ processMetrics: false }),
      now: () => 0,
    },
    signal,
  )
  t.after(async () => {
    controller.abort()
    await ended
  })
  await waitUntil(
    'the copy to be asked for',
    () => memory.get(image)?.mirrors[0]?.state === 'Pending',
  )
  return { log }
}

describe('a copy is asked for in the end', () => {
  it('when another write got in between, which is no error', async (t) => {
    const { log } = await start(t, async (store) => {
      const { signal } = new AbortController()
      await store.putUsage(image, { ...usage, pods: 2 }, signal)
      throw new ConflictError(image)
    })
    assert.deepEqual(log.lines, [])
  })

  it('when the API server was away', async (t) => {
    await start(t, async () => {
      throw new Error('away')
    })
  })
})

it('planning an image does not look through all others, under flat names either', async (t) => {
  const memory = createMemoryStore()
  const controller = new AbortController()
  const { signal } = controller
  const references = Array.from({ length: 50 }, (_, i) => `a.test/app${i}:1`)
  for (const reference of references) await memory.putUsage(reference, usage, signal)
  let walks = 0
  const list: ImageStore['list'] = () => {
    walks += 1
    return memory.list()
  }
  const planned = new Set<string>()
  const ended = runMirror(
    {
      ...{ store: { ...memory, list }, registry, log: silentLog() },
      mapping: createMapping({ registry: `${registry}/all`, mapping: 'flat' }),
      decide: ({ reference }) => {
        planned.add(reference)
        return { act: false, code: 'NotResolved', text: '' }
      },
      keepWorker: (_, until) =>
        new Promise((resolve) => until.addEventListener('abort', () => resolve())),
      metrics: createMetrics({ processMetrics: false }),
      now: () => 0,
    },
    signal,
  )
  t.after(async () => {
    controller.abort()
    await ended
  })
  await waitUntil('all are planned', () => planned.size === references.length)
  assert.ok(walks < 5, `${walks} walks`)
})
