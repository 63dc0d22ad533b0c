import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type AllowAddress,
  addressPolicy,
  createRegistryClient,
  defaultAddressPolicy,
  publicAddressesOnly,
  resolveDigest,
  serverOf,
} from '../../../src/image-copy/src/index.ts'

const named = { registry: 'r', derived: false }
const derivedFrom = (registryAddress?: string) => ({
  registry: 'r',
  derived: true,
  registryAddress,
})
const loopback = [
  '127.0.0.1',
  '127.9.9.9',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '64:ff9b::7f00:1',
  '2002:7f00:1::',
  '0:0:0:0:0:0:0:1',
]
const private_ = [
  '10.1.2.3',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '100.64.0.1',
  'fd12::1',
  'fc00::1',
  '::ffff:10.0.0.1',
  '::10.0.0.1',
]
const never = [
  '0.0.0.0',
  '0.1.2.3',
  '169.254.169.254',
  '::ffff:169.254.169.254',
  'fe80::1',
  'fe80::1%eth0',
  '::',
  'fd00:ec2::254',
  '100.100.100.200',
  '168.63.129.16',
  '224.0.0.1',
  '255.255.255.255',
  'ff02::1',
  'nonsense',
  '',
]
const open = [
  '1.1.1.1',
  '172.32.0.1',
  '100.128.0.1',
  '2606:4700::1111',
  '::ffff:8.8.8.8',
  '2002:808:808::',
]

function requireAll(
  policy: AllowAddress,
  addresses: readonly string[],
  allowed: boolean,
  purpose = named,
): void {
  for (const address of addresses)
    assert.equal(policy(address, 'h', purpose), allowed, `${address} ${JSON.stringify(purpose)}`)
}

test('publicAddressesOnly lets public addresses through and nothing else, in every spelling', () => {
  for (const purpose of [named, derivedFrom(), derivedFrom('10.0.0.1')]) {
    requireAll(publicAddressesOnly, open, true, purpose)
    requireAll(publicAddressesOnly, [...loopback, ...private_, ...never], false, purpose)
  }
})

test('by default the caller names what it likes, and answers lead to the like of the registry only', () => {
  requireAll(defaultAddressPolicy, [...open, ...loopback, ...private_], true)
  requireAll(defaultAddressPolicy, never, false)
  requireAll(defaultAddressPolicy, [...loopback, ...private_, ...never], false, derivedFrom())
  requireAll(
    defaultAddressPolicy,
    [...loopback, ...private_, ...never],
    false,
    derivedFrom('1.1.1.1'),
  )
  requireAll(defaultAddressPolicy, private_, true, derivedFrom('192.168.0.9'))
  requireAll(defaultAddressPolicy, loopback, false, derivedFrom('192.168.0.9'))
  requireAll(defaultAddressPolicy, loopback, true, derivedFrom('::1'))
  requireAll(defaultAddressPolicy, [...private_, ...never], false, derivedFrom('127.0.0.1'))
})

test('networks can be allowed and refused by name, and refusal wins', () => {
  const policy = addressPolicy({
    allowPrivate: true,
    allow: ['169.254.7.0/24', 'fe80::/10'],
    refuse: ['10.96.0.0/12', '8.8.8.8'],
  })
  requireAll(policy, ['10.0.0.1', '169.254.7.1', 'fe80::5'], true)
  requireAll(
    policy,
    ['10.96.0.1', '10.111.255.255', '::ffff:10.100.0.1', '8.8.8.8', '169.254.169.254'],
    false,
  )
})

test('what is no network is refused at once', () => {
  for (const text of ['10.0.0.0/33', 'fd00::/129', 'example.com', '10.0.0.0/x', '']) {
    assert.throws(() => addressPolicy({ refuse: [text] }), TypeError, text)
  }
})

test('a rule is told the server of the registry that was named, as serverOf tells it', async () => {
  for (const [registry, server] of [
    ['docker.io', 'registry-1.docker.io'],
    ['r.test:443', 'r.test'],
    ['R.test:5000', 'r.test:5000'],
  ] as const) {
    const told: string[] = []
    const client = createRegistryClient({
      allowAddress: (_address, _host, purpose) => told.push(purpose.registry) === 0,
      lookup: (_name, _options, done) => done(null, [{ address: '192.0.2.1', family: 4 }]),
    })
    const look = resolveDigest(client, { registry, repository: 'a/b', tag: 'v1' })
    await assert.rejects(look, { code: 'COPY_ADDRESS_REFUSED' })
    await client.close()
    assert.deepEqual(told, [server])
    assert.equal(serverOf(registry).host, server)
  }
  assert.equal(serverOf('r.test:80', true).host, 'r.test')
  assert.throws(() => serverOf('192.0.2.1.5'), /^TypeError: "192\.0\.2\.1\.5" is no registry host$/)
})
