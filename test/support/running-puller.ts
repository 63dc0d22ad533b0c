import assert from 'node:assert/strict'
import { putStaticImages } from '../../src/discovery/static-images.ts'
import type { Demand } from '../../src/images/demand.ts'
import { createMapping } from '../../src/images/mapping.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { defaultPace, type Pace } from '../../src/puller/pace.ts'
import { createPuller } from '../../src/puller/puller.ts'
import type { PullerOptions } from '../../src/puller/term.ts'
import type { Nodes } from '../../src/state/cached-image.ts'
import { createMemoryStore } from '../../src/state/memory-store.ts'
import { pullerSettings } from './puller-settings.ts'
import { silentLog } from './silent-log.ts'

export interface RunningPullerOptions {
  /** With the rights that the puller is to have. */
  readonly client: KubeClient
  readonly namespace: string
  readonly sleepImage: string
  /** The static `IMAGES`. */
  readonly images: readonly string[]
  /** Further settings. */
  readonly env?: Readonly<Record<string, string>>
  /** Shards that the images are spread over; default: 1. */
  readonly spread?: number
  /** Waits that are shortened. */
  readonly pace?: Partial<Pace>
  /** Images that pods use besides, with where these may run. */
  readonly inUse?: ReadonlyMap<string, Demand>
  /** Nodes with pods that those with an image are to replace. */
  readonly nodesBefore?: NonNullable<PullerOptions['nodesBefore']>
}

/** A puller by itself, without the other parts of kip; disposing of it ends it as a restart does. */
export interface RunningPuller extends AsyncDisposable {
  readonly log: ReturnType<typeof silentLog>
  /** What the nodes have of an image. */
  nodes(reference: string): Nodes | undefined
  /** What the resolver would say of a tag: it is this image now, and so large. */
  resolve(reference: string, digest: string, sizeBytes?: number): Promise<void>
}

/** Starts a puller whose DaemonSets are named `kip`. */
export async function startPuller(options: RunningPullerOptions): Promise<RunningPuller> {
  const { client, namespace, sleepImage, images, env, pace, spread = 1, inUse } = options
  const { nodesBefore = () => [] } = options
  const log = silentLog()
  const store = createMemoryStore()
  const settings = pullerSettings(namespace, {
    KIP_IMAGE: sleepImage,
    IMAGES: images.map((image, index) => `i${index}=${image}`).join(';'),
    ...env,
  })
  const controller = new AbortController()
  const { signal } = controller
  await putStaticImages(store, settings.puller.images, { signal })
  const firstSeen = new Date().toISOString()
  const counts = { pods: 1, workloads: 1, namespaces: 1, owners: [], firstSeen }
  for (const reference of inUse?.keys() ?? []) {
    await store.putUsage(reference, { wanted: ['InUse'], ...counts }, signal)
  }
  const demandsOf = (reference: string): readonly Demand[] =>
    [inUse?.get(reference)].filter((demand) => demand !== undefined)
  const ended = createPuller({
    ...{ client, store, settings, log, spread, nodesBefore },
    ...(inUse !== undefined && { demands: { of: demandsOf, onChange: () => () => undefined } }),
    mapping: createMapping({ registry: '', mapping: 'path' }),
    metrics: createMetrics({ processMetrics: false }),
    pace: { ...defaultPace, ...pace },
  }).run(signal)
  return {
    log,
    nodes: (reference) => store.get(reference)?.nodes,
    async resolve(reference, digest, sizeBytes) {
      const state = store.get(reference)
      assert.ok(state)
      const checkedAt = new Date().toISOString()
      const platforms = ['linux/amd64']
      const size = sizeBytes === undefined ? {} : { sizeBytes }
      const source = { state: 'Available', digest, platforms, checkedAt, ...size } as const
      await store.putSource(state, source, signal)
    },
    async [Symbol.asyncDispose]() {
      controller.abort()
      await ended
    },
  }
}
