/** One token for all requests of a kind: whoever asks for it, stops, or is turned down with it. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import {
  createRegistryClient,
  type RegistryClient,
  resolveDigest,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { sampleImage } from '../../support/sample-images.ts'

const image = sampleImage({ layers: [] })
const reason = new Error('enough')
const open: (FakeRegistry | RegistryClient)[] = []

afterEach(async () => {
  for (const it of open.splice(0)) await it.close()
})

async function filled(): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start({ auth: { kind: 'bearer', users: { kip: 'secret' } } })
  open.push(registry)
  await registry.client.push(image, 'a/b', 'v1')
  return registry
}

/** Asks a registry for the image's digest, all through one client. */
function resolverOf(registry: FakeRegistry): (signal?: AbortSignal) => Promise<unknown> {
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { attempts: 2, baseMs: 1, maxMs: 1 },
    credentials: async () => [{ username: 'kip', password: 'secret' }],
  })
  open.push(client)
  const reference = { registry: registry.host, repository: 'a/b', tag: 'v1' }
  return (signal) => resolveDigest(client, reference, signal && { signal })
}

/** A token server that leaves its first question without an answer, and a call that waits for it. */
async function silent() {
  const registry = await filled()
  const asked = Promise.withResolvers<void>()
  let questions = 0
  registry.interceptor = ({ url }) => {
    if (!url?.startsWith('/token')) return false
    questions += 1
    asked.resolve()
    return questions === 1
  }
  const resolve = resolverOf(registry)
  const stop = new AbortController()
  const first = resolve(stop.signal)
  await asked.promise
  return { resolve, stop, first, questions: () => questions }
}

test('a token that does not come holds up no call that was stopped', async () => {
  const { resolve, stop, first } = await silent()
  const other = new AbortController()
  const second = resolve(other.signal)
  // By then it waits for the token that the first has asked for.
  await new Promise(setImmediate)
  other.abort(reason)
  await assert.rejects(second, reason)
  stop.abort(reason)
  await assert.rejects(first, reason)
})

test('a token whose asker was stopped is asked for once more, however many wait', async () => {
  const { resolve, stop, first, questions } = await silent()
  const others = Array.from({ length: 10 }, () => resolve())
  await new Promise(setImmediate)
  stop.abort(reason)
  await assert.rejects(first, reason)
  await Promise.all(others)
  assert.equal(questions(), 2)
})

test('a token that ended is renewed once, however many requests showed it', async () => {
  const registry = await filled()
  const resolve = resolverOf(registry)
  await resolve()
  registry.tokens?.revokeAll()
  await Promise.all(Array.from({ length: 10 }, () => resolve()))
  assert.equal(registry.tokens?.asked.length, 2)
})
