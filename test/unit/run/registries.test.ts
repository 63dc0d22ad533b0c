import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import { type RegistryClient, resolveDigest } from '@containers/image-copy'
import { defaultSettings } from '../../../src/config/leaves.ts'
import { loadSettings } from '../../../src/config/load.ts'
import { createRegistries, type RegistriesOptions } from '../../../src/registries.ts'
import { FakeRegistry, type FakeRegistryOptions, fail } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const image = sampleImage({ layers: [noise('registries', 900)] })
const open: (FakeRegistry | RegistryClient)[] = []

afterEach(async () => {
  for (const it of open.splice(0)) await it.close()
})

async function filled(options?: FakeRegistryOptions): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start(options)
  open.push(registry)
  await registry.client.push(image, 'a/b', 'v1')
  registry.requests.length = 0
  return registry
}

interface Given {
  readonly mirror?: Partial<RegistriesOptions['settings']['mirror']>
  readonly registries?: Partial<RegistriesOptions['settings']['registries']>
  readonly readFile?: RegistriesOptions['readFile']
  /** Default true. */
  readonly writeBackup?: boolean
}

function clientWith(given: Given): RegistryClient {
  const { mirror, registries, readFile = assert.fail, writeBackup = true } = given
  const client = createRegistries({
    settings: {
      mirror: { ...defaultSettings.mirror, ...mirror },
      registries: { ...defaultSettings.registries, ...registries },
    },
    authorities: '',
    readFile,
    clusterNetworks: [],
    userAgent: 'kip-test-registries',
    writeBackup,
  })
  open.push(client)
  return client
}

async function look(client: RegistryClient, registry: string, repository = 'a/b'): Promise<string> {
  return (await resolveDigest(client, { registry, repository, tag: 'v1' })).digest
}

describe('registries.allow', () => {
  // No name but docker.io is asked under another one; this address is, as a URL spells it in another way.
  const otherwise = (registry: FakeRegistry): string => `127.1:${registry.port}`

  test('lets a registry through whose server is called otherwise than it is in references', async () => {
    const registry = await filled({ auth: { kind: 'bearer', users: { me: 'secret' } } })
    if (registry.tokens) registry.tokens.anonymousPull = true
    const name = otherwise(registry)
    const client = clientWith({ registries: { http: [name], allow: [name] } })
    assert.equal(await look(client, name), image.digest)
  })

  test('lets such a backup through without being in the list', async () => {
    const registry = await filled({ auth: { kind: 'bearer', users: { me: 'secret' } } })
    const name = otherwise(registry)
    const mirror = { registry: `${name}/mirror`, user: 'me', password: 'secret' }
    const client = clientWith({ registries: { http: [name], allow: ['sources.test'] }, mirror })
    assert.equal(await look(client, name), image.digest)
  })

  test('lets a registry through that a reference writes in capitals', async () => {
    const registry = await filled()
    const name = `LOCALHOST:${registry.port}`
    const client = clientWith({ registries: { http: [name], allow: [name.toLowerCase()] } })
    assert.equal(await look(client, name), image.digest)
  })

  test('keeps every other registry out', async () => {
    const registry = await filled()
    const client = clientWith({ registries: { http: [registry.host], allow: ['docker.io'] } })
    await assert.rejects(look(client, registry.host), { code: 'COPY_ADDRESS_REFUSED' })
    assert.deepEqual(registry.requests, [])
  })
})

test('a source that asks for patience is told of at once, with how long, by a client that only looks', async () => {
  const registry = await filled()
  registry.interceptor = (_, response) => {
    fail(response, 429, 'TOOMANYREQUESTS', { 'retry-after': '40' })
    return true
  }
  const registries = { http: [registry.host], allow: [registry.host] }
  const client = clientWith({ registries, writeBackup: false })
  await assert.rejects(look(client, registry.host), {
    code: 'COPY_RATE_LIMITED',
    retryAfterMs: 40_000,
  })
  assert.equal(registry.requests.length, 1)
})

describe('registries.trustedRealms', () => {
  const backupWithRealmAt = async (name: string): Promise<FakeRegistry> => {
    const backup = await filled({ auth: { kind: 'bearer', users: { me: 'secret' } } })
    backup.interceptor = ({ headers, url }, response) => {
      if (headers.authorization !== undefined || url?.startsWith('/token')) return false
      const challenge = `Bearer realm="http://${name}:${backup.port}/token",service="x"`
      response.writeHead(401, { 'www-authenticate': challenge, 'content-length': 0 }).end()
      return true
    }
    return backup
  }
  const clientOf = (backup: FakeRegistry, ...trustedRealms: string[]): RegistryClient =>
    clientWith({
      mirror: { registry: backup.host, user: 'me', password: 'secret' },
      registries: { http: [backup.host], trustedRealms },
    })

  test("lets the backup's credentials be shown to a token server of another name", async () => {
    const backup = await backupWithRealmAt('localhost')
    assert.equal(
      await look(clientOf(backup, `localhost:${backup.port}`), backup.host),
      image.digest,
    )
    assert.deepEqual(backup.tokens?.asked, ['me repository:a/b:pull'])
  })

  test('shows them to no other', async () => {
    const backup = await backupWithRealmAt('localhost')
    const client = clientOf(backup, 'other.test', `127.0.0.1:${backup.port + 1}`)
    await assert.rejects(look(client, backup.host), {
      code: 'COPY_UNAUTHORIZED',
      untrustedRealm: `localhost:${backup.port}`,
    })
    assert.deepEqual(backup.tokens?.asked, ['anonymous repository:a/b:pull'])
  })
})

describe('mirror.passwordFile', () => {
  const argvFor = (backup: FakeRegistry): string[] => [
    `--mirror.registry=${backup.host}`,
    `--registries.http=${backup.host}`,
    '--mirror.user=me',
    '--mirror.passwordFile=/secrets/password',
  ]

  test('is read anew: a password that was changed is shown without a restart', async () => {
    const users = { me: 'first' }
    const backup = await filled({ auth: { kind: 'basic', users } })
    await backup.client.push(image, 'c/d', 'v1')
    let file = 'first\n'
    const readFile = (): string => file
    const { settings } = loadSettings({ argv: argvFor(backup), env: {}, readFile })
    const client = clientWith({ ...settings, readFile })
    assert.equal(await look(client, backup.host), image.digest)
    users.me = 'second'
    file = 'second\r\n'
    assert.equal(await look(client, backup.host, 'c/d'), image.digest)
  })

  test('is said to be empty, when it is so while kip runs', async () => {
    const backup = await filled({ auth: { kind: 'basic', users: { me: 'first' } } })
    const { settings } = loadSettings({
      argv: argvFor(backup),
      env: {},
      readFile: () => 'first',
    })
    await assert.rejects(look(clientWith({ ...settings, readFile: () => '\n' }), backup.host), {
      code: 'COPY_CREDENTIALS_INVALID',
      message: 'mirror.passwordFile: /secrets/password is empty',
    })
  })
})
