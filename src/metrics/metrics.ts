import {
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  type Metric,
  Registry,
} from 'prom-client'
import { type ReflectorCounts, reflectorFamily } from './reflector-metrics.ts'
import { type QueueCounts, queueFamily } from './work-queue-metrics.ts'

/**
 * The metrics of one kip process. Rooms declare theirs where they use them; asking again for a name that is there gives
 * the same metric, since a job may be made anew with every term of leadership.
 */
export interface Metrics {
  /** @param name `kip_…_total` */
  counter<L extends string>(name: string, help: string, labels?: readonly L[]): Counter<L>
  /** @param name `kip_…`, in base units (seconds, bytes) */
  gauge<L extends string>(name: string, help: string, labels?: readonly L[]): Gauge<L>
  /** @param buckets Upper bounds in the unit of the name; default: {@link durationBuckets}. */
  histogram<L extends string>(
    name: string,
    help: string,
    labels?: readonly L[],
    buckets?: readonly number[],
  ): Histogram<L>
  /** What a work queue of this name counts, under client-go's names. */
  workQueue(name: string): QueueCounts
  /** What a reflector of this name counts, under client-go's names. */
  reflector(name: string): ReflectorCounts
  readonly contentType: string
  /** The Prometheus text format. */
  render(): Promise<string>
}

/** Seconds, from a lookup in memory (an admission takes some 200 µs) to the copy of a large image. */
const durationBuckets: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
]

/**
 * Makes an empty registry with the process's own metrics (memory, CPU, garbage collection, event-loop lag).
 *
 * @param options.processMetrics Default true.
 */
export function createMetrics(options: { readonly processMetrics?: boolean } = {}): Metrics {
  const register = new Registry()
  if (options.processMetrics !== false) collectDefaultMetrics({ register })

  function declare<M extends Metric>(
    type: abstract new (...args: never[]) => M,
    name: string,
    make: () => M,
  ): M {
    const known = register.getSingleMetric(name)
    if (known === undefined) return make()
    if (known instanceof type) return known
    throw new TypeError(`metric ${name} is declared twice, as two different types`)
  }

  let queues: ((name: string) => QueueCounts) | undefined
  let reflectors: ((name: string) => ReflectorCounts) | undefined
  return {
    counter: (name, help, labels = []) =>
      declare(
        Counter,
        name,
        () => new Counter({ name, help, labelNames: labels, registers: [register] }),
      ),
    gauge: (name, help, labels = []) =>
      declare(
        Gauge,
        name,
        () => new Gauge({ name, help, labelNames: labels, registers: [register] }),
      ),
    histogram: (name, help, labels = [], buckets = durationBuckets) =>
      declare(
        Histogram,
        name,
        () =>
          new Histogram({
            name,
            help,
            labelNames: labels,
            buckets: [...buckets],
            registers: [register],
          }),
      ),
    workQueue(name) {
      queues ??= queueFamily(register)
      return queues(name)
    },
    reflector(name) {
      reflectors ??= reflectorFamily(register)
      return reflectors(name)
    },
    contentType: register.contentType,
    render: () => register.metrics(),
  }
}
