import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import {
  type Lease,
  LeaseElector,
  type LeaseElectorOptions,
  type Term,
  termAnnotation,
} from '../../../src/lease-lock/src/index.ts'
import { type Delivery, LeaseServer, Machine, promptly, World } from '../../support/lease-world.ts'

interface Player {
  readonly machine: Machine
  readonly elector: LeaseElector
  readonly stop: AbortController
  readonly terms: Term[]
  /** What is to become of the next requests. */
  readonly deliveries: Delivery[]
  readonly leaders: (string | undefined)[]
  /** Ends the work; it does not by itself once `stubborn`. */
  finish: () => void
  stubborn: boolean
  /** At what time its work was told to stop. */
  toldAt: number | undefined
  run(): Promise<void>
  readonly ended: () => boolean
}

describe('elector', () => {
  let world: World
  let server: LeaseServer

  beforeEach(() => {
    world = new World()
    server = new LeaseServer(world)
  })

  function enter(
    identity: string,
    options: Partial<LeaseElectorOptions> & {
      readonly watchMs?: number
      readonly dateOffset?: number
    } = {},
  ): Player {
    const machine = new Machine(world, 1, 0, options.dateOffset ?? 0)
    const deliveries: Delivery[] = []
    const leaders: (string | undefined)[] = []
    const api = server.clientOf(
      machine,
      () => deliveries.shift() ?? promptly,
      () => options.watchMs ?? -1,
    )
    const elector = new LeaseElector({
      api,
      identity,
      clock: machine.clock,
      random: () => 0,
      onLeader: (leader) => leaders.push(leader),
      ...options,
    })
    let running: Promise<void> | undefined
    let ended = false
    const player: Player = {
      machine,
      elector,
      deliveries,
      leaders,
      stop: new AbortController(),
      terms: [],
      finish: () => {},
      stubborn: false,
      toldAt: undefined,
      ended: () => ended,
      run: () => {
        ended = false
        running = elector.run(async (term) => {
          player.terms.push(term)
          await new Promise<void>((resolve) => {
            player.finish = resolve
            term.signal.addEventListener('abort', () => {
              player.toldAt = world.now
              if (!player.stubborn) resolve()
            })
          })
        }, player.stop.signal)
        void running.then(() => {
          ended = true
        })
        return running
      },
    }
    return player
  }

  /** A Lease that is there, held by another kind of elector. */
  function held(holder: string, spec: NonNullable<Lease['spec']> = {}): Lease {
    return server.set({
      metadata: { name: 'kip', uid: 'uid-0' },
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds: 15,
        acquireTime: '2026-11-21T00:00:00.000000Z',
        renewTime: '2026-11-21T00:00:00.000000Z',
        leaseTransitions: 3,
        ...spec,
      },
    })
  }
  const free = (): Lease => server.set({ metadata: { name: 'kip', uid: 'uid-0' }, spec: {} })
  const holder = (): string | null | undefined => server.lease?.spec?.holderIdentity

  test('[2, 9] writes always bear a resourceVersion; order of requests over a free Lease', async () => {
    free()
    const one = enter('one')
    void one.run()
    await world.run(5000)
    assert.deepEqual(server.log, ['get', 'update', 'update', 'update'])
    assert.equal(server.lease?.spec?.holderIdentity, 'one')
    assert.match(server.lease?.spec?.renewTime ?? '', /\.\d{6}Z$/)
  })

  test('[9] a renewal that meets a newer version reads, and writes over that', async () => {
    free()
    const one = enter('one')
    void one.run()
    await world.run(1000)
    server.set({ ...server.lease, metadata: { ...server.lease?.metadata, name: 'kip' } })
    server.log.length = 0
    await world.run(3000)
    assert.deepEqual(server.log, ['update 409', 'get', 'update'])
    assert.ok(one.elector.isLeader())
  })

  test('[13] no Lease: one is put there that nobody holds, and taken after the time of a lease', async () => {
    const one = enter('one')
    void one.run()
    await world.run(1000)
    assert.equal(holder(), '')
    assert.equal(server.log[1], 'create')
    await world.run(15_000)
    assert.equal(one.elector.isLeader(), false)
    await world.run(15_500)
    assert.ok(one.elector.isLeader())
    assert.equal(server.lease?.spec?.leaseTransitions, 1)
  })

  test('[3] a term is counted from the sending of its renewal', async () => {
    free()
    const one = enter('one')
    one.deliveries.push(promptly, { up: 2000, down: 2000, fate: 'ok' })
    void one.run()
    await world.run(5000)
    assert.ok(one.elector.isLeader())
    // Sent at 10 ms: every renewal from here on is lost.
    for (let times = 0; times < 50; times += 1)
      one.deliveries.push({ ...promptly, fate: 'request-lost' })
    await world.run(10_009)
    assert.equal(one.elector.isLeader(), false)
    assert.ok((one.toldAt ?? Infinity) < 10_010)
  })

  test('[3] isLeader looks at the clock: a process that was stopped does not lead when it wakes', async () => {
    free()
    const one = enter('one')
    void one.run()
    await world.run(5000)
    assert.ok(one.elector.isLeader())
    one.machine.pause()
    const [term] = one.terms
    await world.run(60_000)
    assert.equal(one.elector.isLeader(), false)
    assert.equal(term?.signal.aborted, false, 'no code of it ran')
    one.machine.resume()
    await world.run(60_001)
    assert.equal(term?.signal.aborted, true)
  })

  test('[4] the signal aborts before the term ends, though every request hangs', async () => {
    free()
    const one = enter('one')
    void one.run()
    await world.run(1000)
    for (let times = 0; times < 50; times += 1)
      one.deliveries.push({ ...promptly, fate: 'request-lost' })
    let lastLed = 0
    await world.run(20_000, () => {
      if (one.elector.isLeader()) lastLed = world.now
    })
    assert.ok(one.toldAt !== undefined)
    assert.ok(one.toldAt < 10 + 10_000, 'before the term ends')
    assert.ok(lastLed <= one.toldAt)
    assert.match(String(one.terms[0]?.signal.reason), /no longer leads: it was not renewed in time/)
  })

  test('[5] a candidate waits the whole duration of the record, from its own first sight, and anew after each change', async () => {
    held('other', { leaseDurationSeconds: 40, renewTime: '2020-01-01T00:00:00.000000Z' })
    const one = enter('one', { dateOffset: 10 ** 9 })
    void one.run()
    await world.run(39_000)
    assert.equal(one.elector.isLeader(), false)
    held('other', { leaseDurationSeconds: 40, renewTime: '2020-01-01T00:00:01.000000Z' })
    await world.run(39_000 + 40_000)
    assert.equal(one.elector.isLeader(), false)
    await world.run(39_000 + 40_000 + 3000)
    assert.ok(one.elector.isLeader())
    assert.equal(server.lease?.spec?.leaseTransitions, 4, 'a takeover is a new term')
    assert.notEqual(server.lease?.spec?.acquireTime, '2026-11-21T00:00:00.000000Z')
  })

  test('[6] a Lease that was released is taken at once', async () => {
    held('', { leaseDurationSeconds: 1 })
    const one = enter('one')
    void one.run()
    await world.run(50)
    assert.ok(one.elector.isLeader())
  })

  test('[7] two processes of one identity: the second waits like any other', async () => {
    free()
    const one = enter('same')
    void one.run()
    await world.run(1000)
    const two = enter('same')
    void two.run()
    await world.run(60_000, () => {
      assert.ok(!(one.elector.isLeader() && two.elector.isLeader()))
    })
    assert.ok(one.elector.isLeader())
    one.machine.kill()
    await world.run(80_000)
    assert.ok(two.elector.isLeader())
    assert.equal(two.terms[0]?.fence, 2)
  })

  test('[8, 15] a renewal keeps acquireTime and leaseTransitions, and all that it does not know', async () => {
    server.set({
      metadata: {
        name: 'kip',
        uid: 'uid-0',
        labels: { a: '1' },
        annotations: { b: '2' },
      } as object,
      spec: { strategy: 'x', preferredHolder: 'y', leaseTransitions: 6 } as object,
      status: { odd: true },
    } as Lease)
    const one = enter('one')
    void one.run()
    await world.run(100)
    const first = server.lease
    await world.run(30_000)
    const later = server.lease
    assert.equal(later?.spec?.acquireTime, first?.spec?.acquireTime)
    assert.equal(later?.spec?.leaseTransitions, 7)
    assert.notEqual(later?.spec?.renewTime, first?.spec?.renewTime)
    assert.deepEqual(
      { strategy: 'x', preferredHolder: 'y' },
      {
        strategy: Object(later?.spec).strategy,
        preferredHolder: Object(later?.spec).preferredHolder,
      },
    )
    assert.deepEqual(Object(later).status, { odd: true })
    assert.deepEqual(Object(later?.metadata).labels, { a: '1' })
    assert.deepEqual(later?.metadata?.annotations, { b: '2', [termAnnotation]: '7' })
    one.stop.abort()
    await world.run(31_000)
    assert.deepEqual(server.lease?.metadata?.annotations, { b: '2' })
    assert.equal(Object(server.lease?.spec).strategy, 'x')
  })

  test('[8] whoever takes the Lease over counts one more, and has an acquireTime of its own', async () => {
    const before = held('another')
    const one = enter('one')
    void one.run()
    await world.run(16_000)
    assert.ok(one.elector.isLeader())
    assert.equal(server.lease?.spec?.leaseTransitions, 4)
    assert.notEqual(server.lease?.spec?.acquireTime, before.spec?.acquireTime)
    assert.equal(server.lease?.spec?.acquireTime, server.lease?.spec?.renewTime)
  })

  test('[21] a term holds while it lasts and never again, though the same elector leads anew', async () => {
    free()
    const one = enter('one')
    void one.run()
    await world.run(100)
    const first = one.terms[0] ?? assert.fail('no term')
    assert.ok(first.holds())
    one.machine.pause()
    await world.run(11_000)
    assert.equal(first.holds(), false)
    one.machine.resume()
    await world.run(11_100)
    assert.ok(one.ended())
    void one.run()
    await world.run(12_000)
    assert.ok(one.terms[1]?.holds())
    assert.equal(first.holds(), false)
    assert.ok((one.terms[1]?.fence ?? 0) > first.fence)
  })

  test('[21] a term that ran out is not brought back by the late answer to its renewal', async () => {
    free()
    const one = enter('one')
    void one.run()
    await world.run(2022)
    // The renewal is under way; its answer waits for the process, and so does the timer of the term's end.
    one.machine.pause()
    await world.run(11_000)
    assert.deepEqual(server.log, ['get', 'update', 'update'])
    one.machine.resume()
    await world.run(11_001)
    assert.equal(one.terms[0]?.holds(), false)
    assert.equal(one.terms[0]?.signal.aborted, true)
  })

  describe('release', () => {
    test('[10, 11] after the work has ended, with a body that the API server takes', async () => {
      free()
      const one = enter('one')
      one.stubborn = true
      void one.run()
      await world.run(1000)
      one.stop.abort()
      await world.run(30_000)
      assert.equal(holder(), 'one', 'kept, and renewed, while the work winds down')
      assert.ok(one.elector.isLeader())
      one.finish()
      await world.run(30_100)
      assert.equal(holder(), '')
      assert.equal(server.lease?.spec?.leaseDurationSeconds, 1)
      assert.equal(server.lease?.spec?.leaseTransitions, 1)
      assert.equal(one.elector.isLeader(), false)
      assert.ok(one.ended())
      assert.equal(world.pending, 0, 'no timer is left')
    })

    test('[10] never over another: woken after a pause, with the Lease taken meanwhile', async () => {
      free()
      const one = enter('one')
      void one.run()
      await world.run(3000)
      one.machine.pause()
      await world.run(30_000)
      held('other', { leaseTransitions: 2, renewTime: '2026-11-21T00:00:09.000000Z' })
      const version = server.lease?.metadata?.resourceVersion
      one.stop.abort()
      one.machine.resume()
      await world.run(60_000)
      assert.equal(server.lease?.metadata?.resourceVersion, version)
      assert.ok(one.ended())
    })

    test('[10] a conflict is read again and decided again', async () => {
      free()
      const one = enter('one')
      void one.run()
      await world.run(1000)
      server.log.length = 0
      // Between its read and its write, somebody labels the Lease.
      one.deliveries.push(promptly, { up: 50, down: 5, fate: 'ok' })
      one.stop.abort()
      world.schedule(1030, () => server.set({ ...server.lease }))
      await world.run(3000)
      assert.deepEqual(server.log, ['get', 'update 409', 'get', 'update'])
      assert.equal(holder(), '')
    })

    test('[10] a Lease that is gone is released; a server that is gone is not waited for beyond the deadline', async () => {
      free()
      const one = enter('one')
      void one.run()
      await world.run(1000)
      server.delete()
      one.stop.abort()
      await world.run(1100)
      assert.ok(one.ended())

      free()
      const two = enter('two')
      void two.run()
      await world.run(2000)
      for (let times = 0; times < 50; times += 1)
        two.deliveries.push({ ...promptly, fate: 'request-lost' })
      two.stop.abort()
      await world.run(2000 + 16_000)
      assert.ok(two.ended())
      assert.equal(world.pending, 0)
    })

    test('[12] told to stop in the moment in which it got the Lease, it holds nothing in the end', async () => {
      for (let microtasks = 0; microtasks <= 8; microtasks += 1) {
        free()
        const one = enter(`one-${microtasks}`, {
          onLeader: async (leader) => {
            if (leader === undefined) return
            for (let times = 0; times < microtasks; times += 1) await undefined
            one.stop.abort()
          },
        })
        void one.run()
        await world.run(world.now + 20_000)
        assert.ok(one.ended(), `after ${microtasks} microtasks`)
        assert.equal(holder() || '', '')
        assert.equal(world.pending, 0)
      }
    })

    for (const verb of ['get', 'update'] as const) {
      for (const fate of ['ok', 'answer-lost'] as const) {
        test(`[12] told to stop while its ${verb} is under way (${fate}), it holds nothing in the end`, async () => {
          free()
          const one = enter('one')
          if (verb === 'update') one.deliveries.push(promptly)
          one.deliveries.push({ up: 100, down: 100, fate })
          void one.run()
          world.schedule(verb === 'get' ? 50 : 60, () => one.stop.abort())
          await world.run(20_000)
          assert.ok(one.ended())
          assert.deepEqual(one.terms, [])
          assert.equal(holder() || '', '')
          assert.equal(world.pending, 0)
        })
      }
    }
  })

  describe('a Lease that is deleted under its leader', () => {
    test('[13] is made anew, and the term goes on', async () => {
      free()
      const one = enter('one')
      void one.run()
      await world.run(1000)
      server.delete()
      await world.run(3000)
      assert.equal(holder(), 'one')
      assert.equal(server.lease?.spec?.leaseTransitions, 1)
      assert.ok(one.elector.isLeader())
      assert.equal(one.terms.length, 1)
    })

    test('[13] and made anew by another: the leader steps down', async () => {
      free()
      const one = enter('one')
      void one.run()
      await world.run(1000)
      server.delete()
      held('other')
      await world.run(2100)
      assert.equal(one.elector.isLeader(), false)
      assert.match(String(one.terms[0]?.signal.reason), /other holds the Lease/)
      assert.equal(holder(), 'other')
    })
  })

  test('a Lease that was wiped under its leader is taken back, and by no other of its kind before', async () => {
    free()
    const one = enter('one')
    void one.run()
    await world.run(1000)
    const two = enter('two')
    void two.run()
    await world.run(5900)
    // As a client-go elector does that wakes from a pause and releases by what it remembers.
    const { spec } = server.lease ?? {}
    server.set({ ...server.lease, spec: { ...spec, holderIdentity: '', leaseDurationSeconds: 1 } })
    await world.run(9000, () => assert.equal(two.elector.isLeader(), false))
    assert.equal(holder(), 'one')
    assert.ok(one.elector.isLeader())
    assert.equal(one.terms.length, 1)
  })

  for (const [name, put] of Object.entries<() => void>({
    'put back empty': () => server.set({ metadata: { name: 'kip', uid: 'uid-0' } }),
    'deleted and put back empty': () => {
      server.delete()
      server.set({ metadata: { name: 'kip', uid: 'uid-1' } })
    },
    'wiped down to the number of its terms': () =>
      server.set({
        ...server.lease,
        spec: { ...server.lease?.spec, holderIdentity: '', leaseTransitions: 0 },
      }),
  })) {
    for (const cutOff of [false, true]) {
      test(`[1] a Lease that was ${name} under its leader${cutOff ? ', who is cut off,' : ''} is taken by no other before the term ends`, async () => {
        free()
        const one = enter('one', { watchMs: 50 })
        void one.run()
        await world.run(1000)
        const two = enter('two', { watchMs: 50 })
        void two.run()
        await world.run(5900)
        assert.equal(two.elector.leader, 'one')
        for (let times = 0; cutOff && times < 50; times += 1)
          one.deliveries.push({ ...promptly, fate: 'request-lost' })
        put()
        await world.run(30_000, () => {
          assert.ok(!(one.elector.isLeader() && two.elector.isLeader()))
        })
        assert.equal(holder(), cutOff ? 'two' : 'one')
        if (!cutOff) assert.equal(one.terms.length, 1)
      })
    }
  }

  test('[1] a Lease that was put back empty twice is waited for anew, though nobody was seen in between', async () => {
    held('one')
    const two = enter('two')
    void two.run()
    await world.run(1000)
    const putBack = () => server.set({ metadata: { name: 'kip', uid: 'uid-0' } })
    putBack()
    await world.run(15_900)
    held('three', { leaseTransitions: 4 })
    putBack()
    await world.run(15_900 + 15_000, () => assert.equal(two.elector.isLeader(), false))
    await world.run(15_900 + 18_000)
    assert.ok(two.elector.isLeader())
  })

  for (const [name, lease] of Object.entries<object>({
    'no spec': { metadata: { name: 'kip' } },
    'a null spec': { metadata: { name: 'kip' }, spec: null },
    'an empty spec': { metadata: { name: 'kip' }, spec: {} },
    nulls: {
      metadata: { name: 'kip' },
      spec: {
        holderIdentity: null,
        leaseDurationSeconds: null,
        acquireTime: null,
        renewTime: null,
        leaseTransitions: null,
      },
    },
    'no duration': { metadata: { name: 'kip' }, spec: { holderIdentity: 'other' } },
    'a negative duration': {
      metadata: { name: 'kip' },
      spec: { holderIdentity: 'other', leaseDurationSeconds: -5 },
    },
    'wrong types': {
      metadata: { name: 'kip' },
      spec: { holderIdentity: 7, leaseDurationSeconds: 'x', leaseTransitions: {} },
    },
  })) {
    test(`[14] a Lease with ${name} is free, and breaks nothing`, async () => {
      server.set(lease as Lease)
      const one = enter('one')
      void one.run()
      await world.run(100)
      assert.ok(one.elector.isLeader())
    })
  }

  for (const status of [401, 403, 409, 422, 429, 500, 503]) {
    test(`[18] ${status} is a try that failed`, async () => {
      free()
      const one = enter('one')
      one.deliveries.push({ ...promptly, fate: 'refused', status }, promptly, {
        ...promptly,
        fate: 'refused',
        status,
      })
      void one.run()
      await world.run(10_000)
      assert.ok(one.elector.isLeader())
      // While it leads too.
      for (let times = 0; times < 4; times += 1)
        one.deliveries.push({ ...promptly, fate: 'refused', status })
      await world.run(20_000)
      assert.ok(one.elector.isLeader())
      assert.equal(one.terms.length, 1)
    })
  }

  test('[18] a candidate that may read the Lease but not write it warns, once until a try succeeds', async () => {
    free()
    const warnings: unknown[] = []
    const status = (fields: object): unknown => Object(fields).err.status
    const one = enter('one', {
      log: { debug: () => {}, info: () => {}, warn: (fields) => warnings.push(status(fields)) },
    })
    const refused = (...statuses: number[]): void => {
      for (const status of statuses)
        one.deliveries.push(promptly, { ...promptly, fate: 'refused', status })
    }
    // Another wins the race first, which is no fault.
    refused(409, 403, 500, 403)
    void one.run()
    await world.run(9000)
    assert.ok(one.elector.isLeader())
    assert.deepEqual(warnings, [403])
    one.finish()
    await world.run(9100)
    refused(500)
    void one.run()
    await world.run(15_000)
    assert.ok(one.elector.isLeader())
    assert.deepEqual(warnings, [403, 500])
    one.stop.abort()
    await world.run(16_000)
  })

  test('[17] candidates come back after 1 to 2.2 times the retry period', async () => {
    for (const [random, periodMs] of [
      [0, 2000],
      [0.5, 3200],
      [0.999_999, 4400],
    ] as const) {
      world = new World()
      server = new LeaseServer(world)
      held('other')
      const one = enter('one', { random: () => random })
      const asked: number[] = []
      const before = server.get.bind(server)
      server.get = () => {
        asked.push(world.now)
        return before()
      }
      void one.run()
      await world.run(world.now + 14_000)
      const gaps = asked.slice(1).map((at, index) => at - (asked[index] ?? 0))
      assert.ok(
        gaps.every((gap) => Math.abs(gap - periodMs) < 1),
        `${gaps}`,
      )
    }
  })

  test('[19] each change of the leader is told once, the first one and nobody too', async () => {
    held('a')
    const one = enter('one', { watchMs: 1 })
    void one.run()
    await world.run(3000)
    held('a', { renewTime: '2026-11-21T00:00:02.000000Z' })
    held('b', { leaseTransitions: 4 })
    await world.run(4000)
    held('', { leaseTransitions: 4, leaseDurationSeconds: 1 })
    await world.run(10_000)
    assert.deepEqual(one.leaders, ['a', 'b', undefined, 'one'])
    assert.equal(one.elector.leader, 'one')
  })

  test('what a watch tells late is not taken for news', async () => {
    held('one')
    const other = enter('other', { watchMs: 10_000 })
    void other.run()
    await world.run(100)
    held('two')
    held('three')
    await world.run(10_500)
    assert.deepEqual(other.leaders, ['one', 'three'])
    other.stop.abort()
    await world.run(11_000)
  })

  test('a callback that throws breaks nothing', async () => {
    free()
    const one = enter('one', {
      onLeader: () => {
        throw new Error('callback')
      },
    })
    void one.run()
    await world.run(100)
    assert.ok(one.elector.isLeader())
  })

  test('[20, 21] run while it runs is refused; run again afterwards is another term', async () => {
    free()
    const one = enter('one')
    void one.run()
    await world.run(100)
    await assert.rejects(
      one.elector.run(async () => {}, new AbortController().signal),
      {
        code: 'LEASE_RUNNING',
      },
    )
    one.finish()
    await world.run(200)
    assert.ok(one.ended())
    assert.equal(holder(), '', 'work that ends by itself releases')
    void one.run()
    await world.run(300)
    assert.ok(one.elector.isLeader())
    assert.deepEqual(
      one.terms.map(({ fence, token }) => [fence, token]),
      [
        [1, 'uid-0/1'],
        [2, 'uid-0/2'],
      ],
    )
    one.stop.abort()
    one.stop.abort()
    await world.run(400)
    await one.run()
    assert.equal(one.terms.length, 2)
    assert.equal(world.pending, 0)
  })

  test('what the work throws, run throws, after release', async () => {
    free()
    const machine = new Machine(world)
    const elector = new LeaseElector({
      api: server.clientOf(machine),
      identity: 'one',
      clock: machine.clock,
    })
    const failed = assert.rejects(
      elector.run(async () => {
        throw new Error('the work failed')
      }, new AbortController().signal),
      /the work failed/,
    )
    await world.run(100)
    await failed
    assert.equal(holder(), '')
  })

  test('[22] times of a microsecond survive, and are never twice the same though the date stands still', async () => {
    free()
    const machine = new Machine(world)
    const elector = new LeaseElector({
      api: server.clientOf(machine),
      identity: 'one',
      clock: { ...machine.clock, date: () => 1_800_000_000_000.001 },
    })
    void elector.run(() => new Promise(() => {}), new AbortController().signal)
    const seen = new Set<unknown>()
    let renewals = 0
    await world.run(20_000, () => {
      seen.add(server.lease?.spec?.renewTime)
      renewals = server.log.filter((line) => line === 'update').length
    })
    assert.ok(seen.has('2027-01-15T08:00:00.000001Z'), [...seen].join())
    assert.equal(seen.size - 1, renewals)
  })

  describe('fail-over', () => {
    test('a graceful stop hands over within a second where the Lease is watched', async () => {
      free()
      const one = enter('one', { watchMs: 50 })
      void one.run()
      await world.run(1000)
      const two = enter('two', { watchMs: 50 })
      void two.run()
      await world.run(10_123)
      one.stop.abort()
      await world.run(11_123)
      assert.ok(two.elector.isLeader())
    })

    for (const watchMs of [-1, 50]) {
      test(`a leader that dies is followed within a lease and a second ${watchMs < 0 ? 'without' : 'with'} a watch`, async () => {
        free()
        const one = enter('one', { watchMs })
        void one.run()
        await world.run(1000)
        const two = enter('two', { watchMs, random: () => 0.9 })
        void two.run()
        await world.run(20_500)
        one.machine.kill()
        // Without a watch, the last renewal may have been seen one poll later.
        await world.run(20_500 + 15_000 + 1000 + (watchMs < 0 ? 4400 : 0))
        assert.ok(two.elector.isLeader())
      })
    }

    test('many candidates do not storm the server', async () => {
      free()
      const players = Array.from({ length: 20 }, (_, at) =>
        enter(`p${at}`, { watchMs: 20, random: () => at / 20 }),
      )
      for (const player of players) void player.run()
      await world.run(10_000)
      server.log.length = 0
      const leader = players.find(({ elector }) => elector.isLeader())
      leader?.stop.abort()
      await world.run(11_000)
      assert.equal(players.filter(({ elector }) => elector.isLeader()).length, 1)
      assert.ok(server.log.length < 60, `${server.log.length} requests`)
    })
  })

  test('[16] options that do not fit together are refused, all faults at once', () => {
    const machine = new Machine(world)
    const make = (options: object) => () =>
      new LeaseElector({ api: server.clientOf(machine), identity: 'x', ...options })
    const table: [object, RegExp | undefined][] = [
      [{}, undefined],
      [{ leaseDurationMs: 3000, renewDeadlineMs: 2000, retryPeriodMs: 500 }, undefined],
      [{ identity: '' }, /identity is empty/],
      [{ leaseDurationMs: 10_000 }, /leaseDurationMs \(10000\) must be above renewDeadlineMs/],
      [{ leaseDurationMs: 15_500 }, /must be whole seconds/],
      [{ renewDeadlineMs: 2400 }, /renewDeadlineMs \(2400\) must be above retryPeriodMs/],
      [{ retryPeriodMs: 0 }, /retryPeriodMs is 0/],
      [{ renewDeadlineMs: Number.NaN }, /renewDeadlineMs is NaN/],
      [{ leaseDurationMs: -1 }, /leaseDurationMs is -1/],
    ]
    for (const [options, fault] of table) {
      if (fault === undefined) assert.doesNotThrow(make(options))
      else
        assert.throws(
          make(options),
          (error: Error) => fault.test(error.message) && error.name === 'LeaseConfigError',
        )
    }
    assert.throws(make({ identity: '', retryPeriodMs: -1 }), {
      code: 'LEASE_CONFIG',
      faults: ['identity is empty', 'retryPeriodMs is -1, must be above 0'],
    })
  })
})
