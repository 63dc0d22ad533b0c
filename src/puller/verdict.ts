import type { ContainerStatus } from '../kube/types.ts'

/**
 * What a container says of its image on its node.
 *
 * - `started`: pulled, and a process ran from it.
 * - `unstartable`: pulled, but the runtime makes no running container of it. The image is on the node all the same.
 * - `failed`: could not be pulled; the kubelet tries again, at most every 5 minutes.
 * - `pending`: nothing known yet.
 */
export type Verdict = 'started' | 'unstartable' | 'failed' | 'pending'

/** Whether the node has the image. */
export function holds(verdict: Verdict): boolean {
  return verdict === 'started' || verdict === 'unstartable'
}

/**
 * Waiting reasons of pkg/kubelet/images/types.go: all of them are set before there is an image. `ImageInspectError`
 * stands for a runtime that does not answer, `ErrImageNeverPull` for a policy that kip does not set but a webhook may.
 */
const pullReasons: ReadonlySet<string> = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ImageInspectError',
  'ErrImageNeverPull',
  'RegistryUnavailable',
  'SignatureValidationFailed',
])

/** Whether a node's reason is that it could not get the image, and not what became of it there. */
export function isPullReason(reason: string): boolean {
  return pullReasons.has(reason)
}

/** Waiting reasons of pkg/kubelet/kuberuntime and pkg/kubelet/container: set after the image was found. */
const startReasons: ReadonlySet<string> = new Set([
  'CreateContainerConfigError',
  'PreCreateHookError',
  'CreateContainerError',
  'PreStartHookError',
  'PostStartHookError',
  'RunContainerError',
  'CrashLoopBackOff',
])

/**
 * How processes end that were ended from outside: KILL, TERM, and what kubelet and containerd report of a container that
 * a reboot took (255, `Unknown`). They say nothing against the image.
 */
const endedFromOutside: ReadonlySet<number> = new Set([0, 137, 143, 255])

/** Judges one container by its status alone; undefined is a container that the kubelet has not reported yet. */
export function verdictOf(status: ContainerStatus | undefined): Verdict {
  if (status === undefined) return 'pending'
  const { waiting, running, terminated } = status.state ?? {}
  const last = status.lastState?.terminated
  if (running !== undefined) {
    return last === undefined || endedFromOutside.has(last.exitCode) ? 'started' : 'unstartable'
  }
  if (terminated !== undefined) {
    return endedFromOutside.has(terminated.exitCode) ? 'started' : 'unstartable'
  }
  const reason = waiting?.reason ?? ''
  if (pullReasons.has(reason)) return 'failed'
  if (last !== undefined) return endedFromOutside.has(last.exitCode) ? 'started' : 'unstartable'
  if (startReasons.has(reason)) return 'unstartable'
  return (status.imageID ?? '') === '' ? 'pending' : 'started'
}
