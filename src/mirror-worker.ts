import type { Invocation } from './cli/invocation.ts'
import { clusterNetworks } from './cluster-networks.ts'
import { createMapping } from './images/mapping.ts'
import { connectCluster } from './kube/connect.ts'
import { Doubt } from './kube/doubt.ts'
import { withLastWords } from './last-words.ts'
import { createLog, type Logger } from './metrics/log.ts'
import { createMetrics } from './metrics/metrics.ts'
import { findCpuCgroup } from './mirror/cpu-cgroup.ts'
import { CpuShare } from './mirror/cpu-share.ts'
import type { StartMessage, WorkerMessage } from './mirror/process.ts'
import { runMirrorWorker } from './mirror/worker.ts'
import { Yielding } from './mirror/yielding.ts'
import { createRegistries, keepTelling } from './registries.ts'
import { createClusterStore } from './state/cluster-store.ts'

/** The copying half of the mirror, in a child process of the leader; told by IPC what to do. */
export async function mirrorWorker(invocation: Invocation): Promise<number> {
  const { complain, onCrash, signal } = invocation
  if (process.send === undefined) {
    complain(
      'kip: mirror-worker is started by kip itself; use kip run, or kip copy to copy an image',
    )
    return 2
  }
  const stop = new AbortController()
  signal.addEventListener('abort', () => stop.abort(signal.reason))
  // Without the leader nobody would take the claims back, so the worker ends with it.
  process.once('disconnect', () => stop.abort(new Error('the leader is gone')))
  const told = await firstMessage(stop.signal)
  const log = createLog(told.settings.log).child({ component: 'mirror', worker: told.id })
  return await withLastWords({ log, onCrash, signal: stop.signal }, () =>
    copyUntil(stop.signal, { invocation, told, log }),
  )
}

/** Copies what there is to copy until the signal aborts. */
async function copyUntil(
  signal: AbortSignal,
  {
    invocation: { env, readFile, version },
    told: { id, settings, authorities },
    log,
  }: { readonly invocation: Invocation; readonly told: StartMessage; readonly log: Logger },
): Promise<number> {
  const metrics = createMetrics({ processMetrics: false })
  const client = await connectCluster({ kubeconfig: settings.kubeconfig, env, signal })
  const registry = createRegistries({
    settings,
    authorities,
    readFile,
    clusterNetworks: await clusterNetworks(client, env, signal, new Doubt({ client })),
    userAgent: `kip/${version}`,
    writeBackup: true,
  })
  const store = createClusterStore({ client, log, metrics })
  const endTelling = keepTelling(registry, (counters) => tell({ type: 'counters', counters }))
  try {
    await Promise.all([
      store.run(signal),
      runMirrorWorker(
        {
          store,
          client: registry,
          mapping: createMapping(settings.mirror),
          registry: settings.mirror.registry,
          id,
          concurrency: settings.mirror.concurrency,
          log,
          report: (outcome) => tell({ type: 'outcome', outcome }),
          yielding: yieldingToOthers(),
          now: Date.now,
          random: Math.random,
        },
        signal,
      ),
    ])
    return 0
  } finally {
    endTelling()
    await registry.close()
    await client.close()
    if (process.connected) process.disconnect()
  }
}

/** Within a container's CPU limit, which the process that answers admission is under too. */
function yieldingToOthers(): Yielding {
  const cgroup = findCpuCgroup()
  if (cgroup === undefined) return new Yielding()
  const ownMs = (): number => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000
  }
  return new Yielding(new CpuShare({ cgroup, ownMs, now: () => performance.now() }))
}

function tell(message: WorkerMessage): void {
  if (process.connected) process.send?.(message)
}

function firstMessage(signal: AbortSignal): Promise<StartMessage> {
  return new Promise((resolve, reject) => {
    const aborted = () => reject(signal.reason)
    signal.addEventListener('abort', aborted, { once: true })
    process.once('message', (message: StartMessage) => {
      signal.removeEventListener('abort', aborted)
      resolve(message)
    })
  })
}
