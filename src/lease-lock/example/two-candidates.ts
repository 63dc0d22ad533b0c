/**
 * Two candidates and one Lease, all in this process: `node src/lease-lock/example/two-candidates.ts`.
 *
 * The Lease stands in memory here; an adapter to an API client has the same three or four methods.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Lease, type LeaseApi, LeaseElector } from '../src/index.ts'

let stored: Lease = { metadata: { name: 'example', uid: randomUUID(), resourceVersion: '1' } }
const watchers = new Set<(lease: Lease) => void>()

const api: LeaseApi = {
  get: async () => stored,
  create: async () => {
    throw Object.assign(new Error('it is there already'), { status: 409 })
  },
  update: async (lease) => {
    const version = stored.metadata?.resourceVersion
    if (lease.metadata?.resourceVersion !== version) {
      throw Object.assign(new Error('somebody else wrote first'), { status: 409 })
    }
    stored = {
      ...lease,
      metadata: { ...lease.metadata, resourceVersion: String(Number(version) + 1) },
    }
    for (const tell of watchers) tell(stored)
    return stored
  },
  watch: async (onChange, signal) => {
    watchers.add(onChange)
    signal.addEventListener('abort', () => watchers.delete(onChange))
  },
}

async function candidate(name: string, signal: AbortSignal): Promise<void> {
  const elector = new LeaseElector({
    api,
    identity: `${name}_${randomUUID()}`,
    leaseDurationMs: 3_000,
    renewDeadlineMs: 2_000,
    retryPeriodMs: 500,
  })
  while (!signal.aborted) {
    await elector.run(async (term) => {
      console.log(`${name} leads, term ${term.fence}`)
      while (!term.signal.aborted) {
        console.log(`${name} works`)
        await sleep(400, undefined, { signal: term.signal }).catch(() => undefined)
      }
      console.log(`${name} stops`)
    }, signal)
  }
}

const stopA = new AbortController()
const stopB = new AbortController()
const done = Promise.all([candidate('a', stopA.signal), candidate('b', stopB.signal)])
await sleep(1_500)
stopA.abort()
await sleep(1_500)
stopB.abort()
await done
