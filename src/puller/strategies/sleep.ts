import {
  copySleep,
  foreverOf,
  imageResources,
  isOfImage,
  reportContainers,
  sleeper,
  sleepVolume,
} from './parts.ts'
import type { Strategy } from './strategy.ts'

/**
 * KIP's way: one container an image, all of which sleep beside each other. A bad image stops none of the others; each
 * image costs about 1.2 MB of a node's memory (0.2 MB of it in the pod's own account) for as long as it is held.
 *
 * Capacity: 50 sleepers cost 60 MB.
 */
export const sleep: Strategy = beside(true)

/**
 * The same, for images on their way: requests do not grow with them. Capacity as above for images that run; one that
 * cannot be pulled has no container and costs no memory.
 */
export const sleepBeside: Strategy = beside(false)

function beside(perImage: boolean): Strategy {
  return Object.freeze<Strategy>({
    name: 'sleep',
    capacity: 50,
    imageBytes: 1300,
    imageWrites: 0,
    layout: ({ members, sleepImage, resources, pullPolicy = 'IfNotPresent' }) => ({
      initContainers: [copySleep(sleepImage, resources)],
      containers: members.map(({ container, reference }) => ({
        ...sleeper(container, reference, foreverOf(sleepImage)),
        imagePullPolicy: pullPolicy,
        resources: imageResources(perImage ? resources : undefined),
      })),
      volumes: [sleepVolume],
    }),
    members: (spec) =>
      (spec.containers ?? [])
        .filter(isOfImage)
        .map(({ name, image = '' }) => ({ container: name, reference: image })),
    report: (pod) =>
      reportContainers(
        pod,
        (pod.spec?.containers ?? []).filter(isOfImage),
        pod.status?.containerStatuses ?? [],
      ),
  })
}
