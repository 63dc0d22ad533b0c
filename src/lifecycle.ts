import { setTimeout as sleep } from 'node:timers/promises'
import { LeaseElector } from 'lease-lock'
import type { Settings } from './config/settings.ts'
import type { KubeClient } from './kube/client.ts'
import type { GuardedClient } from './kube/guarded-client.ts'
import { leaseApi } from './kube/leases.ts'
import type { Logger } from './metrics/log.ts'
import type { Metrics } from './metrics/metrics.ts'

/**
 * From the end of readiness to the end of serving: until every API server has this endpoint gone. It learns of that by two
 * watches in a row (pod, EndpointSlice), under a second when all is well; five leave room for a busy control plane. The
 * connections that it keeps open are served meanwhile, and not closed before: should both replicas go at once, they are what
 * bridges the time until new ones are ready.
 */
const DRAIN_MS = 5_000

/** Of the renewDeadline, how long a request for the Lease may take: below the half at which the elector gives it up. */
const ANSWER_SHARE = 0.4

/** Something that runs until its signal aborts. */
export type Part = (signal: AbortSignal) => Promise<void>

/** What a mode is made of. */
export interface Parts {
  /** Run in every replica, from the start. */
  readonly everywhere: readonly Part[]
  /** Run by the replica that holds the Lease. */
  readonly leading: readonly Part[]
  /** false: nobody may touch a Lease here, and this replica leads without one. Default true. */
  readonly elected?: boolean
  /** One line for each thing that is still waited for before this replica is ready. */
  readonly waiting: () => readonly string[]
  /** Serves admission until it is closed, which answers what is in flight. */
  readonly admission?: { close(): Promise<void> }
}

export interface LifecycleOptions {
  readonly settings: Pick<Settings, 'leaderElection' | 'namespace'>
  readonly client: KubeClient
  /** What the leading parts write by. */
  readonly leaderClient: GuardedClient
  readonly log: Logger
  readonly metrics: Metrics
  /** Holder identity in the Lease. */
  readonly identity: string
}

/**
 * Runs all parts until the signal aborts: what leads ends at once, what serves goes on for a drain. A part that fails ends
 * all of them, and its error is thrown.
 */
export async function serve(
  options: LifecycleOptions,
  parts: Parts,
  signal: AbortSignal,
): Promise<void> {
  const { log } = options
  const serving = new AbortController()
  const lead: Part = async (failed) => {
    const begin = parts.elected === false ? leadAlone : contend
    await begin(options, parts.leading, AbortSignal.any([signal, failed]))
    if (failed.aborted) return
    if (parts.admission) {
      log.info({ seconds: DRAIN_MS / 1000 }, 'draining')
      await sleep(DRAIN_MS, undefined, { signal: failed }).catch(() => undefined)
      await parts.admission.close()
    }
    serving.abort(signal.reason)
  }
  try {
    await runTogether([...parts.everywhere, lead], serving.signal)
  } finally {
    await parts.admission?.close()
  }
}

function leaderGauge(metrics: Metrics): ReturnType<Metrics['gauge']> {
  return metrics.gauge('kip_leader', '1 while this replica leads.')
}

/** Where nobody is elected, one term lasts for as long as this process. */
async function leadAlone(
  { leaderClient, metrics, identity }: LifecycleOptions,
  parts: readonly Part[],
  signal: AbortSignal,
): Promise<void> {
  leaderGauge(metrics).set(1)
  leaderClient.enter({ holds: () => !signal.aborted, token: identity, signal })
  await runTogether(parts, signal)
}

/** Contends for the Lease again and again, and runs the leader's parts while it is held. */
async function contend(
  { settings, client, leaderClient, log, metrics, identity }: LifecycleOptions,
  parts: readonly Part[],
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, leaseDurationSeconds, renewDeadlineSeconds, retryPeriodSeconds } =
    settings.leaderElection
  const leads = leaderGauge(metrics)
  const leaseLog = log.child({ component: 'lease' })
  const elector = new LeaseElector({
    api: leaseApi(client, namespace || settings.namespace, name, {
      log: leaseLog,
      metrics: metrics.reflector('lifecycle/leases'),
      timeoutMs: renewDeadlineSeconds * 1000 * ANSWER_SHARE,
    }),
    identity,
    leaseDurationMs: leaseDurationSeconds * 1000,
    renewDeadlineMs: renewDeadlineSeconds * 1000,
    retryPeriodMs: retryPeriodSeconds * 1000,
    onLeader: (leader) => leaseLog.info({ leader }, 'leader'),
    log: leaseLog,
  })
  while (!signal.aborted) {
    await elector.run(async (term) => {
      leads.set(1)
      leaderClient.enter(term)
      leaseLog.info({ identity }, 'leading')
      try {
        await runTogether(parts, term.signal)
      } finally {
        leaderClient.enter(undefined)
        leads.set(0)
        leaseLog.info({ identity }, 'no longer leading')
      }
    }, signal)
  }
}

/** Runs all parts until the signal aborts; the first that fails ends the others. */
export async function runTogether(parts: readonly Part[], signal: AbortSignal): Promise<void> {
  const together = new AbortController()
  const stop = () => together.abort(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  try {
    const results = await Promise.allSettled(
      parts.map((part) =>
        part(together.signal).catch((error: unknown) => {
          together.abort(error)
          throw error
        }),
      ),
    )
    const failure = results.find((result) => result.status === 'rejected')
    if (failure && !signal.aborted) throw failure.reason
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
