import fc from 'fast-check'
import type { LeaseElector, LeaseElectorOptions } from '../../src/lease-lock/src/index.ts'
import { type Delivery, LeaseServer, Machine, World } from './lease-world.ts'

/** How electors are made: the real class, or one with a hole. */
export type ElectorClass = new (options: LeaseElectorOptions) => LeaseElector

export interface Candidate {
  /** Of its clock against the world's. */
  readonly rate: number
  readonly offset: number
  readonly dateOffset: number
  /** -1: no watch. */
  readonly watchDelay: number
  /** What becomes of its requests, one after the other, over and over. */
  readonly deliveries: readonly Delivery[]
  /** How long its work takes to end once told to; -1: it ends at once. */
  readonly windDown: number
}

export interface Intervention {
  readonly at: number
  readonly who: number
  readonly what: 'pause' | 'stop' | 'kill' | 'delete' | 'wipe' | 'replace' | 'restore' | 'touch'
  /** Of a pause. */
  readonly forMs: number
  readonly backwards: boolean
}

export interface Schedule {
  readonly candidates: readonly Candidate[]
  readonly interventions: readonly Intervention[]
}

/** What a schedule brought about; summed up over all of them to see that the generator reaches what it is for. */
export interface Coverage {
  terms: number
  takeovers: number
  hungRequests: number
  longPauses: number
  conflicts: number
  deletions: number
  wipes: number
  replacements: number
  releases: number
}

export const noCoverage = (): Coverage => ({
  terms: 0,
  takeovers: 0,
  hungRequests: 0,
  longPauses: 0,
  conflicts: 0,
  deletions: 0,
  wipes: 0,
  replacements: 0,
  releases: 0,
})

export const leaseMs = 15_000
const lengthMs = 120_000

const delivery: fc.Arbitrary<Delivery> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      up: fc.integer({ min: 1, max: 200 }),
      down: fc.integer({ min: 1, max: 200 }),
      fate: fc.constant('ok' as const),
    }),
  },
  // Slow, either way: an answer may come long after the write that it tells of.
  {
    weight: 4,
    arbitrary: fc.record({
      up: fc.integer({ min: 1, max: 12_000 }),
      down: fc.integer({ min: 1, max: 6_000 }),
      fate: fc.constant('ok' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      up: fc.integer({ min: 1, max: 8_000 }),
      down: fc.constant(1),
      fate: fc.constantFrom('answer-lost' as const, 'request-lost' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      up: fc.integer({ min: 1, max: 1_000 }),
      down: fc.integer({ min: 1, max: 1_000 }),
      fate: fc.constant('refused' as const),
      status: fc.constantFrom(401, 403, 409, 429, 500, 503),
    }),
  },
)

const candidate: fc.Arbitrary<Candidate> = fc.record({
  // The fastest against the slowest: 1.2 / 0.84 = 1.43, below leaseDuration / renewDeadline = 1.5.
  rate: fc.oneof(fc.constant(1), fc.double({ min: 0.84, max: 1.2, noNaN: true })),
  offset: fc.integer({ min: -1_000_000, max: 1_000_000 }),
  dateOffset: fc.integer({ min: -86_400_000, max: 86_400_000 }),
  watchDelay: fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: 3_000 })),
  deliveries: fc.array(delivery, { minLength: 1, maxLength: 40 }),
  windDown: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 10_000 })),
})

const intervention: fc.Arbitrary<Intervention> = fc.record({
  at: fc.integer({ min: 100, max: lengthMs }),
  who: fc.integer({ min: 0, max: 3 }),
  what: fc.oneof(
    { weight: 5, arbitrary: fc.constant('pause' as const) },
    { weight: 2, arbitrary: fc.constantFrom('stop' as const, 'touch' as const) },
    { weight: 1, arbitrary: fc.constantFrom('kill' as const, 'delete' as const, 'wipe' as const) },
    { weight: 1, arbitrary: fc.constantFrom('replace' as const, 'restore' as const) },
  ),
  forMs: fc.integer({ min: 500, max: 40_000 }),
  backwards: fc.boolean(),
})

export const schedules: fc.Arbitrary<Schedule> = fc.record({
  candidates: fc.array(candidate, { minLength: 2, maxLength: 4 }),
  interventions: fc.array(intervention, { maxLength: 8 }),
})

/**
 * Plays a schedule and throws at the first moment at which two electors say that they lead, or one does whose work was
 * told to end because it lost the Lease.
 */
export async function play(
  schedule: Schedule,
  Elector: ElectorClass,
  coverage: Coverage = noCoverage(),
): Promise<void> {
  const world = new World()
  const server = new LeaseServer(world)
  /** As an installation ships it: there, and free. */
  const ship = (uid: string | undefined): void => {
    server.set({ metadata: { name: 'kip', ...(uid !== undefined && { uid }) }, spec: {} })
  }
  ship('uid-0')
  const players = schedule.candidates.map((settings, index) =>
    enter(world, server, settings, `p${index}`, Elector, coverage),
  )
  for (const { at, who, what, forMs, backwards } of schedule.interventions) {
    const player = players[who % players.length] as Player
    world.schedule(at, () => {
      switch (what) {
        case 'pause':
          if (player.elector.isLeader() && forMs > leaseMs) coverage.longPauses += 1
          player.machine.pause()
          world.schedule(world.now + forMs, () => player.machine.resume(backwards))
          break
        case 'stop':
          player.stop()
          break
        case 'kill':
          player.machine.kill()
          break
        case 'delete':
          coverage.deletions += 1
          server.delete()
          break
        case 'wipe':
          // What a client-go elector does to another's live lease when it wakes from a long pause.
          if (server.lease?.spec?.holderIdentity) {
            coverage.wipes += 1
            const { spec } = server.lease
            server.set({
              ...server.lease,
              spec: { ...spec, holderIdentity: '', leaseDurationSeconds: 1 },
            })
          }
          break
        case 'replace':
        case 'restore':
          // Who never saw anybody lead cannot tell it from a Lease that is new.
          if (server.lease?.spec?.holderIdentity && players.every(({ knows }) => knows())) {
            coverage.replacements += 1
            if (what === 'restore') server.delete()
            ship(what === 'restore' ? `uid-at-${at}` : server.lease?.metadata?.uid)
          }
          break
        case 'touch':
          if (server.lease !== undefined) server.set(server.lease)
      }
    })
  }
  let last = ''
  await world.run(lengthMs, () => {
    const leaders = players.filter(({ elector, machine }) => !machine.killed && elector.isLeader())
    if (leaders.length > 1) {
      throw new Error(`${leaders.map(({ name }) => name).join(' and ')} lead at ${world.now} ms`)
    }
    const [leader] = leaders
    if (leader !== undefined && leader.name !== last) {
      if (last !== '') coverage.takeovers += 1
      last = leader.name
    }
    for (const { name, elector, lost } of players) {
      if (lost() && elector.isLeader()) throw new Error(`${name} lost the Lease and leads`)
    }
  })
  coverage.conflicts += server.log.filter((line) => line === 'update 409').length
  // A world that is left behind must keep nothing alive.
  for (const { machine } of players) machine.kill()
}

interface Player {
  readonly name: string
  readonly machine: Machine
  readonly elector: LeaseElector
  readonly lost: () => boolean
  /** It has seen somebody lead. */
  readonly knows: () => boolean
  readonly stop: () => void
}

function enter(
  world: World,
  server: LeaseServer,
  settings: Candidate,
  name: string,
  Elector: ElectorClass,
  coverage: Coverage,
): Player {
  const machine = new Machine(world, settings.rate, settings.offset, settings.dateOffset)
  let turn = 0
  const api = server.clientOf(
    machine,
    () => {
      const next = settings.deliveries[turn++ % settings.deliveries.length] as Delivery
      if (
        next.fate === 'answer-lost' ||
        next.fate === 'request-lost' ||
        next.up + next.down > 5000
      ) {
        coverage.hungRequests += 1
      }
      return next
    },
    () => settings.watchDelay,
  )
  let knows = false
  const elector = new Elector({
    api,
    identity: name,
    clock: machine.clock,
    random: () => ((turn * 7919) % 997) / 997,
    onLeader: (leader) => {
      knows ||= leader !== undefined
    },
  })
  let term: AbortSignal | undefined
  let stop = new AbortController()
  const contend = async (): Promise<void> => {
    for (;;) {
      const { signal } = stop
      await elector.run(async ({ signal: told }) => {
        coverage.terms += 1
        term = told
        await new Promise<void>((resolve) => {
          const wind = (): void => {
            if (settings.windDown < 0) resolve()
            else machine.clock.timer(resolve, settings.windDown)
          }
          if (told.aborted) wind()
          else told.addEventListener('abort', wind, { once: true })
        })
        term = undefined
      }, signal)
      if (signal.aborted) {
        coverage.releases += 1
        stop = new AbortController()
        await new Promise<void>((resolve) => machine.clock.timer(resolve, 5000))
      }
    }
  }
  void contend()
  return {
    name,
    machine,
    elector,
    // Told to stop in good order, it may lead until its work has ended.
    lost: () => term?.aborted === true && !stop.signal.aborted,
    knows: () => knows,
    stop: () => {
      if (!machine.paused && !machine.killed) stop.abort(new Error('told to stop'))
    },
  }
}
