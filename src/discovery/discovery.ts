import type { Demand } from '../images/demand.ts'
import type { DiscoveryOptions } from './options.ts'
import type { PullIdentity } from './pull-identities.ts'
import { Term } from './term.ts'

export type { DiscoveryOptions, PullIdentity }

export interface Discovery {
  /** Watches and writes until the signal aborts. May be called again afterwards; it starts from nothing then. */
  run(signal: AbortSignal): Promise<void>
  /**
   * A hint that an image is about to be used: what is known of it is looked at now rather than after the usual wait. It
   * never makes an image known, since what was merely tried may never come to be.
   *
   * @param references normalised
   */
  sight(...references: readonly string[]): void
  /**
   * With which pull secrets the pods come that use images, opted-out ones left out. Looks at all pods.
   *
   * @param references normalised
   * @returns undefined until everything was read once
   */
  pullIdentities(
    references: Iterable<string>,
  ): ReadonlyMap<string, readonly PullIdentity[]> | undefined
  /**
   * On which nodes the users of an image may run; told of when it changes by `demands.onChange`.
   *
   * @param reference normalised
   * @returns undefined while it is not known; none: nobody uses the image
   */
  demandsOf(reference: string): readonly Demand[] | undefined
  /**
   * Nodes with pods that are to be replaced by pods with an image: those of the workloads that use it which do not use it yet.
   * Looks at all pods.
   *
   * @param reference normalised
   */
  nodesBefore(reference: string): readonly string[]
  /** Resources that were not read to the end yet; empty while not running. */
  waiting(): readonly string[]
}

/**
 * Finds the images in use, and keeps `usage` in the store in step: in pods and in the templates of Deployments,
 * StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs, CronJobs and custom resources that the settings
 * name, at zero replicas and finished too, of namespaces that are not excluded. Past revisions (ReplicaSets of a Deployment, ControllerRevisions of a StatefulSet or
 * DaemonSet) count while they have pods, and after that as long as a rollback may go to them.
 */
export function createDiscovery(options: DiscoveryOptions): Discovery {
  let term: Term | undefined
  return {
    async run(signal) {
      if (term !== undefined) throw new Error('discovery runs already')
      term = new Term(options)
      try {
        await term.run(signal)
      } finally {
        term = undefined
      }
    },
    sight: (...references) => term?.sight(references),
    pullIdentities: (references) => term?.pullIdentities(references),
    demandsOf: (reference) => term?.demandsOf(reference),
    nodesBefore: (reference) => term?.nodesBefore(reference) ?? [],
    waiting: () => term?.waiting() ?? [],
  }
}
