import { createObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { type Clock, sleep } from '../kube/clock.ts'
import { isPassing, KubeApiError } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { resourceOf } from '../kube/resource.ts'
import type { DaemonSet } from '../kube/types.ts'
import { buildDaemonSet, type DaemonSetOptions } from './daemon-set.ts'
import { strategies } from './strategies/strategies.ts'

export interface ProbeVolumesOptions {
  readonly client: KubeClient
  readonly building: Omit<DaemonSetOptions, 'strategy'>
  readonly log: Log
  readonly clock: Clock
}

/** Nothing ever asks for it. */
const reference = 'kip.invalid/probe:1'

const retryMs = 5000
const attempts = 6

/**
 * Whether the API server keeps image volumes, by a dry run of a DaemonSet with one: a server that does not know them, or
 * has them switched off, answers without. Who cannot tell in half a minute is taken for one that does not.
 */
export async function keepsImageVolumes(
  { client, building, log, clock }: ProbeVolumesOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const object = `${building.settings.daemonSetName}-probe`
  const members = [{ reference, container: 'probe' }]
  const wanted = buildDaemonSet(
    { kind: 'fresh', index: 1, members, object },
    { ...building, strategy: 'volume' },
  )
  for (let attempt = 0; attempt < attempts && !signal.aborted; attempt += 1) {
    try {
      const answer = await createObject<DaemonSet>(
        client,
        resourceOf('daemonsets', building.namespace),
        wanted,
        { dryRun: true, signal },
      )
      return strategies.volume.members(answer.spec?.template?.spec ?? {}).length === members.length
    } catch (error) {
      if (signal.aborted || !(error instanceof KubeApiError)) return false
      log.info({ err: error }, 'a dry run with an image volume was not answered')
      if (!isPassing(error)) return false
      await sleep(clock, retryMs, signal).catch(() => undefined)
    }
  }
  return false
}
