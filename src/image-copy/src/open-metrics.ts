import type { Counters, HostCounters } from './counters.ts'

/** One metric with all its label values. */
export interface MetricFamily {
  /** In base units, without a prefix, and of a counter without `_total`: `received_bytes`. */
  readonly name: string
  readonly type: 'counter' | 'gauge'
  /** The unit that the name ends with, if there is one. */
  readonly unit?: 'bytes' | 'seconds' | undefined
  readonly help: string
  /** Names of the labels that each sample has, at least one. */
  readonly labels: readonly string[]
  readonly samples: readonly MetricSample[]
}

/** One number of a {@link MetricFamily}. */
export interface MetricSample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const ofHosts: readonly {
  readonly family: Pick<MetricFamily, 'name' | 'type' | 'unit' | 'help'>
  /** Undefined: the host said nothing of it. */
  readonly of: (host: HostCounters) => number | undefined
}[] = [
  counted('received_bytes', 'Bytes of bodies of answers.', (it) => it.receivedBytes),
  counted('sent_bytes', 'Bytes of bodies of requests.', (it) => it.sentBytes),
  counted('connections', 'Connections that were opened.', (it) => it.connections),
  counted(
    'failed_connections',
    'Connections that could not be opened.',
    (it) => it.failedConnections,
  ),
  counted('retries', 'Tries of requests and transfers again.', (it) => it.retries),
  counted(
    'throttled_waits',
    'Waits because the registry asked for patience.',
    (it) => it.throttledWaits,
  ),
  counted(
    'throttled_seconds',
    'Time waited because the registry asked for patience.',
    (it) => it.throttledMs / 1000,
  ),
  counted(
    'resumed_downloads',
    'Downloads that went on where they broke.',
    (it) => it.resumedDownloads,
  ),
  counted('resumed_uploads', 'Uploads that went on where they broke.', (it) => it.resumedUploads),
  {
    family: {
      name: 'pulls_left',
      type: 'gauge',
      help: 'Pulls that the registry still allows, as it last said.',
    },
    of: (it) => it.rateLimit?.remaining,
  },
]

function counted(
  name: string,
  help: string,
  of: (host: HostCounters) => number,
): (typeof ofHosts)[number] {
  const unit = /_(bytes|seconds)$/.exec(name)?.[1] as MetricFamily['unit']
  return { family: { name, type: 'counter', unit, help }, of }
}

/**
 * What a client counted as metrics, for a metrics library or {@link openMetrics}. Those of one registry have the label `host`.
 * Of requests only what there was any of is a sample: there are 21 for each host.
 *
 * @param counters of `client.counters()`
 */
export function metricFamilies({ hosts, blobs, images }: Counters): readonly MetricFamily[] {
  const blobSamples = (part: 'count' | 'bytes'): readonly MetricSample[] =>
    Object.entries(blobs).map(([how, it]) => ({ labels: { how }, value: it[part] }))
  return [
    {
      name: 'requests',
      type: 'counter',
      help: 'Requests that are over, by what they were for and the class of their answer.',
      labels: ['host', 'kind', 'status'],
      samples: hosts.flatMap(requestSamples),
    },
    ...ofHosts.map(({ family, of }) => ({
      ...family,
      labels: ['host'],
      samples: hosts.flatMap((it) => {
        const value = of(it)
        return value === undefined ? [] : [{ labels: { host: it.host }, value }]
      }),
    })),
    {
      name: 'blobs',
      type: 'counter',
      help: 'Blobs of images, by how they came into the target.',
      labels: ['how'],
      samples: blobSamples('count'),
    },
    {
      name: 'blob_bytes',
      type: 'counter',
      unit: 'bytes',
      help: 'Bytes of blobs of images, by how they came into the target.',
      labels: ['how'],
      samples: blobSamples('bytes'),
    },
    {
      name: 'images',
      type: 'counter',
      help: 'Copies of images that ended, by how.',
      labels: ['result'],
      samples: Object.entries(images).map(([result, value]) => ({ labels: { result }, value })),
    },
  ]
}

function requestSamples({ host, requests }: HostCounters): readonly MetricSample[] {
  return Object.entries(requests).flatMap(([kind, answers]) =>
    Object.entries(answers)
      .filter(([, value]) => value > 0)
      .map(([status, value]) => ({ labels: { host, kind, status }, value })),
  )
}

/**
 * Writes what a client counted as OpenMetrics text 1.0 (`application/openmetrics-text; version=1.0.0; charset=utf-8`). Readers
 * of Prometheus' text format, as node_exporter's textfile collector, take it too, the counters as untyped: what that format
 * calls the type of `x_total` OpenMetrics calls the type of `x`.
 *
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 *
 * @param counters of `client.counters()`
 * @param prefix before each name, which then begins with it and `_`. Default `image_copy`
 * @throws TypeError when no metric's name may begin with the prefix
 */
export function openMetrics(counters: Counters, prefix = 'image_copy'): string {
  if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(prefix))
    throw new TypeError(`"${prefix}" cannot be the beginning of a metric's name`)
  const lines = metricFamilies(counters).flatMap(({ name, type, unit, help, samples }) => {
    const full = `${prefix}_${name}`
    const suffix = type === 'counter' ? '_total' : ''
    return [
      `# TYPE ${full} ${type}`,
      ...(unit === undefined ? [] : [`# UNIT ${full} ${unit}`]),
      `# HELP ${full} ${help}`,
      ...samples.map(({ labels, value }) => `${full}${suffix}{${labelsOf(labels)}} ${value}`),
    ]
  })
  return `${lines.join('\n')}\n# EOF\n`
}

function labelsOf(labels: MetricSample['labels']): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(',')
}

function escaped(text: string): string {
  return text.replace(/[\\"\n]/g, (it) => (it === '\n' ? '\\n' : `\\${it}`))
}
