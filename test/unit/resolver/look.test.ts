import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { addressPolicy, createRegistryClient, type RegistryClient } from '@containers/image-copy'
import { type Look, lookAt } from '../../../src/resolver/look.ts'
import type { ImageState } from '../../../src/state/cached-image.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { silentLog } from '../../support/silent-log.ts'

const schema1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws'

describe('a look at what kip cannot copy', () => {
  const { signal } = new AbortController()
  let fake: FakeRegistry
  let registry: RegistryClient
  let look: Look
  let image: ImageState

  beforeEach(async () => {
    fake = await FakeRegistry.start()
    registry = createRegistryClient({
      hosts: () => ({ http: true }),
      allowAddress: addressPolicy({ allowLoopback: 'registry' }),
      retry: { attempts: 1 },
    })
    look = lookAt(registry, silentLog())
    image = {
      ...{ reference: `127.0.0.1:${fake.port}/old/image:1`, name: 'x', requested: false },
      ...{ resourceVersion: '1', mirrors: [], conditions: [] },
    }
  })
  afterEach(async () => {
    await registry.close()
    await fake[Symbol.asyncDispose]()
  })

  it('tells its digest where anybody may read it', async () => {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 1, fsLayers: [], history: [] }))
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    fake.repositories.set('old/image', {
      manifests: new Map([[digest, { bytes, mediaType: schema1 }]]),
      tags: new Map([['1', digest]]),
      blobs: new Map(),
    })
    const outcome = await look(image, signal)
    assert.equal(outcome.state, 'Invalid')
    assert.equal(outcome.digest, digest)
  })

  for (const type of ['text/html', 'application/json']) {
    it(`takes no login page of type ${type} for an image`, async () => {
      fake.interceptor = ({ url }, response) => {
        if (url?.includes('/manifests/') !== true) return false
        response.writeHead(200, { 'content-type': type }).end('{"please":"log in"}')
        return true
      }
      const outcome = await look(image, signal)
      assert.equal(outcome.state, 'Invalid')
      assert.equal('digest' in outcome, false)
    })
  }
})
