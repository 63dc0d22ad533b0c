import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import {
  copyImage,
  createRegistryClient,
  RegistryError,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { openAuthority } from '../../cluster/pki.ts'
import { FakeRegistry, type FakeRegistryOptions, fail } from '../../support/fake-registry.ts'
import { FaultProxy, harms } from '../../support/fault-proxy.ts'
import { seededRandom } from '../../support/random.ts'
import { noise, sampleImage, sampleIndex } from '../../support/sample-images.ts'

const long = process.env.KIP_TEST_LONG === '1'
const runs = Number(process.env.KIP_FAULT_RUNS ?? (long ? 400 : 24))
const firstSeed = Number(process.env.KIP_FAULT_SEED ?? (long ? Date.now() % 1_000_000 : 20_261_121))

const users = { kip: 'secret' }
let tls: NonNullable<FakeRegistryOptions['tls']>
before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'copy-faults-'))
  after(() => rm(folder, { recursive: true, force: true }))
  const authority = await openAuthority(folder)
  const issued = await authority.issue({ commonName: 'registry', hosts: ['127.0.0.1'] })
  tls = { cert: issued.certificate, key: issued.key, ca: authority.certificate }
})

const image = sampleIndex([
  {
    image: sampleImage({ layers: [noise('a', 400_000), noise('b', 60_000), noise('c', 900)] }),
    platform: 'linux/amd64',
  },
  {
    image: sampleImage({
      layers: [noise('a', 400_000), noise('d', 150_000)],
      platform: 'linux/arm64',
    }),
    platform: 'linux/arm64',
  },
])
const old = sampleImage({ layers: [noise('old', 50)] })

/** What a registry in trouble does, besides what the proxy before it does to connections. */
const troubles = ['401 anew', '429', '5xx', 'late', 'closed', 'altered'] as const
const seen = new Set<string>()
const note = (what: (typeof troubles)[number]): void => void seen.add(what)

/** Answers that a registry in trouble gives, and now and then bytes that are not what they should be. */
function trouble(registry: FakeRegistry, random: () => number, rate: number): void {
  registry.interceptor = async (request, response) => {
    if (request.url?.startsWith('/token') || request.headers['user-agent'] === 'kip-test') {
      return false
    }
    if (random() > rate) return false
    const kind = random()
    if (kind < 0.15) {
      note('401 anew')
      registry.tokens?.revokeAll()
      return false
    }
    if (kind < 0.3) {
      // Requests overtake each other.
      note('late')
      await new Promise((resolve) => setTimeout(resolve, random() * 40))
      return false
    }
    request.resume()
    if (kind < 0.5) {
      note('429')
      fail(response, 429, 'TOOMANYREQUESTS', random() < 0.5 ? { 'retry-after': '0' } : {})
    } else if (kind < 0.9) {
      note('5xx')
      fail(response, [500, 502, 503, 504][Math.floor(random() * 4)] ?? 500, 'UNKNOWN')
    } else {
      note('closed')
      request.socket.destroy()
    }
    return true
  }
  registry.mangle = (bytes) => {
    if (bytes.length === 0 || random() > rate / 10) return bytes
    note('altered')
    const altered = Buffer.from(bytes)
    const at = Math.floor(random() * bytes.length)
    altered[at] = (altered[at] ?? 0) ^ 1
    return altered
  }
}

async function requireWhole(registry: FakeRegistry, of: Image, reference: string): Promise<void> {
  const held = await registry.client.manifest('to/image', reference)
  assert.ok(held?.bytes.equals(of.bytes), `manifest ${of.digest} is missing or altered`)
  for (const blob of of.blobs) {
    const bytes = await registry.client.blob('to/image', blob.digest)
    assert.ok(bytes?.equals(await blob.read()), `blob ${blob.digest} is missing or altered`)
  }
  for (const child of of.children) await requireWhole(registry, child, child.digest)
}

async function run(seed: number): Promise<'copied' | 'failed'> {
  const random = seededRandom(seed)
  const auth = { kind: 'bearer', users } as const
  // Over TLS bytes take another way, and every altered one ends its connection.
  const secured = random() < 0.3 ? { tls } : {}
  await using source = await FakeRegistry.start({ auth, ...secured })
  await using target = await FakeRegistry.start({
    auth,
    ...secured,
    ...(random() < 0.3 ? { maxBody: 100_000 } : {}),
    mount: random() < 0.5 ? 'all' : 'others',
  })
  await source.client.push(image, 'from/image', 'v1')
  target.repository('to/image')
  await target.client.push(old, 'to/image', 'v1')
  const rate = [0.02, 0.1, 0.3][Math.floor(random() * 3)] ?? 0.1
  await using before = await FaultProxy.start({ port: source.port, random, rate })
  await using behind = await FaultProxy.start({ port: target.port, random, rate })
  trouble(source, random, rate)
  trouble(target, random, rate)
  // Whoever verifies, what is altered is found, and sent anew.
  const verify = random() < 0.3 ? 'target' : 'stream'
  const client = createRegistryClient({
    hosts: () => ({ http: secured.tls === undefined }),
    ca: tls.ca,
    credentials: async () => [{ username: 'kip', password: 'secret' }],
    retry: { baseMs: 1, maxMs: 4 },
    timeouts: { answerMs: 150, commitMs: 150, stallMs: 100, requestMs: 300, connectMs: 300 },
    random,
  })
  let outcome: 'copied' | 'failed' = 'copied'
  try {
    const from = { registry: before.host, repository: 'from/image', tag: 'v1' }
    const to = { registry: behind.host, repository: 'to/image', tag: 'v1' }
    const { digest } = await copyImage(client, from, to, { verify })
    assert.equal(digest, image.digest)
  } catch (error) {
    assert.ok(error instanceof RegistryError, `no error of the copier: ${error}`)
    assert.match(error.message, /\S{10,}/)
    if (process.env.KIP_FAULT_SHOW)
      console.log(`seed ${seed} rate ${rate} ${verify}: ${error.code} ${error.message}`)
    outcome = 'failed'
  } finally {
    await client.close()
  }
  for (const kind of [...before.done, ...behind.done]) seen.add(kind)
  target.interceptor = undefined
  target.mangle = undefined
  const tagged = target.repository('to/image').tags.get('v1')
  assert.ok(tagged === image.digest || tagged === old.digest, 'the tag stands for something else')
  if (outcome === 'copied') assert.equal(tagged, image.digest)
  // A tag that moved stands for the whole image, even when the answer about it was lost.
  if (tagged === image.digest) await requireWhole(target, image, 'v1')
  return outcome
}

test(`a copy through broken connections, refusals and altered bytes is right or fails clearly (${runs} runs from seed ${firstSeed})`, async () => {
  const outcomes = { copied: 0, failed: 0 }
  for (let i = 0; i < runs; i += 1) {
    const seed = firstSeed + i
    try {
      outcomes[await run(seed)] += 1
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      })
    }
  }
  if (runs >= 100) assert.deepEqual([...seen].sort(), [...harms, ...troubles].sort())
  // Otherwise the faults are too rare or too many to show anything.
  assert.ok(outcomes.copied >= runs / 2, `only ${outcomes.copied} of ${runs} were copied`)
})
