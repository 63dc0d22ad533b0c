import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { createMapping } from '../../../src/images/mapping.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { runMirror } from '../../../src/mirror/mirror.ts'
import type { MirrorDecision } from '../../../src/mirror/plan.ts'
import type { Mirror } from '../../../src/state/cached-image.ts'
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
      onUnpulled: () => () => undefined,
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
      onUnpulled: () => () => undefined,
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

/** A planner of one store, whose answer to every image is the test's. */
function planner(t: TestContext, mapping: 'path' | 'flat', decision: () => MirrorDecision) {
  const store = createMemoryStore()
  const controller = new AbortController()
  const unpulled = new Set<(copy: string) => void>()
  const place = mapping === 'flat' ? `${registry}/all` : registry
  let decisions = 0
  const ended = runMirror(
    {
      ...{ store, registry: place, log: silentLog() },
      mapping: createMapping({ registry: place, mapping }),
      decide: () => {
        decisions += 1
        return decision()
      },
      keepWorker: (_, until) =>
        new Promise((resolve) => until.addEventListener('abort', () => resolve())),
      onUnpulled: (listener) => {
        unpulled.add(listener)
        return () => unpulled.delete(listener)
      },
      metrics: createMetrics({ processMetrics: false }),
      now: Date.now,
    },
    controller.signal,
  )
  t.after(async () => {
    controller.abort()
    await ended
    assert.equal(unpulled.size, 0)
  })
  const known = (reference: string) => store.get(reference) ?? assert.fail()
  return {
    store,
    decisions: () => decisions,
    want: (reference: string) => store.putUsage(reference, usage, controller.signal),
    forget: (reference: string) => store.remove(known(reference), controller.signal),
    put: (reference: string, entry: Partial<Mirror>) =>
      store.putMirror(
        known(reference),
        {
          registry: place,
          reference: '',
          state: 'Pending',
          ...known(reference).mirrors[0],
          ...entry,
        },
        controller.signal,
      ),
    entry: (reference: string) => known(reference).mirrors[0],
    tell: (copy: string) => {
      for (const listener of unpulled) listener(copy)
    },
  }
}

const yes: MirrorDecision = { act: true, code: 'Mirror', text: '' }
const past = '2026-01-01T00:00:00Z'
const digest = `sha256:${'a'.repeat(64)}`
const copy = `${registry}/${image}`

for (const [state, code] of [
  ['Failed', 'SourceMissing'],
  ['Blocked', 'NeedsCredentials'],
] as const) {
  it(`a retry that is due and not wanted (${code}) does not keep the planner busy`, async (t) => {
    const bed = planner(t, 'path', () => ({ act: false, code, text: '' }))
    await bed.want(image)
    await bed.put(image, { reference: copy, state, code, retryAt: past })
    await waitUntil('it is looked at', () => bed.decisions() > 0)
    for (let turn = 0; turn < 50; turn++) await setImmediate()
    assert.ok(bed.decisions() < 5, `${bed.decisions()} decisions`)
  })
}

describe('a copy that a node cannot pull', () => {
  it('is verified anew, under the name that pods have for it', async (t) => {
    const bed = planner(t, 'path', () => yes)
    await bed.want(image)
    const known = bed.store.get(image) ?? assert.fail()
    const { signal } = new AbortController()
    await bed.store.putSource(known, { state: 'Available', digest, checkedAt: past }, signal)
    await bed.put(image, { reference: copy, state: 'Verified', digest })
    bed.tell(`${registry}/docker.io/library/other:1@${digest}`)
    bed.tell(image)
    for (let turn = 0; turn < 50; turn++) await setImmediate()
    assert.equal(bed.entry(image)?.state, 'Verified')
    bed.tell(`${copy}@${digest}`)
    await waitUntil('it is to be looked at', () => bed.entry(image)?.state === 'Pending')
    assert.equal(bed.entry(image)?.digest, digest, 'pods are pointed at it meanwhile')
    await bed.put(image, { state: 'Verified' })
    bed.tell(`${copy}@${digest}`)
    for (let turn = 0; turn < 50; turn++) await setImmediate()
    assert.equal(bed.entry(image)?.state, 'Verified', 'and then not again for a while')
  })

  it('and whose image is pinned by digest beside a tag, likewise', async (t) => {
    const bed = planner(t, 'path', () => yes)
    const pinned = `docker.io/library/nginx:1@${digest}`
    const place = `${registry}/docker.io/library/nginx:kip-${digest.replace(':', '-')}`
    await bed.want(pinned)
    const known = bed.store.get(pinned) ?? assert.fail()
    const { signal } = new AbortController()
    await bed.store.putSource(known, { state: 'Available', digest, checkedAt: past }, signal)
    await bed.put(pinned, { reference: place, state: 'Verified', digest })
    bed.tell(`${place}@${digest}`)
    await waitUntil('it is to be looked at', () => bed.entry(pinned)?.state === 'Pending')
  })
})

it('a flat place whose image goes is given to the next that wants it', async (t) => {
  const bed = planner(t, 'flat', () => yes)
  await bed.want('a.test/app:1')
  await bed.want('b.test/app:1')
  await waitUntil('the second is refused', () => bed.entry('b.test/app:1')?.state === 'Blocked')
  await bed.forget('a.test/app:1')
  await waitUntil('it gets the place', () => bed.entry('b.test/app:1')?.state === 'Pending')
})

it('two pins of one digest share a flat place', async (t) => {
  const bed = planner(t, 'flat', () => yes)
  const pins = [`a.test/app:1@${digest}`, `b.test/app@${digest}`]
  for (const pin of pins) await bed.want(pin)
  for (const pin of pins) await waitUntil(pin, () => bed.entry(pin)?.state === 'Pending')
})
