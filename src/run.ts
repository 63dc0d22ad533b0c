import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { Invocation } from './cli/invocation.ts'
import { isMultiCluster } from './config/checks.ts'
import { ConfigError } from './config/errors.ts'
import { standaloneFlag } from './config/flags.ts'
import { loadSettings } from './config/load.ts'
import type { Settings } from './config/settings.ts'
import { renderUsage } from './config/usage.ts'
import { systemClock } from './kube/clock.ts'
import { connectCluster } from './kube/connect.ts'
import { Doubt } from './kube/doubt.ts'
import { isPassing } from './kube/errors.ts'
import { guardWrites } from './kube/guarded-client.ts'
import { untilAnswered } from './kube/until-answered.ts'
import { withLastWords } from './last-words.ts'
import { type Parts, serve } from './lifecycle.ts'
import { LiveSettings } from './live-settings.ts'
import { createLog, type Logger, standardOutput } from './metrics/log.ts'
import { createMetrics } from './metrics/metrics.ts'
import { startStatusServer } from './metrics/status-server.ts'
import { chooseMode } from './mode.ts'
import { runMultiCluster } from './multi-cluster.ts'
import { aloneParts } from './parts/alone.ts'
import { clusterParts } from './parts/cluster.ts'
import type { Context } from './parts/context.ts'
import { settleHeap } from './settle-heap.ts'

/** `kip run`: the whole program in one replica, until the signal aborts. */
export async function run(invocation: Invocation): Promise<number> {
  const { argv, env, readFile, print, complain, version, onCrash, signal } = invocation
  const asked = standaloneFlag(argv)
  if (asked !== undefined) {
    print(asked === 'version' ? `kip ${version}` : renderUsage())
    return 0
  }
  let loaded: ReturnType<typeof loadSettings>
  try {
    loaded = loadSettings({ argv, env, readFile })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const fault of error.faults) complain(`kip: ${fault}`)
    return 2
  }
  const onFault = ({ message }: Error): void =>
    complain(`kip: the log cannot be written: ${message}`)
  const log = createLog(loaded.settings.log, standardOutput(onFault))
  return await withLastWords({ log, onCrash, signal }, () => runWith(loaded, log, invocation))
}

async function runWith(
  { settings, warnings }: ReturnType<typeof loadSettings>,
  log: Logger,
  invocation: Invocation,
): Promise<number> {
  const { argv, env, readFile, version, signal } = invocation
  for (const warning of warnings) log.warn({ component: 'config' }, warning)
  const metrics = createMetrics()
  metrics.gauge('kip_info', 'The version that runs.', ['version']).set({ version }, 1)
  if (isMultiCluster(settings.multiCluster)) {
    await runMultiCluster({ settings, log, metrics, version, readFile }, signal)
    return 0
  }
  const client = await connectCluster({ kubeconfig: settings.kubeconfig, env, signal })
  log.info({ version, server: client.server, namespace: settings.namespace }, 'kip starts')

  let waiting: () => readonly string[] = () => ['API server: first answer']
  const status = await startStatusServer({
    port: settings.port,
    metrics,
    ready: () => {
      const lines = signal.aborted ? ['shutting down'] : waiting()
      return { ok: lines.length === 0, waiting: lines }
    },
    healthy: () => true,
  })
  try {
    const leaderClient = guardWrites(client)
    const identity = identityOf(settings)
    const doubt = new Doubt({ client })
    const live = new LiveSettings({
      ...{ client, doubt, settings, argv, env, readFile },
      log: log.child({ component: 'config' }),
    })
    const context = {
      ...{ settings, live, client, leaderClient, doubt },
      ...{ log, metrics, identity, invocation },
    }
    const complaint = 'the API server does not answer, trying again'
    const parts = await untilAnswered(
      () => assemble(context, signal),
      { log, clock: systemClock, complaint, isPassing },
      signal,
    )
    if (parts === undefined) return 0
    waiting = parts.waiting
    await serve(context, { ...parts, everywhere: [...parts.everywhere, settleHeap] }, signal)
    return 0
  } finally {
    await status.close()
    await client.close()
    log.info({}, 'kip ended')
  }
}

async function assemble(context: Context, signal: AbortSignal): Promise<Parts> {
  const { client, settings, log, doubt } = context
  const { mode, reason } = await chooseMode(client, settings, signal, { doubt, log })
  log.info({ mode, reason }, 'mode chosen')
  return mode === 'cluster'
    ? await clusterParts(context, signal)
    : await aloneParts(context, signal)
}

/** Unique per process, and tells the other replicas where the leader is: `pod_address:port_random`. */
function identityOf({ pod, port }: Settings): string {
  const name = pod.name || hostname()
  const address =
    pod.address === ''
      ? ''
      : `_${pod.address.includes(':') ? `[${pod.address}]` : pod.address}:${port}`
  return `${name}${address}_${randomBytes(4).toString('hex')}`
}
