import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseRange, routeDestinations } from '../../cluster/ipv4.ts'
import {
  kubernetesServiceAddress,
  MAXIMUM_NODES,
  nodePlan,
  pickAddresses,
} from '../../cluster/plan.ts'
import { hostsFile, hostsToml, registryHosts } from '../../cluster/registry-hosts.ts'

const nodes = { level: 'nodes', routes: [], taken: [] } as const
const plan = pickAddresses(nodes) ?? assert.fail('no range is free on an empty machine')

describe('addresses of a cluster', () => {
  it('are the first range that no route of the machine touches', () => {
    const routes = ['192.0.2.0/24', '10.96.3.7', '10.97.128.0/17']
    assert.equal(pickAddresses({ ...nodes, routes })?.range, '10.98.0.0/16')
  })

  it('keep clear of a route wider than a range', () => {
    assert.equal(pickAddresses({ ...nodes, routes: ['10.96.0.0/11'] })?.range, '10.128.0.0/16')
    assert.equal(pickAddresses({ ...nodes, routes: ['10.0.0.0/8'] }), undefined)
  })

  it('differ from those of every other cluster', () => {
    assert.equal(pickAddresses({ ...nodes, taken: [plan.range] })?.range, '10.97.0.0/16')
  })

  it('are loopback ones without nodes, whatever the routes', () => {
    const routes = ['127.0.0.0/8', '10.0.0.0/8']
    const found = pickAddresses({ level: 'control-plane', routes, taken: ['127.96.0.0/16'] })
    assert.equal(found?.range, '127.97.0.0/16')
    assert.equal(found?.controlPlane, '127.0.0.1')
    assert.equal(found?.registries.origin, '127.97.0.2')
  })

  it('give every node a part of its own, inside the range', () => {
    const all = Array.from({ length: MAXIMUM_NODES }, (_, index) => nodePlan(plan, index + 1))
    const inside = parseRange(plan.range) ?? assert.fail(plan.range)
    const others = [plan.controlPlane, ...Object.values(plan.registries), plan.services]
    const seen = all.flatMap(({ address, podRange }) => [address, podRange]).concat(others)
    const ranges = seen.map((text) => parseRange(text) ?? assert.fail(text))
    ranges.sort((left, right) => left.first - right.first)
    for (const [index, range] of ranges.entries()) {
      assert.ok(range.first >= inside.first && range.last <= inside.last, seen[index])
      assert.ok(range.first > (ranges[index - 1]?.last ?? -1), `overlap at ${range.first}`)
    }
  })

  it('name the API server in the range of Services', () => {
    assert.equal(kubernetesServiceAddress(plan), '10.96.240.1')
  })

  it('end where a node would have none', () => {
    assert.throws(() => nodePlan(plan, MAXIMUM_NODES + 1), RangeError)
    assert.throws(() => nodePlan(plan, 0), RangeError)
  })
})

describe('routes of the machine', () => {
  it('are read with and without their kind, and the default route is none', () => {
    const listing = `default via 192.0.2.1 dev eth0
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2
blackhole 10.4.0.0/16
local 127.0.0.1 dev lo table local proto kernel
`
    assert.deepEqual(routeDestinations(listing), ['192.0.2.0/24', '10.4.0.0/16', '127.0.0.1'])
  })

  it('are ranges from the first address to the last, wherever the text points in them', () => {
    assert.deepEqual(parseRange('10.1.2.3/16'), parseRange('10.1.0.0/16'))
    for (const text of ['default', '10.1.2', '10.1.2.300', '10.1.2.3/33', 'fd00::/8'])
      assert.equal(parseRange(text), undefined, text)
  })
})

describe('registries of a cluster', () => {
  it('have a name and an address each, by which nodes know them', () => {
    const hosts = hostsFile(plan, new Map([['n1', '10.96.0.11']]))
    const known = hosts.split('\n').slice(2, -1)
    assert.deepEqual(known, [
      ...['10.96.0.11 n1', '10.96.0.2 origin.test', '10.96.0.3 backup.test'],
      '10.96.0.4 plain.test',
    ])
  })

  it('are trusted by the cluster’s authority, and plain http is spoken to one alone', () => {
    const [origin, , plain] = registryHosts(plan)
    assert.ok(origin && plain)
    assert.match(hostsToml(origin, '/ca.crt'), /^server = "https:\/\/origin.test:5000"$/m)
    assert.match(hostsToml(origin, '/ca.crt'), /^ {2}ca = "\/ca.crt"$/m)
    assert.match(hostsToml(plain, '/ca.crt'), /^server = "http:\/\/plain.test:5002"$/m)
    assert.doesNotMatch(hostsToml(plain, '/ca.crt'), /ca =/)
  })
})
