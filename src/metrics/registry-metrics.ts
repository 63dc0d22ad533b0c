import { type Counters, type HostCounters, otherHosts } from '@containers/image-copy'
import type { Metrics } from './metrics.ts'

/** Takes what a client counted since it was made, each time it is told. */
export type RegistryCounts = (counters: Counters) => void

/** As many as one client has, though with each term of leadership, and each process that copies, there is a new one. */
const maxHosts = 100
const labels = ['host'] as const

/**
 * Declares the metrics of what registries were asked.
 *
 * @returns what takes the counters of one client; a new one for each
 */
export function registryFamily(metrics: Metrics): () => RegistryCounts {
  const requests = metrics.counter(
    'kip_registry_requests_total',
    'Requests to registries, by what they were for and the class of their answer.',
    ['host', 'kind', 'status'],
  )
  const numbers = [
    {
      counter: metrics.counter(
        'kip_registry_received_bytes_total',
        'Bytes of bodies that came from registries.',
        labels,
      ),
      of: (host: HostCounters | undefined) => host?.receivedBytes ?? 0,
    },
    {
      counter: metrics.counter(
        'kip_registry_failed_connections_total',
        'Connections to registries that could not be opened.',
        labels,
      ),
      of: (host: HostCounters | undefined) => host?.failedConnections ?? 0,
    },
    {
      counter: metrics.counter(
        'kip_registry_retries_total',
        'Tries of requests and transfers again.',
        labels,
      ),
      of: (host: HostCounters | undefined) => host?.retries ?? 0,
    },
    {
      counter: metrics.counter(
        'kip_registry_throttled_seconds_total',
        'Time waited because registries asked for patience.',
        labels,
      ),
      of: (host: HostCounters | undefined) => (host?.throttledMs ?? 0) / 1000,
    },
  ]
  const pullsLeft = metrics.gauge(
    'kip_registry_pulls_left',
    'Pulls that a registry still allows, as it last said.',
    labels,
  )
  const shown = new Set<string>()
  const shownAs = (host: string): string => {
    if (shown.size < maxHosts) shown.add(host)
    return shown.has(host) ? host : otherHosts
  }

  const add = (now: HostCounters, before: HostCounters | undefined): void => {
    const host = shownAs(now.host)
    for (const [kind, answers] of entriesOf(now.requests))
      for (const [status, count] of entriesOf(answers)) {
        const more = count - (before?.requests[kind][status] ?? 0)
        if (more > 0) requests.inc({ host, kind, status }, more)
      }
    for (const { counter, of } of numbers) counter.inc({ host }, of(now) - of(before))
    const left = now.rateLimit?.remaining
    // Another client may have been told since.
    if (left !== undefined && left !== before?.rateLimit?.remaining) pullsLeft.set({ host }, left)
  }

  return () => {
    let before = new Map<string, HostCounters>()
    return ({ hosts }) => {
      for (const host of hosts) add(host, before.get(host.host))
      before = new Map(hosts.map((host) => [host.host, host]))
    }
  }
}

function entriesOf<K extends string, V>(record: Readonly<Record<K, V>>): readonly [K, V][] {
  return Object.entries(record) as [K, V][]
}
