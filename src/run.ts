import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCertificateSource } from '../certs/choose-source.ts'
import { createAdmission } from './admission/admission.ts'
import {
  keepWebhookConfiguration,
  removeWebhookConfiguration,
} from './admission/configuration-keeper.ts'
import { createLoopBreaker } from './admission/loop-breaker.ts'
import { mayChangePullPolicy } from './admission/pull-policy.ts'
import { createReviewer } from './admission/reviewer.ts'
import type { Invocation } from './cli/invocation.ts'
import { clusterNetworks } from './cluster-networks.ts'
import { isMultiCluster } from './config/checks.ts'
import { ConfigError } from './config/errors.ts'
import { standaloneFlag } from './config/flags.ts'
import { loadSettings } from './config/load.ts'
import type { Settings } from './config/settings.ts'
import { renderUsage } from './config/usage.ts'
import { decide } from './decide/decide.ts'
import { createDiscovery } from './discovery/discovery.ts'
import { putStaticImages } from './discovery/static-images.ts'
import { createMapping } from './images/mapping.ts'
import { allWorkloadKinds } from './images/templates.ts'
import type { KubeClient } from './kube/client.ts'
import { connectCluster } from './kube/connect.ts'
import { KubeApiError } from './kube/errors.ts'
import { createEventRecorder } from './kube/events.ts'
import { type GuardedClient, guardWrites } from './kube/guarded-client.ts'
import type { Pod } from './kube/types.ts'
import { type Part, type Parts, serve } from './lifecycle.ts'
import { LiveSettings } from './live-settings.ts'
import { createLog, type Logger } from './metrics/log.ts'
import { createMetrics, type Metrics } from './metrics/metrics.ts'
import { startStatusServer } from './metrics/status-server.ts'
import { runMirror } from './mirror/mirror.ts'
import { keepMirrorProcess } from './mirror/process.ts'
import { chooseMode, mayElect } from './mode.ts'
import { runMultiCluster } from './multi-cluster.ts'
import { createExternalPuller } from './puller/external.ts'
import { createPuller, type PullerOptions } from './puller/puller.ts'
import { asksUsers } from './puller/where-rules.ts'
import { createRegistries } from './registries.ts'
import { createResolver } from './resolver/resolver.ts'
import { settleHeap } from './settle-heap.ts'
import { createClusterStore } from './state/cluster-store.ts'
import { createExclusions } from './state/exclusions.ts'
import { createFlaggedWorkloads } from './state/flagged-workloads.ts'
import { createMemoryStore } from './state/memory-store.ts'
import { createPullSecrets } from './state/pull-secrets.ts'
import { createStoppedOwners } from './state/stopped-owners.ts'
import type { ImageStore } from './state/store.ts'

interface Context {
  readonly settings: Settings
  readonly live: LiveSettings
  readonly client: KubeClient
  /** For what only the leader may write: CachedImages, DaemonSets, the webhook configuration. */
  readonly leaderClient: GuardedClient
  readonly log: Logger
  readonly metrics: Metrics
  readonly identity: string
  readonly invocation: Invocation
}

/** `kip run`: the whole program in one replica, until the signal aborts. */
export async function run(invocation: Invocation): Promise<number> {
  const { argv, env, readFile, print, complain, version, signal } = invocation
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
  const { settings, warnings } = loaded
  const log = createLog(settings.log)
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
    const live = new LiveSettings({
      ...{ client, settings, argv, env, readFile },
      log: log.child({ component: 'config' }),
    })
    const context = { settings, live, client, leaderClient, log, metrics, identity, invocation }
    const parts = await untilAnswered(() => assemble(context, signal), log, signal)
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
  const { client, settings, log } = context
  const { mode, reason } = await chooseMode(client, settings, signal)
  log.info({ mode, reason }, 'mode chosen')
  return mode === 'cluster'
    ? await clusterParts(context, signal)
    : await aloneParts(context, signal)
}

/** KIP's old job: the static IMAGES, in memory, under a Role. */
async function aloneParts(
  { leaderClient: client, settings, log, metrics, live }: Context,
  signal: AbortSignal,
): Promise<Parts> {
  if (settings.mirror.registry !== '')
    log.warn({}, 'mirror.registry is set, but nothing is mirrored or rewritten without discovery')
  const mapping = createMapping({ ...settings.mirror, registry: '' })
  const elected = await mayElect(client, settings, signal)
  if (!elected) log.warn({}, 'Leases may not be read; this replica leads, let it be the only one')
  return {
    elected,
    everywhere: [],
    leading: [
      (signal) => live.follow(signal),
      live.part((settings) => async (signal) => {
        const store = createMemoryStore()
        await putStaticImages(store, settings.puller.images, { signal })
        await pullerPart({ client, settings, log, metrics, store, mapping })(signal)
      }),
    ],
    waiting: () => [],
  }
}

async function clusterParts(context: Context, signal: AbortSignal): Promise<Parts> {
  const { client, leaderClient, settings, log, metrics, identity, invocation, live } = context
  const { env, readFile, program, version } = invocation
  const component = (name: string) => log.child({ component: name })
  const mapping = createMapping(settings.mirror)
  const store = createClusterStore({ client: leaderClient, log: component('state'), metrics })
  const exclusions = createExclusions({
    client,
    settings,
    log: component('exclusions'),
    metrics,
  })
  const networks = await clusterNetworks(client, env, signal)
  const pending = new Set<string>()
  const waitFor = (name: string, done: Promise<unknown>) => {
    pending.add(name)
    void done.then(() => pending.delete(name))
  }
  waitFor('cachedimages: first list', store.synced)
  waitFor('namespaces: first list', exclusions.synced)

  const events = createEventRecorder({
    client,
    controller: 'images.kip/kip',
    instance: settings.pod.name || hostname(),
    log: component('events'),
  })
  const stopped =
    settings.admission.enabled && settings.admission.loopBreaker
      ? createStoppedOwners({
          client: leaderClient,
          namespace: settings.namespace,
          log: component('state'),
        })
      : undefined
  let seePod: ((pod: Pod) => void) | undefined
  let lookAgain: ((reference: string) => void) | undefined
  const onDemands = new Set<() => void>()
  const discovery = createDiscovery({
    client,
    store,
    exclusions,
    mapping,
    settings: live.view(),
    log: component('discovery'),
    metrics,
    events,
    onLeaving: (pod) => seePod?.(pod),
    onUnpulled: (reference) => lookAgain?.(reference),
    demands: {
      isAsked: () => asksUsers(live.view().puller),
      onChange: () => {
        for (const listener of onDemands) listener()
      },
    },
  })
  const everywhere: Part[] = [
    store.run,
    exclusions.run,
    (signal) => untilAborted(signal).then(() => events.close()),
  ]
  const leading: Part[] = [
    (signal) => live.follow(signal),
    live.part(
      () => discovery.run,
      ({ puller }) => [puller.images, asksUsers(puller)],
    ),
    async (signal) => {
      const registry = createRegistries({
        settings,
        readFile,
        clusterNetworks: networks,
        userAgent: `kip/${version}`,
      })
      try {
        const resolver = createResolver({
          store,
          registry,
          settings,
          log: component('resolver'),
          metrics,
        })
        lookAgain = resolver.hasten
        await resolver.run(signal)
      } finally {
        lookAgain = undefined
        await registry.close()
      }
    },
  ]
  if (settings.puller.enabled)
    leading.push(
      live.part((settings) =>
        pullerPart({
          ...{ client: leaderClient, settings, log, metrics, store, mapping },
          pullIdentities: (references) => discovery.pullIdentities(references),
          spread: settings.puller.shards,
          nodesBefore: (reference) => discovery.nodesBefore(reference),
          demands: {
            of: (reference) => discovery.demandsOf(reference),
            onChange: (listener) => {
              onDemands.add(listener)
              return () => onDemands.delete(listener)
            },
          },
        }),
      ),
    )
  if (settings.mirror.registry !== '')
    leading.push((signal) =>
      runMirror(
        {
          store,
          mapping,
          registry: settings.mirror.registry,
          decide: (image) =>
            decide({ reference: image.reference, image, mapping, settings, now: Date.now() })
              .mirror,
          keepWorker: (hooks, signal) =>
            keepMirrorProcess(
              { program, settings, identity, log: component('mirror'), ...hooks },
              signal,
            ),
          log: component('mirror'),
          metrics,
          now: Date.now,
        },
        signal,
      ),
    )
  if (!settings.admission.enabled) {
    const log = component('admission')
    leading.push((signal) => removeWebhookConfiguration({ client: leaderClient, log }, signal))
    return { everywhere, leading, waiting: () => [...pending] }
  }

  const certificates = createCertificateSource({
    client,
    settings,
    log: component('certs'),
    metrics,
  })
  const workloads = createFlaggedWorkloads({
    client,
    kinds: allWorkloadKinds(settings.discovery.templates),
    log: component('exclusions'),
    metrics,
  })
  waitFor('flagged workloads: first list', workloads.synced)
  const pullSecret =
    settings.mirror.pullSecret === ''
      ? undefined
      : createPullSecrets({ client, name: settings.mirror.pullSecret, log: component('state') })
  const canChangePolicy =
    settings.admission.pullPolicy !== 'keep' &&
    (await mayChangePullPolicy(
      {
        client,
        pod: { namespace: settings.namespace, name: settings.pod.name },
        log: component('admission'),
      },
      signal,
    ))
  const admission = createAdmission({
    store,
    exclusions,
    workloads,
    stopped,
    pullSecret,
    canChangePolicy,
    mapping,
    settings,
    certificates,
    log: component('admission'),
    metrics,
    sight: (reference) => discovery.sight(reference),
  })
  everywhere.push(workloads.run, certificates.run, async (signal) => {
    await admission.start()
    await untilAborted(signal)
  })
  if (pullSecret) everywhere.push(pullSecret.run)
  if (stopped) {
    everywhere.push(stopped.run)
    const breaker = createLoopBreaker({
      client,
      stopped,
      kinds: allWorkloadKinds(settings.discovery.templates),
      review: createReviewer({
        store,
        exclusions,
        workloads,
        stopped,
        pullSecret,
        mapping,
        settings,
      }),
      registry: settings.mirror.registry,
      events,
      log: component('admission'),
      metrics,
    })
    seePod = breaker.see
    leading.push(breaker.run)
  }
  leading.push((signal) =>
    keepWebhookConfiguration(
      {
        ...{ client: leaderClient, settings, exclusions, certificates, metrics },
        log: component('admission'),
      },
      signal,
    ),
  )
  return {
    everywhere,
    leading,
    waiting: () => [...pending, ...admission.ready().waiting],
    admission,
  }
}

function pullerPart(options: {
  readonly client: KubeClient
  readonly settings: Settings
  readonly log: Logger
  readonly metrics: Metrics
  readonly store: ImageStore
  readonly mapping: ReturnType<typeof createMapping>
  readonly pullIdentities?: NonNullable<PullerOptions['pullIdentities']>
  readonly spread?: number
  readonly demands?: NonNullable<PullerOptions['demands']>
  readonly nodesBefore?: NonNullable<PullerOptions['nodesBefore']>
}): Part {
  const create = options.settings.puller.mode === 'external' ? createExternalPuller : createPuller
  const puller = create({ ...options, log: options.log.child({ component: 'puller' }) })
  return (signal) => puller.run(signal)
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** Tries until the API server answers; undefined when the signal aborts first. Only an answer that is final is thrown. */
async function untilAnswered<T>(
  ask: () => Promise<T>,
  log: Logger,
  signal: AbortSignal,
): Promise<T | undefined> {
  for (let waitMs = 1_000; !signal.aborted; waitMs = Math.min(30_000, waitMs * 2)) {
    try {
      return await ask()
    } catch (error) {
      if (signal.aborted) return undefined
      const passing = error instanceof KubeApiError && (error.status === 0 || error.status >= 429)
      if (!passing) throw error
      log.warn({ err: error, waitMs }, 'the API server does not answer, trying again')
      await sleep(waitMs, undefined, { signal }).catch(() => undefined)
    }
  }
  return undefined
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
