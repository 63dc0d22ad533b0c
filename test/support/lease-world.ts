import type { Clock, Lease, LeaseApi } from '../../src/lease-lock/src/index.ts'

/** What becomes of one request. Times in milliseconds of the world. */
export interface Delivery {
  /** Until the server has it. */
  readonly up: number
  /** From there until the answer is back. */
  readonly down: number
  readonly fate: 'ok' | 'request-lost' | 'answer-lost' | 'refused'
  /** Status of a refusal. */
  readonly status?: number
}

export const promptly: Delivery = { up: 5, down: 5, fate: 'ok' }

/** An error as an API client would throw it. */
export class StatusError extends Error {
  readonly status: number
  readonly retryAfterMs?: number
  constructor(status: number, message: string, retryAfterMs?: number) {
    super(message)
    this.status = status
    if (retryAfterMs !== undefined) this.retryAfterMs = retryAfterMs
  }
}

interface Happening {
  readonly at: number
  readonly order: number
  readonly machine: Machine | undefined
  readonly run: () => void
  cancelled: boolean
}

/** Virtual time: what is to happen, in order; nothing happens by itself. */
export class World {
  now = 0
  #order = 0
  #queue: Happening[] = []

  schedule(at: number, run: () => void, machine?: Machine): () => void {
    const happening = {
      at: Math.max(at, this.now),
      order: this.#order++,
      machine,
      run,
      cancelled: false,
    }
    let low = 0
    let high = this.#queue.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#queue[middle] as Happening).at <= happening.at) low = middle + 1
      else high = middle
    }
    this.#queue.splice(low, 0, happening)
    return () => {
      happening.cancelled = true
    }
  }

  /** Things that wait and were not called off. */
  get pending(): number {
    return this.#queue.filter(({ cancelled }) => !cancelled).length
  }

  /** Lets everything up to `until` happen; `check` is called after each. */
  async run(until: number, check: () => void = () => {}): Promise<void> {
    await settle()
    for (;;) {
      const next = this.#queue[0]
      if (next === undefined || next.at > until) break
      this.#queue.shift()
      if (next.cancelled) continue
      // Just before something happens, time has passed.
      this.now = next.at
      check()
      if (next.machine?.hold(next) === true) continue
      next.run()
      await settle()
      check()
    }
    this.now = until
    check()
  }
}

/** Lets all promises that can, go on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** A machine with its own clock, whose process can be stopped like by SIGSTOP. */
export class Machine {
  readonly #world: World
  readonly #offset: number
  readonly #rate: number
  readonly #dateOffset: number
  #held: Happening[] | undefined
  #killed = false

  /** @param rate - seconds of its clock in a second of the world */
  constructor(world: World, rate = 1, offset = 0, dateOffset = 0) {
    this.#world = world
    this.#rate = rate
    this.#offset = offset
    this.#dateOffset = dateOffset
  }

  readonly clock: Clock = {
    now: () => this.#offset + this.#world.now * this.#rate,
    date: () => 1_800_000_000_000 + this.#dateOffset + this.#world.now,
    timer: (callback, ms) =>
      // A millisecond at least, as setTimeout: what rounding leaves of a wait must not hold the world up.
      this.#world.schedule(this.#world.now + Math.max(ms, 1) / this.#rate, callback, this),
  }

  get paused(): boolean {
    return this.#held !== undefined
  }

  /** Whether the happening is kept for later, or for never. */
  hold(happening: Happening): boolean {
    if (this.#killed) return true
    this.#held?.push(happening)
    return this.#held !== undefined
  }

  pause(): void {
    this.#held ??= []
  }

  /** @param backwards - what waited comes in the opposite order: answers and timers race after a stop */
  resume(backwards = false): void {
    const held = this.#held ?? []
    this.#held = undefined
    if (backwards) held.reverse()
    for (const happening of held) {
      // What comes before it may still call it off.
      const run = (): void => {
        if (!happening.cancelled) happening.run()
      }
      if (!happening.cancelled) this.#world.schedule(this.#world.now, run, this)
    }
  }

  /** As by kill -9. */
  kill(): void {
    this.#killed = true
  }

  get killed(): boolean {
    return this.#killed
  }
}

/** One Lease at a server, with the real one's rules on versions and times. */
export class LeaseServer {
  readonly #world: World
  readonly #watchers = new Set<(lease: Lease | undefined) => void>()
  lease: Lease | undefined
  /** Every verb that was carried out, with its outcome. */
  readonly log: string[] = []
  #version = 100
  #uid = 0

  constructor(world: World) {
    this.#world = world
  }

  get(): Lease | undefined {
    this.log.push(this.lease === undefined ? 'get 404' : 'get')
    return this.lease
  }

  create(lease: Lease): Lease {
    check(lease)
    if (this.lease !== undefined) {
      this.log.push('create 409')
      throw new StatusError(409, 'already exists')
    }
    if (lease.metadata?.resourceVersion !== undefined) throw new StatusError(400, 'resourceVersion')
    this.log.push('create')
    this.#uid += 1
    return this.set({ ...lease, metadata: { ...lease.metadata, uid: `uid-${this.#uid}` } })
  }

  update(lease: Lease): Lease {
    check(lease)
    if (this.lease === undefined) {
      this.log.push('update 404')
      throw new StatusError(404, 'not found')
    }
    const sent = lease.metadata
    if (sent?.resourceVersion === undefined) {
      // The real one would overwrite: a client that forgets it loses updates, which no test may pass.
      throw new StatusError(599, 'an update without resourceVersion')
    }
    const stored = this.lease.metadata
    if (
      sent.resourceVersion !== stored?.resourceVersion ||
      (sent.uid ?? stored?.uid) !== stored?.uid
    ) {
      this.log.push('update 409')
      throw new StatusError(409, 'the object has been modified')
    }
    this.log.push('update')
    return this.set(lease)
  }

  /** Stores, as any hand might. */
  set(lease: Lease): Lease {
    this.#version += 1
    this.lease = {
      ...lease,
      metadata: { ...lease.metadata, resourceVersion: String(this.#version) },
    }
    this.#tell()
    return this.lease
  }

  delete(): void {
    this.lease = undefined
    this.#tell()
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher(this.lease)
  }

  /** An API client on a machine. `next` says what becomes of each request; `watchDelay` -1: there is no watch. */
  clientOf(
    machine: Machine,
    next: (verb: 'get' | 'create' | 'update') => Delivery = () => promptly,
    watchDelay: () => number = () => -1,
  ): LeaseApi {
    const send = <T>(
      verb: 'get' | 'create' | 'update',
      carryOut: () => T,
      signal: AbortSignal,
    ): Promise<T> =>
      new Promise((resolve, reject) => {
        const { up, down, fate, status = 500 } = next(verb)
        // A request that was sent is not called back by giving up on its answer.
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        if (fate === 'request-lost') return
        this.#world.schedule(this.#world.now + up, () => {
          let deliver: () => void
          try {
            if (fate === 'refused') throw new StatusError(status, 'refused', 1000)
            const result = structuredClone(carryOut())
            deliver = () => resolve(result)
          } catch (error) {
            deliver = () => reject(error)
          }
          if (fate === 'answer-lost') return
          this.#world.schedule(this.#world.now + down, deliver, machine)
        })
      })
    const api: LeaseApi = {
      get: (signal) => send('get', () => this.get(), signal),
      create: (lease, signal) => send('create', () => this.create(lease), signal),
      update: (lease, signal) => send('update', () => this.update(lease), signal),
    }
    if (watchDelay() < 0) return api
    return {
      ...api,
      watch: (onChange, signal) => {
        const watcher = (lease: Lease | undefined): void => {
          this.#world.schedule(this.#world.now + watchDelay(), () => onChange(lease), machine)
        }
        this.#watchers.add(watcher)
        return new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            this.#watchers.delete(watcher)
            resolve()
          })
        })
      },
    }
  }
}

function check(lease: Lease): void {
  for (const time of [lease.spec?.acquireTime, lease.spec?.renewTime]) {
    if (time == null) continue
    if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(time)) {
      throw new StatusError(400, `no MicroTime: ${time}`)
    }
  }
  const seconds = lease.spec?.leaseDurationSeconds
  if (seconds != null && !(Number.isInteger(seconds) && seconds > 0)) {
    throw new StatusError(422, `leaseDurationSeconds: ${seconds}`)
  }
}
