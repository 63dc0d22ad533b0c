/** One registry, several credentials, each of which may do something else. */
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { afterEach, describe, test } from 'node:test'
import {
  type Credential,
  copyImage,
  createRegistryClient,
  type RegistryClient,
  resolveDigest,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry, fail } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const reader = { username: 'reader', password: 'secret' }
const writer = { username: 'writer', password: 'secret' }
const stranger = { username: 'stranger', password: 'secret' }
const users = { reader: 'secret', writer: 'secret' }
const image = sampleImage({ layers: [noise('several', 900), noise('credentials', 90_000)] })
const open: (FakeRegistry | RegistryClient)[] = []

afterEach(async () => {
  for (const it of open.splice(0)) await it.close()
})

interface Asked {
  readonly user: string | undefined
  readonly method: string
  readonly url: string
}

function askedBy({ method, url, headers }: IncomingMessage): Asked {
  const shown = /^Basic (.+)/.exec(headers.authorization ?? '')?.[1]
  const user = shown && Buffer.from(shown, 'base64').toString().split(':')[0]
  return { user, method: method ?? '', url: decodeURIComponent(url ?? '') }
}

/** A registry that denies users what `denied` says, by an answer of `status`; with `bearer` its token server does. */
async function registryThat(
  denied: (asked: Asked) => boolean,
  status = 403,
  kind: 'basic' | 'bearer' = 'basic',
): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start({ auth: { kind, users } })
  open.push(registry)
  await registry.client.push(image, 'x', 'v1')
  registry.requests.length = 0
  registry.interceptor = (request, response) => {
    const asked = askedBy(request)
    if (asked.user === undefined || !denied(asked)) return false
    request.resume()
    const challenge = { 'www-authenticate': 'Basic realm="fake"' }
    fail(response, status, 'DENIED', status === 401 ? challenge : {})
    return true
  }
  return registry
}

function clientOf(credentials: (repository: string) => readonly Credential[]): RegistryClient {
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { attempts: 2, baseMs: 1, maxMs: 1 },
    credentials: async (_, repository) => credentials(repository),
  })
  open.push(client)
  return client
}

const at = ({ host }: FakeRegistry, repository: string) => ({
  registry: host,
  repository,
  tag: 'v1',
})

for (const status of [401, 403]) {
  describe(`credentials of which one was denied something with ${status}`, () => {
    test('still write as the one that may, after a mount that none of them may', async () => {
      const registry = await registryThat(
        ({ user, url }) =>
          user === 'reader'
            ? url.startsWith('/v2/y/')
            : url.startsWith('/v2/x/') || url.includes('from=x'),
        status,
      )
      const client = clientOf((repository) =>
        repository === 'y' ? [writer, reader] : [reader, writer],
      )
      await copyImage(client, at(registry, 'x'), at(registry, 'y'))
      assert.equal(registry.repository('y').tags.get('v1'), image.digest)
    })

    test('are all tried again by the next request', async () => {
      let away = true
      const registry = await registryThat(({ user }) => away || user === 'reader', status)
      const client = clientOf(() => [writer, reader])
      await assert.rejects(resolveDigest(client, at(registry, 'x')), { status })
      away = false
      assert.equal((await resolveDigest(client, at(registry, 'x'))).digest, image.digest)
    })

    test('are each tried once a request, however many are denied at a time', async () => {
      const registry = await registryThat(() => true, status)
      const client = clientOf(() => [writer, reader, stranger])
      await Promise.all(
        Array.from({ length: 10 }, () =>
          assert.rejects(resolveDigest(client, at(registry, 'x')), { status }),
        ),
      )
      const shown = registry.requests.map(({ headers }) => headers.authorization ?? '')
      const counts = Object.values(Object.groupBy(shown, (it) => it)).map((it) => it?.length)
      assert.deepEqual(counts, [10, 10, 10, 10])
    })

    test('send no blob again as another one', async () => {
      const registry = await registryThat(({ method }) => method === 'PUT', status)
      const source = await FakeRegistry.start()
      open.push(source)
      // One blob: of several, the first that is denied for good stops the others.
      await source.client.push(sampleImage({ layers: [] }), 'x', 'v1')
      const client = clientOf(() => [writer, reader])
      await assert.rejects(copyImage(client, at(source, 'x'), at(registry, 'y')), { status })
      assert.equal(registry.requests.filter(({ method }) => method === 'PUT').length, 1)
    })
  })
}

test('credentials of which a token server denies one something still write as the one that may', async () => {
  const registry = await registryThat(
    ({ user, url }) =>
      user === 'reader' ? url.includes('repository:y:') : url.includes('repository:x:'),
    401,
    'bearer',
  )
  const client = clientOf((repository) =>
    repository === 'y' ? [writer, reader] : [reader, writer],
  )
  await copyImage(client, at(registry, 'x'), at(registry, 'y'))
  assert.equal(registry.repository('y').tags.get('v1'), image.digest)
})

test('credentials are tried to the last, however many they are', async () => {
  const registry = await registryThat(({ user }) => user !== 'reader')
  const client = clientOf(() => [...Array.from({ length: 30 }, () => stranger), reader])
  assert.equal((await resolveDigest(client, at(registry, 'x'))).digest, image.digest)
})

test('the credential that was let in is the first of later requests', async () => {
  const registry = await registryThat(({ user }) => user !== 'reader')
  const client = clientOf(() => [writer, stranger, reader])
  await resolveDigest(client, at(registry, 'x'))
  registry.requests.length = 0
  await resolveDigest(client, at(registry, 'x'))
  assert.equal(registry.requests.length, 1)
})
