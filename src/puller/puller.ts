import { systemClock } from '../kube/clock.ts'
import { findOwner } from './owner.ts'
import { defaultPace } from './pace.ts'
import { declareMetrics } from './puller-metrics.ts'
import { learnRights } from './rights.ts'
import { type PullerOptions, Term } from './term.ts'
import { keepsImageVolumes } from './volume-probe.ts'

export type { PullerOptions } from './term.ts'

export interface Puller {
  /** Has the nodes hold what is wanted until the signal aborts; resolves then. May be called again afterwards. */
  run(signal: AbortSignal): Promise<void>
}

/**
 * The puller: keeps DaemonSets whose pods make every node pull and hold the IMAGES set, and says in the store where each
 * image stands.
 *
 * Level-triggered: every round compares what is wanted with what the cluster shows and makes one step ({@link plan}).
 * Ending it, at whatever moment, leaves the DaemonSets as they are: nodes hold on, and new ones fill, without kip.
 */
export function createPuller(options: PullerOptions): Puller {
  const metrics = declareMetrics(options.metrics)
  return {
    run: async (signal) => {
      const { client, settings, log, clock = systemClock } = options
      const { namespace, puller } = settings
      const name = puller.deploymentName
      const owner = await findOwner({ client, namespace, name, log, clock }, signal)
      const { openShift } = puller
      const rights = await learnRights({ client, namespace, openShift, log, clock }, signal)
      if (rights === undefined || signal.aborted) return
      log.info({ ...rights }, 'what kip may do')
      // No pod starts on such a node until somebody sees to it.
      if (puller.startupTaintSeconds > 0 && !rights.nodes)
        log.error({}, 'nodes may not be listed: none is released of the startup taint')
      const building = { namespace, settings: puller, owner }
      // OpenShift's constraints name the kinds of volumes that a pod may have, and not all name images.
      const asks =
        puller.strategy === 'volume' || (puller.strategy === 'auto' && !rights.assignsUsers)
      const serverKeepsVolumes =
        asks && rights.nodes && (await keepsImageVolumes({ client, building, log, clock }, signal))
      if (signal.aborted) return
      await new Term({
        ...options,
        clock,
        now: options.now ?? Date.now,
        spread: options.spread ?? 1,
        pace: options.pace ?? defaultPace,
        pullIdentities: options.pullIdentities ?? (() => undefined),
        demands: options.demands,
        nodesBefore: options.nodesBefore ?? (() => []),
        pullerMetrics: metrics,
        owner,
        rights,
        serverKeepsVolumes,
      }).run(signal)
    },
  }
}
