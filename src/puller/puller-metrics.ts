import type { Metrics } from '../metrics/metrics.ts'
import type { Place } from './placement.ts'
import type { Survey } from './survey.ts'

/** What the puller counts. */
export interface PullerMetrics {
  written(action: 'apply' | 'delete'): void
  refused(reason: string): void
  /** @param waiting references without room, whether they have a place or not */
  observe(places: ReadonlyMap<string, Place>, seen: Survey, waiting: ReadonlySet<string>): void
}

const placeNames: Readonly<Record<Place, string>> = {
  resident: 'held',
  proven: 'proven',
  fresh: 'fresh',
  apart: 'apart',
  stay: 'held',
}

/** Declares what the puller tells of itself. */
export function declareMetrics(metrics: Metrics): PullerMetrics {
  const writes = metrics.counter(
    'kip_puller_writes_total',
    'DaemonSets applied or deleted by the puller.',
    ['action'],
  )
  const refusals = metrics.counter(
    'kip_puller_write_errors_total',
    'Writes of DaemonSets that the API server refused or did not answer, by its reason.',
    ['reason'],
  )
  const images = metrics.gauge(
    'kip_puller_images',
    'Names that the nodes are to hold: held for good, proven and waiting for that, on their way (fresh), failing (apart), without room (waiting).',
    ['state'],
  )
  const shards = metrics.gauge('kip_puller_shards', 'DaemonSets of the puller.', ['kind'])
  const nodes = metrics.gauge('kip_puller_nodes', 'Nodes that the puller serves.', ['state'])
  return {
    written: (action) => writes.inc({ action }),
    refused: (reason) => refusals.inc({ reason }),
    observe: (places, seen, waiting) => {
      const counts = new Map(Object.values(placeNames).map((name) => [name, 0]))
      for (const [reference, place] of places) {
        if (waiting.has(reference)) continue
        const name = placeNames[place]
        counts.set(name, (counts.get(name) ?? 0) + 1)
      }
      counts.set('waiting', waiting.size)
      for (const [state, count] of counts) images.set({ state }, count)
      for (const kind of ['holding', 'originals', 'fresh', 'apart', 'refresh'] as const) {
        shards.set({ kind }, seen.shards.filter((shard) => shard.kind === kind).length)
      }
      nodes.set({ state: 'desired' }, seen.nodes)
      nodes.set({ state: 'lost' }, seen.lost.size)
      nodes.set({ state: 'blocked' }, seen.blocked.size)
    },
  }
}
