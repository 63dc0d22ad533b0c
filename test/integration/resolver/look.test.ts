import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { addressPolicy, createRegistryClient, type RegistryClient } from '@containers/image-copy'
import { type Look, lookAt } from '../../../src/resolver/look.ts'
import { nextSource, type Outcome } from '../../../src/resolver/outcome.ts'
import type { ImageState, Source } from '../../../src/state/cached-image.ts'
import { attestationOf, hostPlatform, indexOf } from '../../cluster/images/image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'
import { silentLog } from '../../support/silent-log.ts'

const missing = await whyNoRegistry()

describe('a look at a source', { skip: missing ?? false }, () => {
  let open: TestRegistry
  let closed: TestRegistry
  let registry: RegistryClient
  let look: Look
  const { signal } = new AbortController()

  before(async () => {
    ;[open, closed] = await Promise.all([startRegistry(), startRegistry({ authenticated: true })])
    registry = createRegistryClient({
      hosts: () => ({ http: true }),
      allowAddress: addressPolicy({ allowLoopback: 'registry' }),
      retry: { attempts: 1 },
    })
    look = lookAt(registry, silentLog())
  })
  after(async () => {
    await registry?.close()
    await Promise.all([open?.close(), closed?.close()])
  })

  const image = (reference: string, source?: Source): ImageState => ({
    reference,
    name: 'x',
    requested: false,
    resourceVersion: '1',
    mirrors: [],
    conditions: [],
    ...(source === undefined ? {} : { source }),
  })
  const stateOf = async (reference: string): Promise<Outcome['state']> =>
    (await look(image(reference), signal)).state

  it('finds digest, platforms and size of an image and of an index', async () => {
    const one = tinyImage(1)
    await open.client.push(one, 'look/one', '1')
    const found = await look(image(`${open.host}/look/one:1`), signal)
    assert.deepEqual(found, {
      state: 'Available',
      digest: one.digest,
      mediaType: one.mediaType,
      details: {
        platforms: [`linux/${hostPlatform().architecture}`],
        sizeBytes: one.blobs.reduce((sum, { size }) => sum + size, 0),
      },
    })
    const index = indexOf([
      { image: one, platform: { os: 'linux', architecture: 'amd64' } },
      { image: tinyImage(2), platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
      attestationOf(one),
    ])
    await open.client.push(index, 'look/index', '1')
    const many = await look(image(`${open.host}/look/index:1`), signal)
    assert.ok(many.state === 'Available' && many.digest === index.digest)
    assert.deepEqual(many.details?.platforms, ['linux/amd64', 'linux/arm/v7'])
    const pinned = await look(image(`${open.host}/look/index:gone@${index.digest}`), signal)
    assert.ok(pinned.state === 'Available' && pinned.digest === index.digest)
  })

  it('asks one HEAD for what is known, and sees a tag move', async () => {
    const [first, second] = [tinyImage(3), tinyImage(4)]
    await open.client.push(first, 'look/moved', 'latest')
    const reference = `${open.host}/look/moved:latest`
    const source = nextSource(undefined, await look(image(reference), signal), Date.now())
    const mark = await open.accessLogEnd()
    const same = await look(image(reference, source), signal)
    assert.deepEqual(same, { state: 'Available', digest: first.digest, mediaType: first.mediaType })
    await open.client.push(second, 'look/moved', 'latest')
    const requests = (await open.accessLog(mark)).map(({ method }) => method)
    assert.equal(requests[0], 'HEAD')
    const moved = await look(image(reference, source), signal)
    assert.ok(moved.state === 'Available' && moved.digest === second.digest)
    assert.ok(moved.details)
  })

  it('tells what is missing, private and away apart', async () => {
    assert.equal(await stateOf(`${open.host}/look/one:2`), 'Missing')
    assert.equal(await stateOf(`${open.host}/never/there:1`), 'Missing')
    assert.equal(await stateOf(`${closed.host}/look/one:1`), 'NeedsCredentials')
    await closed.stop()
    assert.equal(await stateOf(`${closed.host}/look/one:1`), 'Unreachable')
  })

  it('ends with its signal', async () => {
    await assert.rejects(
      look(image(`${open.host}/look/one:1`), AbortSignal.abort(new Error('end'))),
      {
        message: 'end',
      },
    )
  })
})
