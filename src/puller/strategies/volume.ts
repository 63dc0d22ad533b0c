import type {
  Container,
  ContainerStatus,
  Pod,
  PodSpec,
  Volume,
  VolumeMount,
} from '../../kube/types.ts'
import { holderContainer } from '../container-names.ts'
import { type Verdict, verdictOf } from '../verdict.ts'
import { isNamed } from './image-naming.ts'
import { holderResources, imageResources, ownSleeper } from './parts.ts'
import type { Failure, Layout, PodReport, Strategy } from './strategy.ts'

/**
 * Image volumes: the kubelet pulls and mounts each image, read-only, and no process is ever made of one. A mounted image
 * volume keeps its image from the kubelet's garbage collector for as long as the container that mounts it is there; one
 * that no container mounts is pulled and not kept (`handleImageVolumes` looks at mounts alone), so all are mounted.
 *
 * One holder mounts them all: it does not start where one image cannot be pulled, so only images that every node has
 * proven to pull belong here. An image costs a mount and no process: 0.02 MB in the pod's account.
 *
 * Capacity: a volume with its mount and its status takes about 400 bytes of the pod object beyond the reference's own
 * length, so 250 take 100 to 200 KB, far below etcd's 1.5 MB.
 */
export const volume: Strategy = volumes(250, 400, ({ members, sleepImage, resources }) => [
  {
    ...ownSleeper(holderContainer, sleepImage),
    resources: holderResources(resources),
    volumeMounts: members.map(({ container }, index) => mountOf(container, index)),
  },
])

/**
 * The same for images on their way or failing: a holder for each, since a bad image stops the container that mounts it
 * and no other. The first one carries what the pod requests.
 *
 * Capacity: 50 holders cost 60 MB while the images prove themselves.
 */
export const volumeBeside: Strategy = volumes(50, 1400, ({ members, sleepImage, resources }) =>
  members.map(({ container }, index) => ({
    ...ownSleeper(container, sleepImage),
    resources: index === 0 ? holderResources(resources) : imageResources(undefined),
    volumeMounts: [mountOf(container, 0)],
  })),
)

function volumes(
  capacity: number,
  imageBytes: number,
  containersOf: (layout: Layout) => readonly Container[],
): Strategy {
  return Object.freeze<Strategy>({
    name: 'volume',
    capacity,
    imageBytes,
    imageWrites: 0,
    layout: (layout) => ({
      initContainers: [],
      containers: containersOf(layout),
      volumes: layout.members.map(({ container, reference }) => ({
        name: container,
        image: { reference, pullPolicy: layout.pullPolicy ?? 'IfNotPresent' },
      })),
    }),
    members: (spec) =>
      imageVolumes(spec).map(({ name, image }) => ({
        container: name,
        reference: image.reference,
      })),
    report,
  })
}

const mountRoot = '/i/'

/** An image's mount is read-only in any case; to say so costs 32 bytes of etcd an image and node. */
function mountOf(name: string, index: number) {
  return { name, mountPath: `${mountRoot}${index}` }
}

/** The mounts of images. Other admission webhooks may add volumes to every container, of images too; those are theirs. */
function mountsOf({ volumeMounts = [] }: Container): readonly VolumeMount[] {
  return volumeMounts.filter(({ mountPath }) => mountPath.startsWith(mountRoot))
}

type ImageVolume = Volume & { readonly image: { readonly reference: string } }

/** A server that knows no image volumes drops them and stores an empty directory: what is not in the spec is not held. */
function imageVolumes({ containers = [], volumes = [] }: PodSpec): readonly ImageVolume[] {
  const mounted = new Set(containers.flatMap(mountsOf).map(({ name }) => name))
  return volumes.filter(
    (one): one is ImageVolume => typeof one.image?.reference === 'string' && mounted.has(one.name),
  )
}

/** An image is cached where a running container of the pod mounts it: the kubelet makes none before it has pulled. */
function report(pod: Pod): PodReport {
  const spec = pod.spec ?? {}
  const statuses = new Map((pod.status?.containerStatuses ?? []).map((one) => [one.name, one]))
  const holders = new Map<string, Container>()
  for (const container of spec.containers ?? []) {
    for (const { name } of mountsOf(container)) holders.set(name, container)
  }
  const images: string[] = []
  const containers: string[] = []
  const verdicts: Verdict[] = []
  const failures = new Map<number, Failure>()
  for (const { name, image } of imageVolumes(spec)) {
    const holder = holders.get(name)
    const status = holder === undefined ? undefined : statuses.get(holder.name)
    const failure = holder === undefined ? undefined : failureOf(image.reference, holder, status)
    if (failure !== undefined) failures.set(images.length, failure)
    images.push(image.reference)
    containers.push(name)
    verdicts.push(failure === undefined ? heldBy(status) : 'failed')
  }
  const blocked = blockage(spec, statuses)
  return { images, containers, verdicts, failures, ...(blocked === undefined ? {} : { blocked }) }
}

function heldBy(status: ContainerStatus | undefined): Verdict {
  return status?.state?.running === undefined ? 'pending' : 'started'
}

/**
 * Why an image is not there, when its holder says so. The kubelet pulls all volumes of a pod before it makes a container,
 * and tells of a container the last image of its own that failed, by name.
 */
function failureOf(
  reference: string,
  holder: Container,
  status: ContainerStatus | undefined,
): Failure | undefined {
  if (status?.state?.waiting === undefined) return undefined
  const { reason = 'Unknown', message = '' } = status.state.waiting
  const alone = mountsOf(holder).length === 1
  switch (verdictOf(status)) {
    case 'failed':
      // A holder's own image is pulled by the same words.
      if (isNamed(message, holder.image ?? '')) return undefined
      return alone || isNamed(message, reference) ? { reason, message } : undefined
    case 'unstartable':
      // Pulled, but not mounted, and so not kept.
      return alone && status.lastState?.terminated === undefined ? { reason, message } : undefined
    default:
      return undefined
  }
}

/** Why kip's own part fails: the holder's image cannot be pulled or run, whatever the images. */
function blockage(
  spec: PodSpec,
  statuses: ReadonlyMap<string, ContainerStatus>,
): Failure | undefined {
  for (const container of spec.containers ?? []) {
    const { name, image = '' } = container
    const mounts = mountsOf(container).length
    if (mounts === 0) continue
    const status = statuses.get(name)
    const { reason = 'Unknown', message = '' } = status?.state?.waiting ?? {}
    const verdict = verdictOf(status)
    if (verdict === 'failed' && isNamed(message, image)) return { reason, message }
    const ran = status?.lastState?.terminated !== undefined
    if (verdict === 'unstartable' && (ran || mounts > 1)) return { reason, message }
  }
  return undefined
}
