import type { DaemonSet } from '../../../src/kube/types.ts'

/** Whether a DaemonSet of kip's is rolled out, and one that stays. */
export function isAtRest({ metadata, status }: DaemonSet): boolean {
  const { desiredNumberScheduled: desired = 0, numberReady = 0 } = status ?? {}
  return (
    status?.observedGeneration === metadata?.generation &&
    status?.updatedNumberScheduled === desired &&
    numberReady === desired &&
    !/-(fresh|apart|refresh)(-|$)/.test(metadata?.name ?? '')
  )
}
