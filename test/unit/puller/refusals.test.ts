import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import fc from 'fast-check'
import type { KubeClient } from '../../../src/kube/client.ts'
import type { ObservedShard } from '../../../src/puller/daemon-set.ts'
import { refusalText } from '../../../src/puller/refusal-text.ts'
import { patienceMs, Refusals } from '../../../src/puller/refusals.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'

const events = { group: 'events.k8s.io', version: 'v1', plural: 'events', namespace: 'kip' }
const { signal } = new AbortController()
const quota = 'Error creating: pods "kip-x" is forbidden: exceeded quota: all, requested: pods=1'

const shard = (more: Partial<ObservedShard> = {}): ObservedShard => ({
  name: 'kip',
  object: 'kip',
  revision: 0,
  kind: 'holding',
  index: 1,
  members: [{ container: 'a', reference: 'r.test/a:1' }],
  uid: 'u1',
  resourceVersion: '1',
  fingerprint: 'f',
  template: 't',
  generation: 2,
  observedGeneration: 2,
  desired: 3,
  ready: 2,
  updated: 2,
  created: '',
  deleting: false,
  pullSecrets: [],
  formerSecrets: [],
  ...more,
})

describe('Refusals', () => {
  let kube: FakeKube
  let client: KubeClient
  let clock: ManualClock
  let log: ReturnType<typeof silentLog>
  let refusals: Refusals

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
    clock = new ManualClock()
    log = silentLog()
    refusals = new Refusals({ client, namespace: 'kip', log, clock })
  })

  afterEach(async () => {
    await client.close()
    await kube.stop()
  })

  const event = (reason: string, at: string, note = '', uid = 'u1'): void => {
    kube.put(events, {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: `${uid}-${reason}`, namespace: 'kip' },
      reason,
      note,
      regarding: { kind: 'DaemonSet', name: 'kip', uid },
      deprecatedLastTimestamp: `2026-01-01T00:00:${at}Z`,
    })
  }
  const asked = (): number => kube.requests.filter(({ path }) => path.includes('/events')).length
  const look = async (...shards: readonly ObservedShard[]): Promise<number> =>
    await refusals.look(shards, signal)
  /** Looks until the shard is asked about. */
  async function lookTwice(one = shard()): Promise<void> {
    await look(one)
    clock.advance(patienceMs)
    await look(one)
  }

  it('asks why a DaemonSet lacks pods, once it has for a while', async () => {
    event('FailedCreate', '10', quota)
    assert.equal(await look(shard()), patienceMs)
    assert.equal(asked(), 0)
    clock.advance(patienceMs)
    assert.equal(await look(shard()), 0, 'there is something to tell')
    assert.deepEqual([...refusals.found], [['kip', 'a ResourceQuota has no room for them']])
    await look(shard())
    assert.equal(asked(), 1)
    clock.advance(30_000)
    assert.notEqual(await look(shard()), 0, 'nothing new')
    assert.equal(asked(), 2)
  })

  it('asks nothing while pods are being made, or none are lacking', async () => {
    event('FailedCreate', '10', quota)
    for (const updated of [0, 1, 2]) {
      await look(shard({ updated }))
      clock.advance(patienceMs - 1)
    }
    await lookTwice(shard({ updated: 3 }))
    await lookTwice(shard({ observedGeneration: 1 }))
    await lookTwice(shard({ deleting: true }))
    await lookTwice(shard({ uid: '' }))
    assert.equal(asked(), 0)
    assert.equal(await look(), Number.POSITIVE_INFINITY)
  })

  it('forgets a refusal when all pods are there', async () => {
    event('FailedCreate', '10', quota)
    await lookTwice()
    assert.equal(refusals.found.size, 1)
    await look(shard({ updated: 3 }))
    assert.equal(refusals.found.size, 0)
  })

  for (const [symptom, success, found] of [
    ['takes an old refusal for none when pods were made since', '11', 0],
    ['tells of a refusal after some pods were made', '09', 1],
    ['tells of a refusal in the second in which others were made', '10', 1],
  ] as const) {
    it(symptom, async () => {
      event('FailedCreate', '10', quota)
      event('SuccessfulCreate', success)
      await lookTwice()
      assert.equal(refusals.found.size, found)
    })
  }

  it("does not take another DaemonSet's Events for its own", async () => {
    event('FailedCreate', '10', quota, 'u2')
    await lookTwice()
    assert.equal(asked(), 1)
    assert.equal(refusals.found.size, 0)
  })

  it('asks no more where Events may not be read, and says so once', async () => {
    kube.fault = ({ path }) =>
      path.includes('/events') ? { status: 403, reason: 'Forbidden' } : undefined
    await lookTwice()
    clock.advance(60_000)
    assert.equal(await look(shard()), Number.POSITIVE_INFINITY)
    assert.equal(asked(), 1)
    assert.deepEqual(
      log.lines.map(({ level }) => level),
      ['info'],
    )
  })
})

describe('refusalText', () => {
  for (const [note, expected] of [
    [quota, /ResourceQuota has no room/],
    ['is forbidden: failed quota: q: must specify limits.cpu for: holder', /asks for requests/],
    [
      'pods "x" is forbidden: minimum cpu usage per Container is 100m, but request is 10m',
      /LimitRange/,
    ],
    [
      'pods "x" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 20',
      /LimitRange/,
    ],
    ['violates PodSecurity "restricted:latest": runAsNonRoot != true', /Pod Security/],
    ['unable to validate against any security context constraint: []', /SecurityContextC/],
    ['no PriorityClass with name kip-puller was found', /puller\.priorityClass/],
    ['error looking up service account kip/default: not found', /service account/],
    ['admission webhook "a.b" denied the request: exceeded quota', /webhook denies/],
    ['Internal error occurred: failed calling webhook "a.b": x509', /webhook cannot be called/],
    ['something else', /API server refuses/],
  ] as const) {
    it(`reads: ${note.slice(0, 60)}`, () => assert.match(refusalText(note), expected))
  }

  it('says nothing of what it read', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12 }), (text) => {
        assert.ok(!refusalText(`denied the request: ${text}`).includes(text))
      }),
    )
  })
})
