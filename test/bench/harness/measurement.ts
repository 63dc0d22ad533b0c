/** What one run of one contender cost. */
export interface Measurement {
  readonly wallMs: number
  /** User and system time of the process and all its descendants, where one process is what is measured. */
  readonly cpuMs?: number
  /** Peak resident set of the largest process, likewise. */
  readonly rssMib?: number
  /** What half of the answers took at most, and what 99 of 100 did, where answers are timed. */
  readonly p50Ms?: number
  readonly p99Ms?: number
  /** Requests that registries answered, where they are counted. */
  readonly requests?: number
  /** What pods take of a node's room: requests, in thousandths of a CPU and in mebibytes. */
  readonly reservedCpu?: number
  readonly reservedMib?: number
  /** What a node uses more than before: pods, their shims, containerd. */
  readonly nodeMib?: number
  readonly podsMib?: number
  readonly shimsMib?: number
  readonly containerdMib?: number
  /** Containers made anew, of images that did not change and had nothing to do with what did. */
  readonly restarts?: number
  /** Containers made in all. */
  readonly containers?: number
  /** For how long one of several things was not held, and how many were gone at some time, where that is sampled. */
  readonly unheldMs?: number
  readonly lost?: number
  /** Longest time for which an event loop was blocked, where that is watched. */
  readonly blockMs?: number
  /** Bytes of heap that are kept of one object, where that is looked at. */
  readonly bytes?: number
  /** By how much a status was behind what it tells. */
  readonly behindMs?: number
  /** Bytes that etcd holds for each image and node, that a roll-out of one shard made it write, and in all. */
  readonly storedBytes?: number
  readonly writtenMib?: number
  readonly etcdMib?: number
}

/** Of a process that ran to its end. */
export type ProcessMeasurement = Measurement & Required<Pick<Measurement, 'cpuMs' | 'rssMib'>>

export const figures = [
  'wallMs',
  'cpuMs',
  'p50Ms',
  'p99Ms',
  'rssMib',
  'requests',
  'reservedCpu',
  'reservedMib',
  'nodeMib',
  'podsMib',
  'shimsMib',
  'containerdMib',
  'restarts',
  'containers',
  'unheldMs',
  'lost',
  'blockMs',
  'bytes',
  'behindMs',
  'storedBytes',
  'writtenMib',
  'etcdMib',
] as const
export type Figure = (typeof figures)[number]

/** How a figure is called in tables and messages. */
export const figureNames: Readonly<Record<Figure, string>> = {
  wallMs: 'wall',
  cpuMs: 'CPU',
  p50Ms: 'p50',
  p99Ms: 'p99',
  rssMib: 'RSS',
  requests: 'requests',
  reservedCpu: 'CPU reserved',
  reservedMib: 'memory reserved',
  nodeMib: 'memory used',
  podsMib: 'by pods',
  shimsMib: 'by shims',
  containerdMib: 'by containerd',
  restarts: 'restarts',
  containers: 'containers',
  unheldMs: 'time not held',
  lost: 'lost',
  blockMs: 'longest block',
  bytes: 'heap an object',
  behindMs: 'status behind',
  storedBytes: 'etcd an image and node',
  writtenMib: 'written by a roll-out',
  etcdMib: 'etcd',
}

/** One round's measurements, by contender; a contender may have been left out of it. */
export type Round = Readonly<Record<string, Measurement>>

const memoryParts: ReadonlySet<Figure> = new Set([
  'nodeMib',
  'podsMib',
  'shimsMib',
  'containerdMib',
])

/** `4.08 s`, `12.4 ms`, `53 MiB`, `186` */
export function formatFigure(figure: Figure, value: number): string {
  if (figure === 'reservedCpu') return `${value.toFixed(0)}m`
  if (memoryParts.has(figure)) return `${value.toFixed(1)} MiB`
  if (figure.endsWith('Mib')) return `${value.toFixed(0)} MiB`
  if (figure === 'bytes' || figure === 'storedBytes') return `${value.toFixed(0)} B`
  if (!figure.endsWith('Ms')) return String(Math.round(value * 100) / 100)
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`
}

export function formatMeasurement(measurement: Measurement): string {
  return figures
    .flatMap((figure) => {
      const value = measurement[figure]
      return value === undefined ? [] : [`${figureNames[figure]} ${formatFigure(figure, value)}`]
    })
    .join(', ')
}
