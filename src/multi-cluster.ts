import type { Settings } from './config/settings.ts'
import { putStaticImages } from './discovery/static-images.ts'
import { createMapping } from './images/mapping.ts'
import { clientCredentials, type TokenSource } from './kube/client-credentials.ts'
import { HttpKubeClient } from './kube/http-client.ts'
import { impersonatedAccess } from './kube/impersonation.ts'
import { type Part, runTogether } from './lifecycle.ts'
import type { Logger } from './metrics/log.ts'
import { createMetrics, type Metrics } from './metrics/metrics.ts'
import { startStatusServer } from './metrics/status-server.ts'
import { createPuller } from './puller/puller.ts'
import { createMemoryStore } from './state/memory-store.ts'
import type { ImageStore } from './state/store.ts'

export interface MultiClusterOptions {
  readonly settings: Settings
  readonly log: Logger
  readonly metrics: Metrics
  readonly version: string
  readonly readFile: (path: string) => string
}

/**
 * KIP's old multi-cluster mode, until the signal aborts: has the nodes of each user's cluster hold the static IMAGES, with
 * no right but four verbs on DaemonSets there, and none in the cluster that kip itself runs in. One user's trouble is not
 * another's.
 */
export async function runMultiCluster(
  options: MultiClusterOptions,
  signal: AbortSignal,
): Promise<void> {
  const { settings, log, metrics, version, readFile } = options
  const { oidcProvider, users, serviceAccountId, serviceAccountSecret, caFile, proxyUrl } =
    settings.multiCluster
  log.info({ version, mode: 'multi-cluster', server: proxyUrl, users }, 'kip starts')
  const ca = caFile === '' ? '' : readFile(caFile)
  const tokens = clientCredentials({
    url: `${oidcProvider.replace(/\/+$/, '')}/token`,
    clientId: serviceAccountId,
    clientSecret: serviceAccountSecret,
    ca,
  })
  const status = await startStatusServer({
    port: settings.port,
    metrics,
    ready: () => ({ ok: !signal.aborted, waiting: signal.aborted ? ['shutting down'] : [] }),
    healthy: () => true,
  })
  try {
    await runTogether(
      users.map((user) => userPart(options, { user, tokens, ca })),
      signal,
    )
  } finally {
    await status.close()
    await tokens.close()
    log.info({}, 'kip ended')
  }
}

/** One user's puller. */
function userPart(
  { settings, log, metrics, version }: MultiClusterOptions,
  {
    user,
    tokens,
    ca,
  }: { readonly user: string; readonly tokens: TokenSource; readonly ca: string },
): Part {
  const { namespace, multiCluster } = settings
  return async (signal) => {
    const server = multiCluster.proxyUrl
    const client = new HttpKubeClient({
      access: impersonatedAccess({ server, namespace, user, tokens, ca }),
      userAgent: `kip/${version}`,
    })
    const store = createMemoryStore()
    const count = countImages(metrics, store, user)
    const stopCounting = store.onChange(count)
    try {
      await putStaticImages(store, settings.puller.images, { signal })
      const puller = createPuller({
        client,
        store,
        // The Deployment is in another cluster and can own nothing here.
        settings: { ...settings, puller: { ...settings.puller, deploymentName: '' } },
        mapping: createMapping({ ...settings.mirror, registry: '' }),
        log: log.child({ component: 'puller', user }),
        // Of one cluster, which would overwrite another's.
        metrics: createMetrics({ processMetrics: false }),
      })
      await puller.run(signal)
    } finally {
      stopCounting()
      await client.close()
    }
  }
}

function countImages(metrics: Metrics, store: ImageStore, user: string): () => void {
  const gauge = metrics.gauge(
    'kip_multicluster_images',
    'Images wanted in the cluster of a user, and those that every node there has.',
    ['user', 'state'],
  )
  return () => {
    const images = [...store.list()]
    const cached = images.filter(
      ({ nodes }) => nodes !== undefined && nodes.desired > 0 && nodes.cached === nodes.desired,
    )
    gauge.set({ user, state: 'wanted' }, images.length)
    gauge.set({ user, state: 'cached' }, cached.length)
  }
}
