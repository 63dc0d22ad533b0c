import type { Invocation } from '../cli/invocation.ts'
import type { Settings } from '../config/settings.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Doubt } from '../kube/doubt.ts'
import type { GuardedClient } from '../kube/guarded-client.ts'
import type { LiveSettings } from '../live-settings.ts'
import type { Logger } from '../metrics/log.ts'
import type { Metrics } from '../metrics/metrics.ts'

/** What the parts of one replica are made with. */
export interface Context {
  readonly settings: Settings
  readonly live: LiveSettings
  readonly client: KubeClient
  /** For what only the leader may write: CachedImages, DaemonSets, the webhook configuration. */
  readonly leaderClient: GuardedClient
  /** Shared by all that is asked once at the start. */
  readonly doubt: Doubt
  readonly log: Logger
  readonly metrics: Metrics
  /** Unique per process. */
  readonly identity: string
  readonly invocation: Invocation
}
