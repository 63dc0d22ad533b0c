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
