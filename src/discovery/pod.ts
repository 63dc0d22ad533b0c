import { formatReference, parseReference } from '@containers/image-copy'
import { podKind } from '../images/templates.ts'
import { type ImageUse, imagesOf } from '../images/walker.ts'
import type { KubeObject, Pod } from '../kube/types.ts'
import type { Reader, Used } from './reader.ts'

/** What is kept of a pod that others have too: one for all the pods of a template that are in the same state. */
export interface PodShape {
  readonly used: Used
  /** As written, by container kind, with their pull policies. */
  readonly images: readonly ImageUse[]
  readonly pullSecrets: readonly string[]
  readonly serviceAccount: string
  /** Containers that wait, and why: `ErrImagePull` and the like. */
  readonly waiting: readonly Waiting[]
}

export interface Waiting {
  readonly container: string
  readonly reason: string
}

/** All that is kept of one pod. */
export interface PodUse {
  readonly shape: PodShape
  /** '' while it is not scheduled. */
  readonly node: string
}

/** How a reflector makes what is kept of pods: it is asked once for all that are alike. */
export interface PodReader {
  readonly project: (raw: KubeObject) => PodUse
  readonly ofOne: (alike: PodUse, node: string) => PodUse
  readonly isSame: (a: PodUse, b: PodUse) => boolean
  /** Hundreds change a second where there are many, and a tenth of a second later is soon enough. */
  readonly gathers: true
}

const none: readonly never[] = []

/** What a kubelet says of a container whose image it could not pull, and while it waits to try again. */
const unpulled: ReadonlySet<string> = new Set(['ErrImagePull', 'ImagePullBackOff'])

/** Normalised references of the images that a node could not pull. */
export function unpulledImages({ waiting, images }: PodShape): readonly string[] {
  const containers = waiting.filter(({ reason }) => unpulled.has(reason))
  if (containers.length === 0) return none
  const names = new Set(containers.map(({ container }) => container))
  return images.flatMap(({ name, place, reference }) => {
    if (place === 'volume' || !names.has(name)) return none
    try {
      return formatReference(parseReference(reference))
    } catch {
      return none
    }
  })
}

/**
 * Reads pods as a reflector asks for them.
 *
 * @param read what reads a pod's images; asked again for each pod whose images' sources only the known images can tell
 */
export function createPodReader(read: Reader): PodReader {
  const rereads = new WeakMap<PodShape, KubeObject>()

  const shapeOf = (raw: KubeObject, used: Used): PodShape => {
    const { spec = {}, status } = raw as Pod
    const shape: PodShape = {
      used,
      images: imagesOf(spec),
      pullSecrets: (spec.imagePullSecrets ?? none).flatMap(({ name }) => name ?? none),
      serviceAccount: spec.serviceAccountName ?? '',
      waiting: [...(status?.initContainerStatuses ?? none), ...(status?.containerStatuses ?? none)]
        .filter(({ state }) => state?.waiting !== undefined)
        .map(({ name, state }) => ({ container: name, reason: state?.waiting?.reason ?? '' })),
    }
    if (used.asksStore) rereads.set(shape, raw)
    return shape
  }

  return {
    project: (raw) => ({ shape: shapeOf(raw, read(podKind, raw)), node: '' }),
    ofOne: ({ shape }, node) => {
      const raw = rereads.get(shape)
      if (raw === undefined) return { shape, node }
      const used = read(podKind, raw)
      return { shape: used.references === shape.used.references ? shape : { ...shape, used }, node }
    },
    isSame: (a, b) => a.shape === b.shape && a.node === b.node,
    gathers: true,
  }
}
