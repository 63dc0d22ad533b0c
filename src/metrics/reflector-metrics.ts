import { Counter, Histogram, type Registry } from 'prom-client'

/** What a reflector tells; `Reflector` of `src/kube` takes it as it is. */
export interface ReflectorCounts {
  listed(objects: number, seconds: number): void
  watched(): void
  unwatched(events: number, seconds: number): void
  failed(reason: string): void
}

/** A watch that ended sooner and without an event was none, as client-go counts them. */
const shortWatchSeconds = 1
const labelNames = ['name'] as const

/**
 * Declares the metrics of reflectors, named as client-go named them.
 *
 * @returns what a reflector tells, by its name; one that is made anew goes on with it
 */
export function reflectorFamily(register: Registry): (name: string) => ReflectorCounts {
  const declared = { labelNames, registers: [register] }
  const counts = [0, 1, 10, 100, 1000, 10_000, 100_000]
  const lists = new Counter({
    name: 'reflector_lists_total',
    help: 'Full lists that were read, paged or streamed.',
    ...declared,
  })
  const listSeconds = new Histogram({
    name: 'reflector_list_duration_seconds',
    help: 'How long full lists took.',
    buckets: [0.01, 0.1, 1, 10, 60],
    ...declared,
  })
  const listItems = new Histogram({
    name: 'reflector_items_per_list',
    help: 'Objects of full lists.',
    buckets: counts,
    ...declared,
  })
  const watches = new Counter({
    name: 'reflector_watches_total',
    help: 'Watches that were opened.',
    ...declared,
  })
  const shortWatches = new Counter({
    name: 'reflector_short_watches_total',
    help: 'Watches that ended within a second, without an event.',
    ...declared,
  })
  const watchSeconds = new Histogram({
    name: 'reflector_watch_duration_seconds',
    help: 'How long watches lasted.',
    buckets: [1, 10, 60, 300, 600],
    ...declared,
  })
  const watchItems = new Histogram({
    name: 'reflector_items_per_watch',
    help: 'Events of watches, bookmarks too.',
    buckets: counts,
    ...declared,
  })
  const failures = new Counter({
    name: 'reflector_failures_total',
    help: 'Lists and watches that failed, by reason.',
    labelNames: ['name', 'reason'] as const,
    registers: [register],
  })
  return (name) => ({
    listed: (objects, seconds) => {
      lists.inc({ name })
      listSeconds.observe({ name }, seconds)
      listItems.observe({ name }, objects)
    },
    watched: () => watches.inc({ name }),
    unwatched: (events, seconds) => {
      watchSeconds.observe({ name }, seconds)
      watchItems.observe({ name }, events)
      if (events === 0 && seconds < shortWatchSeconds) shortWatches.inc({ name })
    },
    failed: (reason) => failures.inc({ name, reason }),
  })
}
