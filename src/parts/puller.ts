import type { Settings } from '../config/settings.ts'
import type { Mapping } from '../images/mapping.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Part } from '../lifecycle.ts'
import type { Logger } from '../metrics/log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { createExternalPuller } from '../puller/external.ts'
import { createPuller, type PullerOptions } from '../puller/puller.ts'
import type { ImageStore } from '../state/store.ts'

export interface PullerPartOptions
  extends Pick<PullerOptions, 'pullIdentities' | 'spread' | 'demands' | 'nodesBefore'> {
  readonly client: KubeClient
  readonly settings: Settings
  readonly log: Logger
  readonly metrics: Metrics
  readonly store: ImageStore
  readonly mapping: Mapping
}

/** Has the nodes hold what is wanted: by kip's own DaemonSets, or by whatever else does where `puller.mode` says so. */
export function pullerPart(options: PullerPartOptions): Part {
  const create = options.settings.puller.mode === 'external' ? createExternalPuller : createPuller
  const puller = create({ ...options, log: options.log.child({ component: 'puller' }) })
  return (signal) => puller.run(signal)
}
