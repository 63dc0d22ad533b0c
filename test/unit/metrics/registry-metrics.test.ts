import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Counters, createRegistryClient, type HostCounters } from '@containers/image-copy'
import { createMetrics, type Metrics } from '../../../src/metrics/metrics.ts'
import { registryFamily } from '../../../src/metrics/registry-metrics.ts'
import { keepTelling } from '../../../src/registries.ts'

const none = { '2xx': 0, '3xx': 0, '429': 0, '4xx': 0, '5xx': 0, none: 0, stopped: 0 }

function host(name: string, reads: number, more: Partial<HostCounters> = {}): HostCounters {
  return {
    host: name,
    requests: { read: { ...none, '2xx': reads }, write: none, token: none },
    ...{ sentBytes: 0, receivedBytes: 10 * reads, connections: 0, failedConnections: 0 },
    ...{ retries: 0, throttledWaits: 0, throttledMs: 0, resumedDownloads: 0, resumedUploads: 0 },
    ...more,
  }
}

const blob = { count: 0, bytes: 0 }
const counters = (...hosts: readonly HostCounters[]): Counters => ({
  hosts,
  blobs: { copied: blob, present: blob, mounted: blob, skipped: blob },
  images: { done: 0, failed: 0, stopped: 0 },
})

async function read(metrics: Metrics, sample: string): Promise<number | undefined> {
  const text = await metrics.render()
  const found = text.split('\n').find((line) => line.startsWith(`${sample} `))
  return found === undefined ? undefined : Number(found.slice(sample.length + 1))
}

const reads = (name: string) =>
  `kip_registry_requests_total{host="${name}",kind="read",status="2xx"}`

describe('metrics of registries', () => {
  test('add up what several clients counted, also of those that are gone', async () => {
    const metrics = createMetrics({ processMetrics: false })
    const client = registryFamily(metrics)
    const one = client()
    one(counters(host('a', 2)))
    one(counters(host('a', 5, { throttledMs: 1500 }), host('b', 1)))
    one(counters(host('a', 5, { throttledMs: 1500 }), host('b', 1)))
    const other = client()
    other(counters(host('a', 4, { retries: 3, failedConnections: 2 })))
    assert.equal(await read(metrics, reads('a')), 9)
    assert.equal(await read(metrics, reads('b')), 1)
    assert.equal(await read(metrics, 'kip_registry_received_bytes_total{host="a"}'), 90)
    assert.equal(await read(metrics, 'kip_registry_retries_total{host="a"}'), 3)
    assert.equal(await read(metrics, 'kip_registry_failed_connections_total{host="a"}'), 2)
    assert.equal(await read(metrics, 'kip_registry_throttled_seconds_total{host="a"}'), 1.5)
  })

  test('have no more hosts than one client, whatever clients come', async () => {
    const metrics = createMetrics({ processMetrics: false })
    const client = registryFamily(metrics)
    for (const name of ['x', 'y'])
      client()(counters(...Array.from({ length: 60 }, (_, i) => host(`${name}${i}`, 1))))
    const hosts = (await metrics.render()).match(/^kip_registry_requests_total\{.*/gm) ?? []
    assert.equal(hosts.length, 101)
    assert.equal(await read(metrics, reads('y39')), 1)
    assert.equal(await read(metrics, reads('y40')), undefined)
    assert.equal(await read(metrics, reads('(others)')), 20)
  })

  test('tell the pulls left as a registry said last, to whichever client', async () => {
    const metrics = createMetrics({ processMetrics: false })
    const client = registryFamily(metrics)
    const [one, other] = [client(), client()]
    const left = (remaining: number) => counters(host('a', 1, { rateLimit: { remaining } }))
    one(left(80))
    other(left(70))
    one(left(80))
    assert.equal(await read(metrics, 'kip_registry_pulls_left{host="a"}'), 70)
    one(left(60))
    assert.equal(await read(metrics, 'kip_registry_pulls_left{host="a"}'), 60)
  })
})

test('what a client counts is told now and then, at its end, and never after', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const client = createRegistryClient()
  const told: Counters[] = []
  const end = keepTelling(client, (counters) => told.push(counters))
  t.mock.timers.tick(10_000)
  assert.equal(told.length, 1)
  end()
  assert.equal(told.length, 2)
  t.mock.timers.tick(60_000)
  assert.equal(told.length, 2)
  await client.close()
})
