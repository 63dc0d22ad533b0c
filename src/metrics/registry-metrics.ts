import { type Counters, metricFamilies, otherHosts } from '@containers/image-copy'
import type { Counter, Gauge } from 'prom-client'
import type { Metrics } from './metrics.ts'

/** Takes what a client counted since it was made, each time it is told. */
export type RegistryCounts = (counters: Counters) => void

/**
 * What is shown of all that clients count of a registry, with its name here, in full so that it can be searched for. What
 * became of images and their blobs the mirror tells itself.
 */
const names: ReadonlyMap<string, string> = new Map([
  ['requests', 'kip_registry_requests_total'],
  ['received_bytes', 'kip_registry_received_bytes_total'],
  ['failed_connections', 'kip_registry_failed_connections_total'],
  ['retries', 'kip_registry_retries_total'],
  ['throttled_seconds', 'kip_registry_throttled_seconds_total'],
  ['pulls_left', 'kip_registry_pulls_left'],
])

/** As many as one client has, though with each term of leadership, and each process that copies, there is a new one. */
const maxHosts = 100

const noBlobs = { count: 0, bytes: 0 }
const nothing: Counters = {
  hosts: [],
  blobs: { copied: noBlobs, present: noBlobs, mounted: noBlobs, skipped: noBlobs },
  images: { done: 0, failed: 0, stopped: 0 },
}

/**
 * Declares the metrics of what registries were asked.
 *
 * @returns what takes the counters of one client; a new one for each
 */
export function registryFamily(metrics: Metrics): () => RegistryCounts {
  const counters = new Map<string, Counter<string>>()
  const gauges = new Map<string, Gauge<string>>()
  for (const { name, type, help, labels } of familiesOf(nothing)) {
    const full = names.get(name) ?? name
    if (type === 'gauge') gauges.set(name, metrics.gauge(full, help, labels))
    else counters.set(name, metrics.counter(full, help, labels))
  }
  const shown = new Set<string>()
  const shownAs = (host = otherHosts): string => {
    if (shown.size < maxHosts) shown.add(host)
    return shown.has(host) ? host : otherHosts
  }

  return () => {
    let before = new Map<string, number>()
    return (told) => {
      const now = new Map<string, number>()
      for (const { name, samples } of familiesOf(told))
        for (const { labels, value } of samples) {
          const key = [name, ...Object.values(labels)].join(' ')
          now.set(key, value)
          const known = before.get(key)
          // Another client may have been told of pulls since.
          if (value === known) continue
          const of = { ...labels, host: shownAs(labels.host) }
          counters.get(name)?.inc(of, value - (known ?? 0))
          gauges.get(name)?.set(of, value)
        }
      before = now
    }
  }
}

function familiesOf(counters: Counters): ReturnType<typeof metricFamilies> {
  return metricFamilies(counters).filter(({ name }) => names.has(name))
}
