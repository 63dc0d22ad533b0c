import type { DiscoverySettings } from '../config/settings.ts'
import type { Mapping } from '../images/mapping.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Log } from '../kube/log.ts'
import type { Pod } from '../kube/types.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Exclusions } from '../state/exclusions.ts'
import type { ImageStore } from '../state/store.ts'

export interface DiscoveryOptions {
  readonly client: KubeClient
  readonly store: ImageStore
  readonly exclusions: Exclusions
  readonly mapping: Mapping
  readonly settings: {
    readonly discovery: Omit<
      DiscoverySettings,
      'enabled' | 'ignoreNamespaces' | 'namespaceSelector'
    >
    readonly puller: { readonly images: readonly { readonly image: string }[] }
  }
  readonly log: Log
  readonly metrics: Metrics
  /** Absent: what is wrong with references and namespaces is told in the log alone. */
  readonly events?: EventRecorder
  /** Told of every pod that is being deleted, also of its end; takes what it needs and keeps nothing of it. */
  readonly onLeaving?: (pod: Pod) => void
  /** Absent: nobody asks on which nodes the users of images may run. */
  readonly demands?: {
    /** Whether anybody does, when a run begins. */
    readonly isAsked: () => boolean
    /** Told when it is known of an image for the first time, and whenever it changes. */
    readonly onChange: () => void
  }
  /** Told of each image that a node could not pull, by its normalised reference; must return at once. */
  readonly onUnpulled?: (reference: string) => void
  readonly clock?: Clock
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
}
