import type { Clock } from './clock.ts'
import { LeaseConfigError } from './errors.ts'
import type { LeaseApi } from './lease.ts'

/** What an elector tells; a pino logger fits. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** Tells nothing. */
export const silent: Log = { debug: () => {}, info: () => {}, warn: () => {} }

/** Who is elected by which Lease, and how fast; what is left out is as {@link leaseDefaults} has it. */
export interface LeaseElectorOptions {
  readonly api: LeaseApi
  /** Must be unique to this process: pod name and a random part, never a host name alone. */
  readonly identity: string
  /** How long others wait after the last renewal that they saw. Whole seconds. Default 15 s. */
  readonly leaseDurationMs?: number
  /** How long this one leads after sending its last successful renewal. Default 10 s. */
  readonly renewDeadlineMs?: number
  /** Between renewals, and between the tries of a candidate (there × 1 to 2.2). Default 2 s. */
  readonly retryPeriodMs?: number
  readonly clock?: Clock
  /** In [0, 1). Default `Math.random`. */
  readonly random?: () => number
  /** Called once for each change of the holder that is seen, the first one too; undefined: nobody. */
  readonly onLeader?: (identity: string | undefined) => void
  readonly log?: Log
}

/** client-go's. Their ratio bounds what is tolerated of clocks that run at different rates: 15/10 = 1.5. */
export const leaseDefaults: Readonly<{
  leaseDurationMs: number
  renewDeadlineMs: number
  retryPeriodMs: number
}> = Object.freeze({ leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000 })

/** A candidate waits `retryPeriodMs` × [1, 1 + 1.2): client-go's JitterFactor. */
export const jitterFactor = 1.2

export interface Timing {
  readonly leaseDurationMs: number
  readonly renewDeadlineMs: number
  readonly retryPeriodMs: number
  /** No request is waited for longer. */
  readonly requestTimeoutMs: number
  /** A term's signal aborts so long before it ends, for a timer that comes late and for work that has to stop. */
  readonly marginMs: number
}

/** @throws LeaseConfigError */
export function timingOf(options: LeaseElectorOptions): Timing {
  const {
    leaseDurationMs = leaseDefaults.leaseDurationMs,
    renewDeadlineMs = leaseDefaults.renewDeadlineMs,
    retryPeriodMs = leaseDefaults.retryPeriodMs,
  } = options
  const faults: string[] = []
  if (options.identity === '') faults.push('identity is empty')
  for (const [name, value] of Object.entries({ leaseDurationMs, renewDeadlineMs, retryPeriodMs })) {
    if (!Number.isFinite(value) || value <= 0) faults.push(`${name} is ${value}, must be above 0`)
  }
  if (leaseDurationMs % 1000 !== 0) {
    faults.push(`leaseDurationMs is ${leaseDurationMs}, must be whole seconds`)
  }
  if (!(leaseDurationMs > renewDeadlineMs)) {
    faults.push(
      `leaseDurationMs (${leaseDurationMs}) must be above renewDeadlineMs (${renewDeadlineMs})`,
    )
  }
  if (!(renewDeadlineMs > retryPeriodMs * jitterFactor)) {
    faults.push(
      `renewDeadlineMs (${renewDeadlineMs}) must be above retryPeriodMs × ${jitterFactor} (${retryPeriodMs * jitterFactor})`,
    )
  }
  if (faults.length > 0) throw new LeaseConfigError(faults)
  return {
    leaseDurationMs,
    renewDeadlineMs,
    retryPeriodMs,
    requestTimeoutMs: renewDeadlineMs / 2,
    marginMs: Math.min(retryPeriodMs / 2, renewDeadlineMs / 10),
  }
}
