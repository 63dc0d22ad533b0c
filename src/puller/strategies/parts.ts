import { quantityValue } from '../../config/quantity.ts'
import type {
  Container,
  ContainerStatus,
  Pod,
  ResourceRequirements,
  SecurityContext,
  Volume,
} from '../../kube/types.ts'
import { copyContainer, holderContainer } from '../container-names.ts'
import { type Verdict, verdictOf } from '../verdict.ts'
import type { Failure, PodReport, ResourceSettings } from './strategy.ts'

/** Volume that carries the sleep program into every container, so that an image needs no shell, nor anything else. */
const volumeName = 'kip'
const volumePath = '/kip'
const program = `${volumePath}/sleep`

/** Ours is 4 KB, upstream's 1.6 MB; the limit only bounds a wrong sleepImage. */
export const sleepVolume: Volume = { name: volumeName, emptyDir: { sizeLimit: '50Mi' } }

/** Pod Security `restricted`, with a root file system that nobody writes to. */
const confined: SecurityContext = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
}

type Amounts = Readonly<Record<'cpu' | 'memory', string>>

interface Resources {
  readonly requests: Amounts
  readonly limits: Amounts
}

/**
 * What a pod reserves, whatever it holds. Request: enough to be no BestEffort pod, little enough not to be felt on a
 * node. Limits: runc itself runs inside the new container's cgroup and needs some 10 MB for the moment of the start,
 * and 0.2 CPU (KIP's limit) starts a container as fast as none would.
 */
const holderDefaults: Resources = {
  requests: { cpu: '10m', memory: '16Mi' },
  limits: { cpu: '200m', memory: '32Mi' },
}

/** Ephemeral storage that a holder writes: the sleep program and its logs. Under pressure, who exceeds goes first. */
const ephemeralRequest = '8Mi'

/** Resources of kip's own containers: `CACHING_*` where set. */
export function holderResources(settings: ResourceSettings): ResourceRequirements {
  const { requests, limits } = withSettings(holderDefaults, settings)
  return { requests: { ...requests, 'ephemeral-storage': ephemeralRequest }, limits }
}

/**
 * Resources of an image's container. Its request is 0, so that what a node reserves does not grow with the number of
 * images: the copy container, with which each pod begins, carries the pod's request (a pod's is the larger of its init
 * containers' and of its containers' sum). Under KIP's `sleep` with `CACHING_*` set, they count for each, as they did.
 */
export function imageResources(settings: ResourceSettings | undefined): Resources {
  const none: Resources = { requests: { cpu: '0', memory: '0' }, limits: holderDefaults.limits }
  return settings === undefined ? none : withSettings(none, settings)
}

/** Where only one of request and limit is set, the other gives way: API servers take no request above its limit. */
function withSettings({ requests, limits }: Resources, settings: ResourceSettings): Resources {
  const { cpuRequest, cpuLimit, memoryRequest, memoryLimit } = settings
  return {
    requests: {
      cpu: cpuRequest || lesser(requests.cpu, cpuLimit || limits.cpu),
      memory: memoryRequest || lesser(requests.memory, memoryLimit || limits.memory),
    },
    limits: {
      cpu: cpuLimit || greater(limits.cpu, cpuRequest || requests.cpu),
      memory: memoryLimit || greater(limits.memory, memoryRequest || requests.memory),
    },
  }
}

function lesser(one: string, other: string): string {
  return quantityValue(other) < quantityValue(one) ? other : one
}

function greater(one: string, other: string): string {
  return quantityValue(other) > quantityValue(one) ? other : one
}

/**
 * Whether an image is upstream's kubernetes-image-puller, whose sleep is `/bin/sleep` and is copied by its shell; every
 * other one is taken for kip's, whose `/kip/sleep` copies itself.
 */
function isUpstream(sleepImage: string): boolean {
  const [named = ''] = sleepImage.split('@')
  const repository = named.slice(named.lastIndexOf('/') + 1).replace(/:.*$/, '')
  return repository === 'kubernetes-image-puller'
}

/** First init container: puts the sleep program into the volume. */
export function copySleep(sleepImage: string, resources: ResourceSettings): Container {
  const upstream = isUpstream(sleepImage)
  // Ours lies in /kip itself, which the volume would hide.
  const mountPath = upstream ? volumePath : '/kip-volume'
  return {
    name: copyContainer,
    image: sleepImage,
    imagePullPolicy: 'IfNotPresent',
    command: upstream
      ? ['/bin/sh', '-c', `cp /bin/sleep ${program}`]
      : [program, 'copy', `${mountPath}/sleep`],
    resources: holderResources(resources),
    securityContext: confined,
    volumeMounts: [{ name: volumeName, mountPath }],
  }
}

/** What runs for as long as the pod does when no image has to. */
export function holder(sleepImage: string, resources: ResourceSettings): Container {
  return {
    ...sleeper(holderContainer, sleepImage, foreverOf(sleepImage)),
    resources: holderResources(resources),
  }
}

/** A container that runs the sleep program out of its own image. */
export function ownSleeper(name: string, sleepImage: string): Container {
  return {
    name,
    image: sleepImage,
    imagePullPolicy: 'IfNotPresent',
    command: [isUpstream(sleepImage) ? '/bin/sleep' : program, foreverOf(sleepImage)],
    securityContext: confined,
  }
}

/** How to say "for ever": upstream's program knows Go durations only, and is started again after one. */
export function foreverOf(sleepImage: string): string {
  return isUpstream(sleepImage) ? '720h' : 'infinity'
}

/**
 * A container that runs the sleep program in an image. The working directory is the volume, since the image's own may
 * be closed to the user that the pod runs as.
 */
export function sleeper(name: string, image: string, duration: string): Container {
  return {
    name,
    image,
    imagePullPolicy: 'IfNotPresent',
    command: [program, duration],
    workingDir: volumePath,
    resources: imageResources(undefined),
    securityContext: confined,
    volumeMounts: [{ name: volumeName, mountPath: volumePath, readOnly: true }],
  }
}

/** Reads what became of a pod's containers; kip's own block the pod when they cannot be pulled or started. */
export function reportContainers(
  pod: Pod,
  containers: readonly Container[],
  statuses: readonly ContainerStatus[],
): PodReport {
  const byName = new Map(statuses.map((status) => [status.name, status]))
  const images: string[] = []
  const verdicts: Verdict[] = []
  const failures = new Map<number, Failure>()
  for (const { name, image = '' } of containers) {
    const status = byName.get(name)
    const verdict = verdictOf(status)
    if (verdict === 'failed') failures.set(images.length, failureOf(status))
    images.push(image)
    verdicts.push(verdict)
  }
  const names = containers.map(({ name }) => name)
  const blocked = blockage(pod)
  return {
    images,
    containers: names,
    verdicts,
    failures,
    ...(blocked === undefined ? {} : { blocked }),
  }
}

function blockage(pod: Pod): Failure | undefined {
  const own = [
    ...(pod.status?.initContainerStatuses ?? []),
    ...(pod.status?.containerStatuses ?? []),
  ].filter(({ name }) => name === copyContainer || name === holderContainer)
  for (const status of own) {
    const verdict = verdictOf(status)
    if (verdict !== 'failed' && verdict !== 'unstartable') continue
    return failureOf(status)
  }
  return undefined
}

function failureOf(status: ContainerStatus | undefined): Failure {
  const { waiting, terminated } = status?.state ?? {}
  return {
    reason: waiting?.reason ?? terminated?.reason ?? 'Unknown',
    message: waiting?.message ?? terminated?.message ?? '',
  }
}

/**
 * Whether a container is an image's: it runs the sleep program out of the volume, and is none of those that kip has besides. What
 * other admission webhooks put beside them, as service meshes and security agents do, is theirs.
 */
export function isOfImage({ name, command }: Container): boolean {
  return command?.[0] === program && name !== copyContainer && name !== holderContainer
}
