import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  type CopyOutcome,
  copyImages,
  createRegistryClient,
  type RegistryClient,
  RegistryError,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const IMAGES = 20
const ATTEMPTS = 3

interface Told {
  readonly outcomes: readonly CopyOutcome[]
  readonly retries: number
}

describe('a host that cannot be reached', () => {
  const image = sampleImage({ layers: [noise('unreached', 500)] })
  let source: FakeRegistry
  let target: FakeRegistry
  /** Known when it is closed too. */
  let from: string
  let client: RegistryClient

  beforeEach(async () => {
    source = await FakeRegistry.start()
    target = await FakeRegistry.start()
    from = source.host
    await source.client.push(image, 'a/b', 'v1')
    client = createRegistryClient({
      hosts: () => ({ http: true }),
      retry: { attempts: ATTEMPTS, baseMs: 1, maxMs: 1 },
    })
  })
  afterEach(async () => {
    await client.close()
    await Promise.all([source.close(), target.close()])
  })

  /** One image after another. */
  async function copy(count: number): Promise<Told> {
    const items = Array.from({ length: count }, (_, i) => ({
      source: { registry: from, repository: 'a/b', tag: 'v1' },
      target: { registry: target.host, repository: 'c/d', tag: `v${i}` },
    }))
    let retries = 0
    const outcomes = await copyImages(client, items, {
      concurrency: 1,
      onEvent: ({ type }) => {
        retries += Number(type === 'retry')
      },
    })
    return { outcomes, retries }
  }

  const isUnreachable = ({ error }: CopyOutcome): boolean =>
    error instanceof RegistryError && error.code === 'COPY_UNREACHABLE'

  test('and never was costs its retries once, and not for each image of a list', async () => {
    await source.close()
    const { outcomes, retries } = await copy(IMAGES)
    assert.ok(outcomes.every(isUnreachable))
    assert.equal(retries, ATTEMPTS - 1)
  })

  test('and was before is given the retries of each image', async () => {
    await copy(1)
    await source.close()
    const { outcomes, retries } = await copy(IMAGES)
    assert.ok(outcomes.every(isUnreachable))
    assert.equal(retries, IMAGES * (ATTEMPTS - 1))
  })

  test('and comes later is found, and patience with it', async () => {
    source.interceptor = (request) => {
      request.socket.destroy()
      return true
    }
    assert.ok((await copy(IMAGES)).outcomes.every(isUnreachable))
    source.interceptor = undefined
    assert.deepEqual(
      (await copy(1)).outcomes.filter(({ error }) => error !== undefined),
      [],
    )
    await source.close()
    assert.equal((await copy(IMAGES)).retries, IMAGES * (ATTEMPTS - 1))
  })
})
