import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  createRegistryClient,
  parseReference,
  RegistryError,
  resolveDigest,
} from '../../../src/image-copy/src/index.ts'

test('an error names registry and repository as the reference does, whatever the URL makes of them', async () => {
  const client = createRegistryClient({
    hosts: () => ({ http: true }),
    // A URL leaves the port of its scheme away; nobody is dialled.
    allowAddress: () => false,
  })
  const error = await resolveDigest(client, parseReference('127.0.0.1:80/team/app:1')).catch(
    (error: unknown) => error,
  )
  await client.close()
  assert.ok(error instanceof RegistryError)
  const { code, host, registry, repository } = error
  assert.deepEqual(
    { code, host, registry, repository },
    {
      ...{ code: 'COPY_ADDRESS_REFUSED', host: '127.0.0.1' },
      ...{ registry: '127.0.0.1:80', repository: 'team/app' },
    },
  )
})

for (const [what, code, tries] of [
  ['a host that there is no name for is looked up once', 'ENOTFOUND', 1],
  ['a host is looked up again where no name server answers', 'EAI_AGAIN', 3],
] as const)
  test(what, async () => {
    let lookups = 0
    const client = createRegistryClient({
      retry: { attempts: 3, baseMs: 1, maxMs: 1 },
      lookup: (name, _, done) => {
        lookups += 1
        const message = `getaddrinfo ${code} ${name}`
        setImmediate(() => done(Object.assign(new Error(message), { code }), ''))
      },
    })
    const error = await resolveDigest(client, parseReference('mistyped.test/app:1')).catch(
      (error: unknown) => error,
    )
    await client.close()
    assert.ok(error instanceof RegistryError)
    assert.deepEqual([error.code, error.retryable, lookups], ['COPY_UNREACHABLE', tries > 1, tries])
    assert.match(
      error.message,
      tries > 1 ? /EAI_AGAIN/ : /ENOTFOUND mistyped\.test; check the name$/,
    )
  })
