import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { DaemonSet } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import { RepeatedWrites } from '../../../src/puller/repeated-writes.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { connect, fastClock, mutated, refuse } from './cluster-bridge.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const warning = 'somebody else changes what is written'

describe('a write that another mutator undoes', () => {
  let kube: FakeKube
  let cluster: SimulatedCluster
  let writes: number
  let stops: (() => Promise<void> | void)[]

  beforeEach(async () => {
    kube = await startFakeKube()
    cluster = new SimulatedCluster(['n1', 'n2'])
    writes = 0
    stops = [connect(kube, cluster)]
  })

  afterEach(async () => {
    for (const stop of stops.reverse()) await stop()
    await kube.stop()
  })

  /** Runs a puller before an API server that makes something else of DaemonSets. */
  function start(admit: (daemonSet: string) => string) {
    const log = silentLog()
    const controller = new AbortController()
    const client = mutated(kube.client(), (json) => {
      const { kind, spec } = JSON.parse(json) as DaemonSet
      if (kind !== 'DaemonSet' || spec === undefined) return json
      writes += 1
      return admit(json)
    })
    const env = {
      ...{ NAMESPACE: 'kip', DAEMONSET_NAME: 'kip', IMAGES: 'a=r.test/a:1;b=r.test/b:1' },
      KIP_PULLER_STRATEGY: 'init',
    }
    const ended = createPuller({
      client,
      store: createMemoryStore(),
      settings: loadSettings({ argv: [], env, readFile: () => '' }).settings,
      mapping: createMapping({ registry: '', mapping: 'path' }),
      log,
      metrics: createMetrics({ processMetrics: false }),
      clock: fastClock,
    }).run(controller.signal)
    stops.push(async () => {
      controller.abort()
      await ended
      await client.close()
    })
    return log
  }

  async function minutes(count: number): Promise<void> {
    const end = fastClock.now() + count * 60_000
    await waitUntil(`${count} minutes`, () => fastClock.now() >= end, 20_000)
  }

  const mutators = [
    [
      'takes the note of what was written away',
      (json: string) => json.replaceAll('images.kip/fingerprint', 'corp.test/seen'),
    ],
    [
      'puts a program of its own before the containers',
      (json: string) => json.replaceAll('["/kip/sleep","', '["/wrap","/kip/sleep","'),
    ],
  ] as const
  for (const [does, admit] of mutators) {
    it(`is made less and less often, and told of once, where that ${does}`, async () => {
      const log = start(admit)
      await waitUntil('a shard', () => cluster.daemonSets.size > 0, 10_000)
      await minutes(4)
      const told = log.lines.filter(({ message }) => message.startsWith(warning))
      const shards = told.map(({ fields }) => JSON.stringify(fields))
      assert.ok(shards.length > 0)
      assert.equal(new Set(shards).size, shards.length)
      // Two shards at most, each after 0, 30, 90 and 210 seconds.
      assert.ok(writes <= 8, `${writes} writes`)
    })
  }

  it('is made less and less often where that keeps a shard from being paused', async () => {
    const log = start((json) => json.replace('"type":"OnDelete"', '"type":"RollingUpdate"'))
    await waitUntil('both to be held', () => cluster.members('kip').length === 2, 10_000)
    await minutes(1)
    refuse(kube, cluster.daemonSets.get('kip')?.spec?.template, 'n1')
    // Those that were taken: one that comes between two words of the controller is asked for twice.
    const pauses = () => log.lines.filter(({ message }) => message.endsWith('the shard is paused'))
    await waitUntil('a pause', () => pauses().length > 0, 10_000)
    await minutes(1)
    // After 0 and 30 seconds.
    assert.ok(pauses().length <= 2, `${pauses().length} pauses`)
  })
})

describe('RepeatedWrites', () => {
  it('lets what was written be written again after 30 s, then twice as late each time, up to an hour', () => {
    let now = 0
    const log = silentLog()
    const repeated = new RepeatedWrites({ log, clock: { ...fastClock, now: () => now } })
    const waits: number[] = []
    for (let time = 0; time < 9; time++) {
      repeated.note('kip', 'a')
      const waitMs = repeated.waitMs('kip', 'a')
      waits.push(waitMs / 1000)
      assert.equal(repeated.waitMs('kip', 'b'), 0)
      assert.equal(repeated.waitMs('kip-fresh', 'a'), 0)
      now += waitMs
      assert.ok(repeated.waitMs('kip', 'a') <= 0)
    }
    assert.deepEqual(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600])
    assert.equal(log.lines.length, 1)
    repeated.note('kip', 'b')
    repeated.note('kip', 'a')
    assert.equal(repeated.waitMs('kip', 'a'), 30_000)
  })
})
