import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import type { Usage } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { type Cut, cuttingClient } from '../../support/cutting-client.ts'
import { startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { connect, daemonSets, fastClock } from './cluster-bridge.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const { signal } = new AbortController()
const image = (name: string): string => `r.test/${name}`
const images = {
  before: ['stays:1', 'moves:1', 'goes:1', 'bad:1'].map(image),
  after: ['stays:1', 'moves:2', 'comes:1', 'bad:1', 'bad-too:1'].map(image),
}
const isBad = (reference: string): boolean => reference.startsWith(image('bad'))
const nodes = ['n1', 'n2']

/** What happened on the way. */
interface Course {
  /** By DaemonSet: uid and images in the end. */
  readonly standing: ReadonlyMap<string, { readonly uid: string; readonly images: string }>
  readonly generations: ReadonlyMap<string, number>
}

/** Makes the change from what was before, by a second controller when the first is cut off at a write. */
async function course(at: number, cut: Cut): Promise<Course> {
  await using cleanup = new AsyncDisposableStack()
  const kube = await startFakeKube()
  cleanup.defer(() => kube.stop())
  const cluster = new SimulatedCluster(nodes)
  cluster.behave = (reference) => (isBad(reference) ? 'missing' : 'good')
  cleanup.defer(connect(kube, cluster))
  const store = createMemoryStore()
  const want = async (references: readonly string[]): Promise<void> => {
    for (const { reference, usage } of [...store.list()]) {
      if (usage === undefined || references.includes(reference)) continue
      await store.putUsage(reference, { ...usage, wanted: [] }, signal)
    }
    for (const reference of references) await store.putUsage(reference, used, signal)
  }
  const isSettled = (references: readonly string[]): boolean => {
    const good = references.filter((reference) => !isBad(reference))
    const bad = references.filter(isBad)
    return (
      [...cluster.daemonSets.keys()].sort().join() === 'kip,kip-apart' &&
      cluster.members('kip').join() === [...good].sort().join() &&
      cluster.members('kip-apart').join() === [...bad].sort().join() &&
      good.every((reference) => store.get(reference)?.nodes?.cached === nodes.length) &&
      bad.every((reference) => store.get(reference)?.nodes?.failed === nodes.length)
    )
  }
  /** Runs a controller until all is where it is to be, or until it is cut off: tells whether it was. */
  const run = async (references: readonly string[], last: number): Promise<boolean> => {
    const stop = new AbortController()
    const inner = kube.client()
    const client = cuttingClient({ client: inner, at: last, cut, onCut: () => stop.abort() })
    const { settings } = loadSettings({
      argv: [],
      env: { NAMESPACE: 'kip', DAEMONSET_NAME: 'kip' },
      readFile: () => '',
    })
    const ended = createPuller({
      ...{ client, store, settings, log: silentLog(), clock: fastClock },
      mapping: createMapping({ registry: '', mapping: 'path' }),
      metrics: createMetrics({ processMetrics: false }),
    }).run(stop.signal)
    try {
      const what = `${cut} at write ${last}: ${references}`
      await waitUntil(what, () => stop.signal.aborted || isSettled(references), 60_000)
      return stop.signal.aborted
    } finally {
      stop.abort()
      await ended
      await inner.close()
    }
  }
  await want(images.before)
  await run(images.before, Number.POSITIVE_INFINITY)
  const start = new Map(
    kube.list(daemonSets).map(({ metadata }) => [metadata?.uid, metadata?.generation ?? 0]),
  )
  cluster.losses.length = 0
  await want(images.after)
  if (await run(images.after, at)) await run(images.after, Number.POSITIVE_INFINITY)
  const gone = new Set(images.before.filter((reference) => !images.after.includes(reference)))
  const unheld = cluster.losses.filter((loss) => !gone.has(loss.split(' ')[1] ?? ''))
  assert.deepEqual(unheld, [])
  const all = kube.list(daemonSets).map(({ metadata }) => {
    const { name = '', uid = '', generation = 0 } = metadata ?? {}
    assert.ok(start.has(uid), `${name} was made anew`)
    return { name, uid, bumps: generation - (start.get(uid) ?? 0) }
  })
  return {
    standing: new Map(
      all.map(({ name, uid }) => [name, { uid, images: cluster.members(name).join() }]),
    ),
    generations: new Map(all.map(({ name, bumps }) => [name, bumps])),
  }
}

const used: Usage = {
  ...{ wanted: ['InUse'], pods: 1, workloads: 1, namespaces: 1, owners: [] },
  firstSeen: '2026-01-01T00:00:00Z',
}

describe('a controller that is cut off at a write, and started anew', () => {
  let uncut: Course

  before(async () => {
    uncut = await course(Number.POSITIVE_INFINITY, 'unsent')
  })

  // The change takes eight writes and, where some come too late and are tried again, up to twenty. A sample of them, if not
  // with --long.
  for (const cut of ['unsent', 'unanswered'] as const) {
    for (let at = 1; at <= 20; at += 1) {
      const sampled = at < 10 && (cut === 'unsent') === (at % 2 === 0)
      if (!sampled && process.env.KIP_TEST_LONG !== '1') continue
      it(`converges when its write ${at} is ${cut}`, async () => {
        const { standing, generations } = await course(at, cut)
        const imagesOf = (one: Course['standing']) =>
          [...one].map(([name, { images }]) => `${name}: ${images}`).sort()
        assert.deepEqual(imagesOf(standing), imagesOf(uncut.standing))
        for (const [name, count] of generations) {
          const most = (uncut.generations.get(name) ?? 0) + 1
          assert.ok(count <= most, `${name}: ${count} templates, at most ${most}`)
        }
      })
    }
  }
})
