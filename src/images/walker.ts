/** The part of a core/v1 Container that names an image; wide enough for raw JSON. */
export interface ContainerImage {
  readonly name?: string | undefined
  readonly image?: string | undefined
  readonly imagePullPolicy?: string | undefined
}

/** The part of a core/v1 Volume that names an image. */
export interface VolumeImage {
  readonly name?: string | undefined
  readonly image?:
    | { readonly reference?: string | undefined; readonly pullPolicy?: string | undefined }
    | null
    | undefined
}

/** The part of a core/v1 PodSpec that names images; the lists may be absent or null, as in raw JSON. */
export interface ImageBearingSpec {
  readonly containers?: readonly ContainerImage[] | null | undefined
  readonly initContainers?: readonly ContainerImage[] | null | undefined
  readonly ephemeralContainers?: readonly ContainerImage[] | null | undefined
  readonly volumes?: readonly VolumeImage[] | null | undefined
}

/** The four places of a pod that an image can stand in. */
export type ImagePlace = 'container' | 'init' | 'ephemeral' | 'volume'

/** One image of a pod spec and where it stands. */
export interface ImageUse {
  /** As written, not normalised. */
  readonly reference: string
  readonly place: ImagePlace
  /** Name of the container or volume; all containers of a pod share one space of names, volumes have their own. */
  readonly name: string
  /** Index in the list of its place. */
  readonly index: number
  /** As written; absent: the API server's default (`Always` for the tag `latest`, else `IfNotPresent`). */
  readonly pullPolicy?: string
}

const containerLists = [
  ['container', 'containers'],
  ['init', 'initContainers'],
  ['ephemeral', 'ephemeralContainers'],
] as const

/**
 * Lists every image of a pod spec, in all four places an image can stand in.
 *
 * An entry without an image, or with a blank one (a template that another controller completes, as OpenShift does), is
 * left out. The order is containers, init,
 * ephemeral, volumes, each as written; the same reference may come more than once.
 */
export function imagesOf(podSpec: ImageBearingSpec): readonly ImageUse[] {
  const uses: ImageUse[] = []
  for (const [place, list] of containerLists) {
    for (const [index, container] of (podSpec[list] ?? []).entries()) {
      push(uses, place, index, container.name, container.image, container.imagePullPolicy)
    }
  }
  for (const [index, volume] of (podSpec.volumes ?? []).entries()) {
    push(uses, 'volume', index, volume.name, volume.image?.reference, volume.image?.pullPolicy)
  }
  return uses
}

/** JSON pointer (RFC 6901) of the image's string, from the pod spec: `/initContainers/0/image`. */
export function pointerOf(use: Pick<ImageUse, 'place' | 'index'>): string {
  if (use.place === 'volume') return `/volumes/${use.index}/image/reference`
  const list = containerLists.find(([place]) => place === use.place)?.[1]
  return `/${list}/${use.index}/image`
}

/** JSON pointer of the image's pull policy, from the pod spec; it is there only where {@link ImageUse.pullPolicy} is. */
export function policyPointerOf(use: Pick<ImageUse, 'place' | 'index'>): string {
  const image = pointerOf(use)
  const holder = image.slice(0, image.lastIndexOf('/'))
  return use.place === 'volume' ? `${holder}/pullPolicy` : `${holder}/imagePullPolicy`
}

function push(
  uses: ImageUse[],
  place: ImagePlace,
  index: number,
  name = '',
  reference = '',
  pullPolicy = '',
): void {
  if (reference.trim() === '') return
  uses.push({ reference, place, name, index, ...(pullPolicy !== '' && { pullPolicy }) })
}
