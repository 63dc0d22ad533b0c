import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** What a work queue tells; `WorkQueue` of `src/kube` takes it as it is. */
export interface QueueCounts {
  depth(items: number): void
  added(): void
  waited(seconds: number): void
  working(): (seconds: number) => void
  retried(): void
}

/** client-go's: from 10 ns to 1000 s by powers of ten; below a millisecond nothing here is told apart. */
const buckets = [0.001, 0.01, 0.1, 1, 10, 100, 1000]
const labelNames = ['name'] as const

/**
 * Declares the metrics of work queues, named as client-go names them.
 *
 * @returns what one queue tells, by its name; queues of one name, at once or one after the other, are counted together
 */
export function queueFamily(register: Registry): (name: string) => QueueCounts {
  const registers = [register]
  const declared = { labelNames, registers }
  /** When the work under way began, by queue. */
  const running = new Map<string, Set<number>>()
  const secondsSince = (since: number): number => (performance.now() - since) / 1000
  const depth = new Gauge({
    name: 'workqueue_depth',
    help: 'Keys that wait to be worked on.',
    ...declared,
  })
  const adds = new Counter({
    name: 'workqueue_adds_total',
    help: 'Keys that were added.',
    ...declared,
  })
  const retries = new Counter({
    name: 'workqueue_retries_total',
    help: 'Keys that were added again with back-off.',
    ...declared,
  })
  const waits = new Histogram({
    name: 'workqueue_queue_duration_seconds',
    help: 'How long keys waited.',
    buckets,
    ...declared,
  })
  const works = new Histogram({
    name: 'workqueue_work_duration_seconds',
    help: 'How long keys were worked on.',
    buckets,
    ...declared,
  })
  new Gauge({
    name: 'workqueue_unfinished_work_seconds',
    help: 'How long the keys under work have been worked on, all together.',
    ...declared,
    collect() {
      for (const [name, since] of running) {
        this.set(
          { name },
          [...since].reduce((sum, at) => sum + secondsSince(at), 0),
        )
      }
    },
  })
  new Gauge({
    name: 'workqueue_longest_running_processor_seconds',
    help: 'How long the key that has been worked on longest has been.',
    ...declared,
    collect() {
      for (const [name, since] of running) {
        this.set({ name }, since.size === 0 ? 0 : secondsSince(Math.min(...since)))
      }
    },
  })
  return (name) => {
    const since = running.get(name) ?? new Set()
    running.set(name, since)
    let before = 0
    depth.inc({ name }, 0)
    return {
      depth: (items) => {
        depth.inc({ name }, items - before)
        before = items
      },
      added: () => adds.inc({ name }),
      retried: () => retries.inc({ name }),
      waited: (seconds) => waits.observe({ name }, seconds),
      working: () => {
        const at = performance.now()
        since.add(at)
        return (seconds) => {
          since.delete(at)
          works.observe({ name }, seconds)
        }
      },
    }
  }
}
